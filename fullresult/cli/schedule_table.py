"""What waits to be sent, for people and programs: a table, fields, a document, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import safe
from fullresult.insight.document import plain
from fullresult.insight.words import brief, local, local_exactly
from fullresult.record import encoding
from fullresult.record.schedule import Schedule, ScheduleQuery

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.storage import TaskQuery

_BATCH = 100
_BEING_SENT = timedelta(minutes=1)
"""A younger claim is a sweeper's at work: it takes some milliseconds, unless the broker stalls."""
# Not what would be sent: it is stored whole even where the record hides a part of it.
_SECRET = frozenset({"body", "headers", "how"})


def schedules_of(full: FullResult, task_id: str) -> list[Schedule]:
    """Those of one task, the first due first."""
    return full.storage.find_schedules(ScheduleQuery(task_ids=[encoding.key(task_id)], limit=None))


def pages(
    full: FullResult,
    query: TaskQuery | None = None,
    *,
    due_until: datetime | None = None,
    claimed: bool | None = None,
) -> Iterator[Schedule]:
    """All that `FullResult.scheduled` has pages of, also while some of them go."""
    after = None
    while found := full.scheduled(
        query, due_until=due_until, claimed=claimed, limit=_BATCH, after=after
    ):
        yield from found
        after = found[-1].cursor


def is_being_sent(schedule: Schedule, now: datetime) -> bool:
    """Whether a sweeper has only just claimed it."""
    return schedule.date_claimed is not None and now - schedule.date_claimed < _BEING_SENT


def late(
    full: FullResult,
    age: timedelta,
    *,
    claimed: bool | None = None,
    query: TaskQuery | None = None,
) -> Iterator[Schedule]:
    """Those of this broker that have been due for *age*, and may be sent by hand.

    A claim has to be as old: what it was for may be on its way now.
    """
    now = full.storage.now()
    for schedule in pages(full, query, due_until=now - age, claimed=claimed):
        since = schedule.date_claimed or schedule.due
        if (
            schedule.namespace == full.settings.namespace
            and since <= now - age
            and not is_being_sent(schedule, now)
        ):
            yield schedule


def show_schedules(
    full: FullResult, schedules: Sequence[Schedule], *, err: bool = False, table: bool | None = None
) -> None:
    """Print *schedules*; as a table on a terminal, or where *table* says so."""
    show_rows(schedules, _columns(full.settings.namespace), _fields, err=err, table=table)


def schedule_document(schedule: Schedule) -> dict[str, Any]:
    """All that *schedule* says of itself, as values that JSON holds."""
    known = {k: v for k, v in schedule._asdict().items() if k not in _SECRET}
    known["claimed"] = schedule.claimed
    return {name: plain(value) for name, value in known.items()}


def why_not(full: FullResult, task_id: str) -> str:
    """Why nothing of this task could be taken back from the sweepers."""
    found = schedules_of(full, task_id)
    for schedule in found:
        if schedule.date_claimed:
            return (
                f"task {task_id!r} was claimed by a sweeper at "
                f"{local_exactly(schedule.date_claimed)}, and is sent or about to be"
            )
    if found:
        return f"task {task_id!r} was changed by somebody else at this moment; try again"
    record = full.get(task_id)
    if record is None:
        return f"no task {task_id!r} is recorded"
    return f"task {task_id!r} is not scheduled: it is {record.state}"


def _status(schedule: Schedule) -> str:
    return "claimed" if schedule.claimed else "waits"


def _since(schedule: Schedule) -> datetime:
    return schedule.date_claimed or schedule.date_scheduled


def _columns(namespace: str) -> tuple[Column[Schedule], ...]:
    return (
        Column("DUE", lambda schedule: local(schedule.due)),
        Column("ID", lambda schedule: safe(schedule.task_id)),
        Column("STATUS", _status, state=_status),
        Column("SINCE", lambda schedule: local(_since(schedule))),
        Column("TASK", lambda schedule: brief(schedule.name or "<unknown>"), elastic=True),
        Column("QUEUE", lambda schedule: brief(schedule.queue or ""), elastic=True),
        Column("PROBLEM", lambda schedule: brief(schedule.problem or ""), elastic=True),
        Column(
            "NAMESPACE",
            lambda schedule: "" if schedule.namespace == namespace else brief(schedule.namespace),
            elastic=True,
        ),
    )


def _fields(schedule: Schedule) -> list[str]:
    """What a line in a pipe says, and `scheduled --help` explains."""
    return bounded(
        (
            schedule.task_id,
            schedule.due.isoformat(timespec="milliseconds"),
            schedule.name,
            schedule.queue,
            _status(schedule),
            _since(schedule).isoformat(timespec="milliseconds"),
            schedule.problem,
            schedule.namespace,
        )
    )
