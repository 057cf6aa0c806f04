"""The suite: tasks that enter by a connection of the caller's, if a storage has an outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

import pytest

from fullresult.record import SCHEDULED, SUCCESS, Schedule, TaskRecord
from fullresult.storage import (
    OutboxRow,
    OutboxStorage,
    RestingListener,
    ScheduleStorage,
    is_same,
)
from fullresult.storage.outbox import OutboxWriter
from fullresult.testing import samples
from fullresult.testing.fixtures import ScheduleFixtures, known, with_schedules_or_skip
from fullresult.testing.processes import OpenStorage
from fullresult.testing.schedule_helpers import ids, kept


class Caller(Protocol):
    """Somebody with a connection to the storage's database, and transactions of their own."""

    connection: Any

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


Connect = Callable[[], AbstractContextManager[Caller]]


@runtime_checkable
class Outbox(ScheduleStorage, OutboxStorage, Protocol):
    """A storage with schedules and an outbox."""


def row(
    schedule: Schedule | str, event: TaskRecord | None = None, delay: timedelta | None = None
) -> OutboxRow:
    """A task in an outbox, with the event of its schedule; a text stands for a sample."""
    if isinstance(schedule, str):
        schedule = samples.schedule(schedule, at_least_once=False)
    return OutboxRow(schedule, event or samples.scheduled(schedule), delay)


class Outboxes(ScheduleFixtures):
    @pytest.fixture
    def connect(self) -> Connect:
        """How to connect to the database of `url` as an application does."""
        pytest.skip("the suite has no fixture `connect`")

    @pytest.fixture
    def outbox(self, schedule_storage: ScheduleStorage) -> Outbox:
        if not isinstance(schedule_storage, Outbox):
            pytest.skip("this storage has no outbox")
        return schedule_storage

    @pytest.fixture
    def caller(self, outbox: Outbox, connect: Connect) -> Iterator[Caller]:  # noqa: ARG002
        """In a transaction."""
        with connect() as caller:
            caller.begin()
            yield caller

    @pytest.fixture
    def writer(self, outbox: Outbox, caller: Caller) -> OutboxWriter:
        writer = outbox.writer(caller.connection)
        assert writer is not None
        assert not hasattr(writer, "write_later"), "this suite writes by a connection that blocks"
        return writer

    def test_a_database_has_one_identity_however_it_is_asked(
        self, outbox: Outbox, writer: OutboxWriter, url: str, opener: OpenStorage
    ) -> None:
        with closing(with_schedules_or_skip(opener(url))) as other:
            assert isinstance(other, OutboxStorage)
            identities = [outbox.identity(), writer.identity(), other.identity()]

        assert all(identities)
        assert all(is_same(one, other) for one in identities for other in identities)
        assert outbox.identity() == outbox.identity()

    def test_what_is_no_connection_has_no_writer(self, outbox: Outbox) -> None:
        assert [outbox.writer(each) for each in (object(), None, 1)] == [None] * 3

    def test_a_writer_knows_its_address_and_its_transaction(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        again = outbox.writer(caller.connection)

        assert again is not None
        assert writer.address == again.address != ""
        assert writer.in_transaction()
        assert writer.nesting() == 0

    def test_rows_and_events_are_there_at_the_commit_and_not_before(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        writer.write([row("a"), row("b")], None)
        before = ids(kept(outbox)), outbox.get("task a"), outbox.next_due("shop")
        caller.commit()

        assert before == ([], None, None)
        assert sorted(ids(kept(outbox))) == ["a", "b"]
        assert known(outbox, "task b").state == SCHEDULED
        assert sorted(ids(outbox.claim_due("shop", samples.NOON, "x", 9))) == ["a", "b"]

    def test_a_transaction_that_is_rolled_back_leaves_nothing(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        writer.write([row("a")], None)
        caller.rollback()

        assert kept(outbox) == []
        assert outbox.get("task a") is None

    @pytest.mark.parametrize("at_least_once", [True, False])
    def test_every_field_of_a_row_comes_back(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller, at_least_once: bool
    ) -> None:
        schedule = samples.RICH_SCHEDULE._replace(new_task_id=None, at_least_once=at_least_once)
        event = samples.scheduled(schedule, args='["é", {"$a.b": null}]', queue="q")
        writer.write([row(schedule, event)], None)
        caller.commit()

        assert kept(outbox) == kept(outbox, outbox=True) == [schedule]
        assert kept(outbox, outbox=False) == []
        assert known(outbox, schedule.task_id) == samples.plain(event)

    def test_a_diverted_task_is_in_no_outbox(self, outbox: Outbox) -> None:
        schedule = samples.schedule("a")
        outbox.schedule(schedule, samples.scheduled(schedule))

        assert [each.at_least_once for each in kept(outbox)] == [None]

    def test_of_a_task_that_is_not_recorded_only_the_schedule_is_kept(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        schedule = samples.schedule("a", at_least_once=False)
        writer.write([OutboxRow(schedule, None)], None)
        caller.commit()

        assert kept(outbox) == [schedule]
        assert outbox.get("task a") is None

    def test_what_is_there_already_stays_as_it_is(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        """A record that came before the commit, and a schedule of the same id."""
        outbox.write([samples.became("task a", SUCCESS)])
        before = known(outbox, "task a")
        writer.write([row("a"), row(samples.schedule("a", task_id="b", at_least_once=True))], None)
        writer.write([row("c")], None)
        caller.commit()

        assert known(outbox, "task a") == before
        found = {each.schedule_id: each.task_id for each in kept(outbox)}
        assert found == {"a": "task a", "c": "task c"}

    def test_later_events_are_merged_into_its_record(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        writer.write([row("a")], None)
        caller.commit()
        outbox.claim_due("shop", samples.NOON, "x", 1)
        outbox.mark_sent("x", ["a"], [samples.became("task a", SUCCESS, samples.LATEST)])

        record = known(outbox, "task a")
        assert (record.state, record.name) == (SUCCESS, "shop.pay")
        assert kept(outbox) == []

    def test_a_delay_begins_by_the_clock_of_the_server(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        before = outbox.now()
        writer.write([row("a", delay=timedelta(hours=1))], None)
        writer.write([row("b", delay=timedelta(0))], None)
        caller.commit()

        dues = {each.schedule_id: each.due for each in kept(outbox)}
        slack = timedelta(seconds=1)
        assert before - slack <= dues["b"] <= outbox.now() + slack
        assert before - slack <= dues["a"] - timedelta(hours=1) <= outbox.now() + slack

    def test_nobody_waits_for_the_callers_transaction(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller, connect: Connect, url: str
    ) -> None:
        if url.startswith("sqlite"):
            pytest.skip("one writer at a time")
        writer.write([row("a")], None)
        with connect() as other:
            other.begin()
            second = outbox.writer(other.connection)
            assert second is not None
            second.write([row("b")], None)  # type: ignore[union-attr]
            other.commit()
        claimed = ids(outbox.claim_due("shop", samples.NOON, "x", 9))
        outbox.mark_sent("x", claimed, [samples.became("task b", SUCCESS, samples.LATEST)])
        caller.commit()

        assert claimed == ["b"]
        assert ids(kept(outbox)) == ["a"]

    def test_a_listener_hears_of_commits_for_its_namespace(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        listener = outbox.listener("shop")
        if listener is None:
            pytest.skip("this storage has to be polled")
        with closing(listener):
            connected = listener.wait(0.1)
            rests = not isinstance(listener, RestingListener) or listener.rest()
            writer.write([row("a")], "shop")
            caller.commit()
            heard = any(listener.wait(0.5) for _ in range(20))

        assert connected
        assert rests
        assert heard

    def test_a_listener_does_not_rest_before_it_would_hear_of_every_commit(
        self, outbox: Outbox, writer: OutboxWriter, caller: Caller
    ) -> None:
        listener = outbox.listener("shop")
        if not isinstance(listener, RestingListener):
            pytest.skip("this storage tells of every commit, or of none")
        with closing(listener):
            writer.write([row("a")], "shop")
            during = listener.rest()
            caller.commit()
            after = listener.rest()

        assert (during, after) == (False, True)
