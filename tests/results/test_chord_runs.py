"""A frozen chord that is applied again: each of its runs sends the body once, whoever is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord, group
from kombu import Producer

from fullresult.config.redaction_rules import read_rules
from fullresult.recording.message import Call
from fullresult.recording.publishing import Publish
from fullresult.recording.recorder import Recorder
from fullresult.recording.redaction import Redactor
from fullresult.results import bodies, mender
from fullresult.results.backend import FullResultBackend
from fullresult.results.chords import Chords
from tests.kit import servers, workers
from tests.kit.backend_contract import current, new_id
from tests.results.test_backend_chords import requests
from tests.results.test_chord_mending import made, recount, refuse


@pytest.fixture(params=workers.STORAGES)
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    with (
        # Not one in memory: it loses its messages with the connection of who is killed.
        servers.redis_database(request.getfixturevalue("redis_server")) as broker,
        workers.storage(request.param, request, tmp_path) as url,
    ):
        app = made(broker, tmp_path, url)
        # As in a worker: the tasks of a group are those of the current app.
        with current(app):
            yield app
        app.fullresult.close()
        app.close()


class Killed(BaseException):
    """Nothing more is done by this process."""


class Frozen:
    """A chord with one member, which is applied again and again."""

    def __init__(self, app: Celery, body: Any) -> None:
        self._app = app
        self._chord = chord([app.tasks["contract.member"].s(0)], body)
        self._chord.freeze()

    def run(self) -> list[str]:
        """Run the chord with its body; the ids of the tasks that were sent as that."""
        self.apply_and_tell()
        return self.end_bodies()

    def apply_and_tell(self) -> None:
        self._chord.apply_async()
        for member in requests(self._app):
            self._app.backend.mark_as_done(member.id, 0, member)

    def end_bodies(self) -> list[str]:
        found = requests(self._app)
        for body in found:
            self._app.fullresult.parts.recorder.started(body.id, body.task, body)
            self._app.backend.mark_as_done(body.id, 1, body)
        return [body.id for body in found]

    def mend(self) -> list[str]:
        """As `run`, of what a worker takes over."""
        storage = self._app.fullresult.storage
        mender.mend(self._app.backend.chords.mend, storage, storage, 0)
        return self.end_bodies()


def killed(*_: Any, **__: Any) -> None:
    raise Killed


def sends_and_is_killed(publish: Callable[..., None]) -> Callable[..., None]:
    def publish_and_die(*given: Any) -> None:
        publish(*given)
        raise Killed

    return publish_and_die


@pytest.mark.parametrize("where", ["counted", "noted", "sent", "failing"])
def test_each_run_sends_its_body_once(
    app: Celery, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Whoever completed the run was killed; the body has a record of the runs before."""
    body = app.tasks["contract.body"].s().set(task_id=new_id())
    frozen = Frozen(app, body)
    frozen.run()

    sent = []
    for _ in range(2):
        with monkeypatch.context() as patch:
            if where == "counted":
                patch.setattr(Chords, "_complete", killed)
            elif where == "sent":
                patch.setattr(bodies, "publish", sends_and_is_killed(bodies.publish))
            else:
                patch.setattr(bodies, "publish", killed)
            with pytest.raises(Killed):
                frozen.apply_and_tell()
        if where == "failing":
            with monkeypatch.context() as patch:
                patch.setattr(Producer, "publish", refuse)
                assert frozen.mend() == []
        own = frozen.end_bodies()
        sent.append(own + frozen.mend() + frozen.mend())

    assert sent == [[body.id], [body.id]]
    assert frozen.run() == [body.id]


def test_of_a_group_the_tasks_that_this_run_did_not_send_are_sent(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender was killed between the first and the second of three, and so was the next."""
    body = app.tasks["contract.body"]
    ids = [new_id() for _ in range(3)]
    frozen = Frozen(app, group(body.s().set(task_id=task_id) for task_id in ids))
    frozen.run()

    for _ in range(2):
        with dies_after_one_of(ids, monkeypatch):
            frozen.apply_and_tell()
        first = frozen.end_bodies()
        with dies_after_one_of(ids, monkeypatch):
            frozen.mend()
        second = frozen.end_bodies()
        third = frozen.mend()

        assert [first, second, third] == [ids[:1], ids[1:2], ids[2:]]
        assert frozen.mend() == []


@contextmanager
def dies_after_one_of(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, whoever publishes dies before the second of *ids*."""
    real = Recorder.publishing
    sent: list[str] = []

    def publishing(self: Recorder, call: Call, **how: Any) -> Any:
        if call.headers["id"] in ids:
            if sent:
                raise Killed
            sent.append(call.headers["id"])
        return real(self, call, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "publishing", publishing)
        patch.setattr(Publish, "failed", lambda *_: None)  # who is dead tells of no failure
        with pytest.raises(Killed):
            yield


def test_what_was_noted_of_a_run_is_forgotten_with_it(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = Frozen(app, app.tasks["contract.body"].s().set(task_id=new_id()))
    storage = app.fullresult.storage
    save, delete, delete_many = storage.save_group, storage.delete_group, storage.delete_groups
    noted: set[str] = set()

    def save_group(key: str, *known: Any) -> None:
        noted.add(key)
        save(key, *known)

    def delete_group(key: str) -> None:
        noted.discard(key)
        delete(key)

    def delete_groups(keys: list[str]) -> None:
        noted.difference_update(keys)
        delete_many(keys)

    monkeypatch.setattr(storage, "save_group", save_group)
    monkeypatch.setattr(storage, "delete_group", delete_group)
    monkeypatch.setattr(storage, "delete_groups", delete_groups)
    frozen.run()
    of_first = {*noted}
    with monkeypatch.context() as patch:
        patch.setattr(bodies, "publish", killed)
        with pytest.raises(Killed):
            frozen.apply_and_tell()
    of_second = {*noted}
    frozen.mend()

    assert (of_first, len(of_second), noted) == (set(), 2, set())  # the body and the member


@pytest.mark.parametrize("failed", [False, True])
def test_a_member_whose_process_is_killed_as_it_ends_is_counted_in_its_run(
    app: Celery, monkeypatch: pytest.MonkeyPatch, failed: bool
) -> None:
    """From Celery 5.7 on nobody runs it again: the success of the run before is there."""
    body = app.tasks["contract.body"].s().set(task_id=new_id())
    frozen = chord([app.tasks["contract.member"].s(0)], body)
    frozen.freeze()
    frozen.apply_async()
    (first,) = requests(app)
    app.backend.mark_as_done(first.id, "first", first)
    (body_request,) = requests(app)
    frozen.apply_async()
    (second,) = requests(app)
    end = app.backend.mark_as_failure if failed else app.backend.mark_as_done
    value = ValueError("second") if failed else "second"
    with monkeypatch.context() as patch:
        patch.setattr(FullResultBackend, "store_result", killed)
        with pytest.raises(Killed):
            end(second.id, value, request=second)

    counted = [recount(app), recount(app)]

    assert counted == [1, 0]
    assert body_request.args == [["first"]]
    assert [request.args for request in requests(app)] == [[["second"]]] * (not failed)
    if failed:
        assert "ValueError('second')" in str(app.AsyncResult(body.id).result)


def test_the_ends_of_a_later_run_keep_no_more_of_a_result_than_its_record(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.fullresult.parts.recorder.redactor = Redactor(app, read_rules(["card"]))
    kept: list[bytes] = []
    save = app.fullresult.storage.save_group

    def save_group(key: str, value: bytes, until: Any) -> None:
        kept.append(value)
        save(key, value, until)

    monkeypatch.setattr(app.fullresult.storage, "save_group", save_group)
    frozen = chord([app.tasks["contract.member"].s(0)], app.tasks["contract.body"].s())
    frozen.freeze()
    for _ in range(2):
        frozen.apply_async()
        for member in requests(app):
            app.backend.mark_as_done(member.id, {"card": "4111", "sum": 7}, member)

    ends = [value for value in kept if b"sum" in value]
    assert len(ends) == 1
    assert b"4111" not in ends[0]
