"""A frozen chord that is applied again: its body never gets what a member returned before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery import Celery, chord
from celery.exceptions import ChordError

from fullresult.results import later_ends
from fullresult.results.backend import FullResultBackend
from fullresult.results.later_ends import LaterEnds
from fullresult.storage import Refused
from tests.kit import servers, workers
from tests.kit.backend_contract import current, new_id
from tests.kit.workers import until
from tests.results.test_backend_chords import requests
from tests.results.test_chord_kills import Away, that_goes_away
from tests.results.test_chord_mending import made, recount
from tests.results.test_chord_runs import Killed, killed


class Place(NamedTuple):
    app: Celery
    away: Away
    """A context in which the app cannot reach its storage."""


@pytest.fixture(params=workers.STORAGES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with (
        servers.redis_database(request.getfixturevalue("redis_server")) as broker,
        workers.storage(request.param, request, tmp_path) as url,
        that_goes_away(url) as (away_url, away),
    ):
        app = made(
            broker,
            tmp_path,
            away_url,
            fullresult_spool_directory=str(tmp_path / "spool"),
            fullresult_storage_timeout=1,
        )
        with current(app):
            yield Place(app, away)
        app.fullresult.close()
        app.close()


@pytest.fixture
def app(place: Place) -> Celery:
    return place.app


class Frozen:
    """A chord that is applied again and again."""

    def __init__(self, app: Celery, size: int = 2) -> None:
        self.app = app
        self.body_id = new_id()
        body = app.tasks["contract.body"].s().set(task_id=self.body_id)
        self._chord = chord([app.tasks["contract.member"].s(n) for n in range(size)], body)
        self._chord.freeze()

    def begin(self) -> list[Any]:
        """Apply it; the requests of its members, which have begun."""
        self._chord.apply_async()
        begun = requests(self.app)
        for each in begun:
            self.app.fullresult.parts.recorder.started(each.id, each.task, each)
        return sorted(begun, key=lambda each: int(each.group_index))

    def run(self, text: str) -> list[Any]:
        """Apply it, and have each member return *text* and its number; the body's argument."""
        for number, each in enumerate(self.begin()):
            self.succeed(each, f"{text} {number}")
        return self.bodies()

    def succeed(self, member: Any, value: Any) -> None:
        self.app.backend.mark_as_done(member.id, value, member)

    def fail(self, member: Any, error: Exception) -> None:
        self.app.backend.mark_as_failure(member.id, error, "tb", member)

    def bodies(self) -> list[Any]:
        return [each.args[0] for each in requests(self.app)]

    @property
    def error(self) -> Any:
        """That of the body."""
        return self.app.AsyncResult(self.body_id).result


@contextmanager
def dies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, whoever writes the end of a member is killed before it is written."""
    with monkeypatch.context() as patch:
        patch.setattr(FullResultBackend, "store_result", killed)
        with pytest.raises(Killed):
            yield


def test_the_end_of_a_run_that_was_healed_away_is_none_of_a_run_after_it(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = Frozen(app)
    frozen.run("first")
    first, _ = frozen.begin()
    with dies(monkeypatch):
        frozen.succeed(first, "healed away")
    app.fullresult.storage.forget_chord(first.group)  # as `heal` does

    found = [frozen.run("third")]
    first, second = frozen.begin()
    counted = recount(app)
    frozen.fail(first, ValueError("spoilt"))
    frozen.succeed(second, "fourth 1")
    found += frozen.bodies()

    assert found == [[["third 0", "third 1"]]]
    assert counted == 0
    assert isinstance(frozen.error, ChordError)
    assert "spoilt" in str(frozen.error)


def test_a_member_of_a_run_that_was_healed_away_counts_in_no_run_after_it(app: Celery) -> None:
    """Its message is delivered once more when the chord is applied again."""
    frozen = Frozen(app)
    first, second = frozen.begin()
    frozen.succeed(first, "first 0")
    frozen.fail(second, ValueError("spoilt"))
    app.fullresult.storage.forget_chord(first.group)  # as `heal` does
    frozen.succeed(first, "once more")

    again, other = frozen.begin()
    frozen.succeed(first, "once more")
    frozen.succeed(other, "second 1")
    early = frozen.bodies()
    frozen.succeed(again, "second 0")

    assert early == []
    assert frozen.bodies() == [["second 0", "second 1"]]


def test_a_member_that_runs_is_not_counted_by_its_end_in_the_run_before(app: Celery) -> None:
    frozen = Frozen(app)
    frozen.run("first")

    frozen.begin()

    assert [recount(app) for _ in range(3)] == [0, 0, 0]
    assert frozen.bodies() == []


@pytest.mark.parametrize("fails", [True, False])
def test_what_ends_while_the_storage_is_away_ends_as_in_this_run(place: Place, fails: bool) -> None:
    """The record keeps the success of the run before, if this one fails."""
    frozen = Frozen(place.app)
    frozen.run("first")
    first, second = frozen.begin()
    frozen.succeed(second, "second 1")

    with place.away():
        if fails:
            frozen.fail(first, ValueError("spoilt"))
        else:
            frozen.succeed(first, "second 0")
        early = frozen.bodies()

    assert early == []
    if fails:
        assert until(lambda: isinstance(frozen.error, ChordError))
        assert "spoilt" in str(frozen.error)
        assert frozen.bodies() == []
    else:
        assert until(lambda: place.app.fullresult.get(frozen.body_id).published_again)
        assert frozen.bodies() == [["second 0", "second 1"]]


def test_a_body_fails_if_it_is_not_known_how_a_member_ended_in_its_run(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker of an older version counted it though its end was not kept."""
    frozen = Frozen(app)
    frozen.run("first")
    first, second = frozen.begin()
    with monkeypatch.context() as old:
        old.setattr(LaterEnds, "keep", lambda *_: None)
        frozen.fail(first, ValueError("spoilt"))

    frozen.succeed(second, "second 1")

    assert frozen.bodies() == []
    assert isinstance(frozen.error, ChordError)
    assert f"task {first.id} ended in run 2 of chord {first.group} is not known" in caplog.text


def test_an_end_that_the_storage_refuses_lets_the_body_fail(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = Frozen(app)
    frozen.run("first")
    first, second = frozen.begin()
    save = app.fullresult.storage.save_group

    def save_group(key: str, value: bytes, until: Any) -> None:
        if len(value) > 5000:
            raise Refused("too large")
        save(key, value, until)

    monkeypatch.setattr(app.fullresult.storage, "save_group", save_group)
    frozen.fail(first, ValueError("x" * 5000))
    frozen.succeed(second, "second 1")

    assert frozen.bodies() == []
    assert f"the result of task {first.id} is not kept: too large" in str(frozen.error)


def test_many_members_are_read_and_forgotten_in_batches(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = Frozen(app, size=30)
    frozen.run("first")
    calls: list[str] = []
    for name in ("restore_group", "delete_group", "restore_groups", "delete_groups"):
        monkeypatch.setattr(app.fullresult.storage, name, noting(app, name, calls))
    monkeypatch.setattr(app.backend, "successes_in", lambda *_: {})
    monkeypatch.setattr(later_ends, "_AT_ONCE", 12)

    found = frozen.run("second")

    assert found == [[f"second {number}" for number in range(30)]]
    assert [each for each in calls if each.endswith("s")] == [
        *["restore_groups"] * 3,
        *["delete_groups"] * 3,
    ]
    assert len(calls) < 10


def noting(app: Celery, name: str, calls: list[str]) -> Any:
    """The method *name* of the storage, which leaves its name in *calls*."""
    real = getattr(app.fullresult.storage, name)

    def do(*given: Any) -> Any:
        calls.append(name)
        return real(*given)

    return do
