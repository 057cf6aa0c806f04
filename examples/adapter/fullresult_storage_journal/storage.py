"""The storage over a journal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from operator import attrgetter

from fullresult.record import Schedule, ScheduleQuery, TaskQuery, TaskRecord
from fullresult.storage import StorageError, matching, may_wait
from fullresult_storage_journal.changes import Change, State
from fullresult_storage_journal.journal import Journal


class JournalStorage:
    """A `fullresult.storage.ScheduleStorage` in one file, all of it in memory as well."""

    def __init__(self, journal: Journal, *, auto_setup: bool) -> None:
        self._journal = journal
        self._auto_setup = auto_setup

    def __repr__(self) -> str:
        return f"<JournalStorage {self._journal!r}>"

    @contextmanager
    def _state(self, *, create: bool = False) -> Iterator[State]:
        """The state as it is now, under the lock of the journal."""
        try:
            with self._journal.locked(create=create or self._auto_setup) as state:
                yield state
        except FileNotFoundError as error:
            raise StorageError(
                f"{self._journal!r}: {error.strerror}; make its directory, and run "
                "`celery -A proj fullresult setup` where fullresult_auto_setup is False"
            ) from error
        except OSError as error:
            raise StorageError(f"{self._journal!r}: {error}") from error

    def setup(self) -> None:
        with self._state(create=True):
            pass

    def close(self) -> None:
        self._journal.forget()

    def now(self) -> datetime:
        with self._state():
            now = datetime.now(timezone.utc)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        with self._state() as state:
            if events:
                durable = not all(map(may_wait, events))
                self._journal.append(state, Change(events=events), durable=durable)
            return [event.task_id for event in events if _lacks_message(state, event)]

    def get(self, task_id: str) -> TaskRecord | None:
        with self._state() as state:
            return state.records.get(task_id)

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        with self._state() as state:
            return matching.find(query, state.records.values())

    def count(self, query: TaskQuery) -> int:
        with self._state() as state:
            return matching.count(query, state.records.values())

    def delete(self, query: TaskQuery) -> int:
        with self._state() as state:
            found = [record.task_id for record in matching.find(query, state.records.values())]
            self._keep(state, Change(deleted=found))
            return len(found)

    def delete_expired(self, now: datetime, limit: int) -> int:
        with self._state() as state:
            expired = _expired(state, now)[:limit]
            self._keep(state, Change(deleted=expired))
            return len(expired)

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        with self._state() as state:
            known = schedule.schedule_id in state.schedules.keys() | state.withdrawn
            self._keep(state, Change(events=[event], kept=[] if known else [schedule]))

    def withdraw(self, schedule_id: str) -> None:
        with self._state() as state:
            schedule = state.schedules.get(schedule_id)
            if schedule is None or not schedule.claimed:
                self._keep(state, Change(withdrawn=[schedule_id]))

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        with self._state() as state:
            waiting = _waiting(state, namespace)
            due = [schedule for schedule in waiting if schedule.due <= now][:limit]
            claimed = [schedule._replace(claim=claim, date_claimed=now) for schedule in due]
            self._keep(state, Change(kept=claimed))
            return claimed

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        with self._state() as state:
            closed = [s.schedule_id for s in _claimed(state, schedule_ids) if s.claim == claim]
            self._keep(state, Change(events=events, closed=closed))
            return closed

    def mark_problem(self, claim: str, schedule_id: str, problem: str) -> None:
        with self._state() as state:
            claimed = [s for s in _claimed(state, [schedule_id]) if s.claim == claim]
            self._keep(state, Change(kept=[s._replace(problem=problem) for s in claimed]))

    def release(self, schedule_ids: Collection[str], claim: str | None = None) -> list[str]:
        with self._state() as state:
            found = _claimed(state, schedule_ids)
            released = [
                schedule._replace(claim=None, date_claimed=None, problem=None)
                for schedule in found
                if claim in {None, schedule.claim}
            ]
            self._keep(state, Change(kept=released))
            return [schedule.schedule_id for schedule in released]

    def take_over(
        self, schedule_id: str, claim: str, now: datetime, *, instead_of: str | None
    ) -> Schedule | None:
        with self._state() as state:
            schedule = state.schedules.get(schedule_id)
            if schedule is None or schedule.claim != instead_of:
                return None
            taken = schedule._replace(claim=claim, date_claimed=now, problem=None)
            self._keep(state, Change(kept=[taken]))
            return taken

    def cancel(self, schedule_id: str, event: TaskRecord) -> bool:
        with self._state() as state:
            schedule = state.schedules.get(schedule_id)
            if schedule is None or schedule.claimed:
                return False
            self._keep(state, Change(events=[event], closed=[schedule_id]))
            return True

    def reschedule(
        self,
        schedule_id: str,
        due: datetime,
        event: TaskRecord,
        *,
        instead_of: datetime | None = None,
    ) -> bool:
        with self._state() as state:
            schedule = state.schedules.get(schedule_id)
            if schedule is None or schedule.claimed:
                return False
            if instead_of is not None and schedule.due != instead_of:
                return False
            self._keep(state, Change(events=[event], kept=[schedule._replace(due=due)]))
            return True

    def next_due(self, namespace: str) -> datetime | None:
        with self._state() as state:
            return next((schedule.due for schedule in _waiting(state, namespace)), None)

    def find_schedules(self, query: ScheduleQuery) -> list[Schedule]:
        with self._state() as state:
            return matching.find_schedules(query, state.schedules.values(), state.records.get)

    def count_schedules(self, query: ScheduleQuery) -> int:
        with self._state() as state:
            return matching.count_schedules(query, state.schedules.values(), state.records.get)

    def note_sweep(self, namespace: str, at: datetime) -> None:
        with self._state() as state:
            if state.sweeps.get(namespace, at) <= at:
                self._journal.append(state, Change(swept=[(namespace, at)]), durable=False)

    def last_sweep(self, namespace: str) -> datetime | None:
        with self._state() as state:
            return state.sweeps.get(namespace)

    def _keep(self, state: State, change: Change) -> None:
        """Append *change*, unless it is empty; it cannot be lost then."""
        if any(change):
            self._journal.append(state, change, durable=True)


def _lacks_message(state: State, event: TaskRecord) -> bool:
    """True if the record has no message once *event* is merged into it, or more than one."""
    known = state.records.get(event.task_id)
    if event.message is not None:
        return False
    return known is None or known.message is None or known.published_again is not None


def _expired(state: State, now: datetime) -> list[str]:
    """The ids of the records that have expired, the earliest first."""
    dates = (
        (record.outcome.expire_at, record.task_id)
        for record in state.records.values()
        if record.outcome and record.outcome.expire_at
    )
    return [task_id for expire_at, task_id in sorted(dates) if expire_at <= now]


def _waiting(state: State, namespace: str) -> list[Schedule]:
    """The unclaimed schedules of *namespace*, the first due first."""
    found = [s for s in state.schedules.values() if s.namespace == namespace and not s.claimed]
    return sorted(found, key=attrgetter("due", "schedule_id"))


def _claimed(state: State, schedule_ids: Collection[str]) -> list[Schedule]:
    found = [state.schedules.get(schedule_id) for schedule_id in schedule_ids]
    return [schedule for schedule in found if schedule is not None and schedule.claimed]
