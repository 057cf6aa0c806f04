"""Our own chords: the end of a member and its counting are one write, and nothing is quadratic."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.exceptions import ChordError

from fullresult import FullResult
from fullresult.record import SUCCESS, Stored, TaskRecord
from fullresult.results import bodies, chords
from fullresult.results.shared import OWN, shared
from fullresult.storage import Refused, StorageError, Uncertain
from fullresult_storage_sql.sqlite import SQLite
from fullresult_storage_sql.storage import SqlStorage
from tests.kit.backend_contract import PATIENCE, echo, new_id
from tests.results.test_backend_chords import Header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app whose results are in SQLite, and whose messages nobody reads."""
    app = Celery("chords", broker="memory://", backend=OWN, set_as_current=False)
    # A queue of its own: all brokers in memory are one.
    app.conf.task_default_queue = new_id()
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/tasks.db"
    app.conf.fullresult_spool_directory = None
    app.conf.result_chord_join_timeout = 0.3
    full = FullResult(app)
    full.setup()
    app.task(name="contract.member")(echo)
    app.task(name="contract.body")(echo)
    yield app
    full.close()
    app.close()


class Failing:
    """Writes and counts the ends of members, but not all goes well."""

    def __init__(self, app: Celery) -> None:
        assert isinstance(app.fullresult.storage, SqlStorage)
        self.storage = app.fullresult.storage
        self.refused = self.lost = ""
        self.silent = False
        shared(app, OWN).joining = self

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[Collection[str], bool]:
        if event.task_id == self.refused:
            raise Refused("not this one")
        answer = self.storage.write_and_join(event, chord_id, member, size, expire_at, call=call)
        if event.task_id == self.lost:
            raise Uncertain("no answer")
        return answer

    def get_successes(self, task_ids: Collection[str]) -> dict[str, Stored | str]:
        if self.silent:
            raise StorageError("no answer")
        return self.storage.get_successes(task_ids)


def test_the_end_of_a_member_is_one_transaction(app: Celery) -> None:
    header = Header(app, 3)
    header.tell(0)
    storage = app.fullresult.storage
    assert isinstance(storage._database, SQLite)
    statements: list[str] = []
    (session,) = storage._database._connections._idle
    session.set_trace_callback(statements.append)

    header.tell(1)

    session.set_trace_callback(None)
    assert [each for each in statements if each in {"BEGIN IMMEDIATE", "COMMIT"}] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    assert not [each for each in statements if "fullresult_group" in each]
    assert app.AsyncResult(header.requests[1].id).state == SUCCESS


def test_how_many_members_there_are_goes_with_each_of_them(app: Celery) -> None:
    header = Header(app, 3)

    assert [request.chord["chord_size"] for request in header.requests] == [3, 3, 3]


def test_members_that_were_not_told_how_many_they_are_look_it_up(app: Celery) -> None:
    header = Header(app, 3)
    for request in header.requests:
        del request.chord["chord_size"]

    for index in (2, 0, 1):
        header.tell(index)

    assert header.bodies() == [[0, 1, 2]]


def test_a_storage_that_cannot_do_both_at_once_does_one_after_the_other(app: Celery) -> None:
    header = Header(app, 3)
    shared(app, OWN).joining = None

    for index in range(3):
        header.tell(index)

    assert header.bodies() == [[0, 1, 2]]


def test_the_last_member_learns_that_it_was_though_the_answer_was_lost(app: Celery) -> None:
    """It is counted already, and asks again by the same name."""
    header = Header(app, 3)
    Failing(app).lost = header.requests[2].id

    for index in range(3):
        header.tell(index)

    assert header.bodies() == [[0, 1, 2]]


def test_the_last_member_needs_no_results_but_what_one_small_read_finds(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the members returned: some of it is stored, some the record's own JSON says."""
    values = [0, "", "text", [1, {"a": 2.5}], True, 2.5]
    header = Header(app, len(values))
    monkeypatch.setattr(chords.Chords, "_waited_for", None)

    for index, value in enumerate(values):
        header.tell(index, value)

    assert header.bodies() == [values]


def test_a_small_read_that_fails_leaves_the_results_to_who_may_wait_for_them(app: Celery) -> None:
    header = Header(app, 3)
    Failing(app).silent = True

    for index in range(3):
        header.tell(index)

    assert header.bodies() == [[0, 1, 2]]


def test_a_member_whose_result_is_refused_is_counted_and_the_body_fails(app: Celery) -> None:
    header = Header(app, 2)
    Failing(app).refused = header.requests[0].id

    header.tell(0)
    header.tell(1)

    with pytest.raises(ChordError):
        header.result.get(timeout=PATIENCE, follow_parents=False)


def test_a_join_without_a_limit_has_one_all_the_same(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`result_chord_join_timeout = None`: a worker would wait for a result that never comes."""
    app.conf.result_chord_join_timeout = None
    monkeypatch.setattr(bodies, "_LONGEST_JOIN", 0.3)
    header = Header(app, 2)
    Failing(app).refused = header.requests[0].id

    header.tell(0)
    header.tell(1)

    with pytest.raises(ChordError, match=r"timed out \(0\.3\)"):
        header.result.get(timeout=PATIENCE, follow_parents=False)


def test_a_member_that_is_told_twice_by_different_ways_counts_once(app: Celery) -> None:
    """It succeeds, and its message was delivered again to a worker that failed."""
    header = Header(app, 2)

    header.tell(0)
    header.fail(0, KeyError("again"))
    early = header.bodies()
    header.tell(1)

    assert early == []
    assert header.bodies() == [[0, 1]]


def test_what_a_member_left_is_as_if_it_had_been_no_member(app: Celery) -> None:
    """The record of its end has its result, its worker and its message."""
    header = Header(app, 2)
    request = header.requests[1]

    header.tell(1, {"a": [1]})

    record = app.fullresult.get(request.id)
    assert (record.state, record.result, record.worker) == (SUCCESS, {"a": [1]}, request.hostname)
    assert record.args == [1]
    assert json.loads(record.stored.body)["result"] == {"a": [1]}
