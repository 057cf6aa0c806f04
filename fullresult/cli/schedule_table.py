"""Schedules for people and programs: a table, and fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from fullresult.cli.table import Column, bounded, short, show_rows
from fullresult.insight.scheduled_calls import calls_of
from fullresult.insight.words import brief, local
from fullresult.record.schedule import Schedule

if TYPE_CHECKING:
    from fullresult.extension import FullResult


def show_schedules(
    full: FullResult, schedules: Sequence[Schedule], *, err: bool = False, table: bool | None = None
) -> None:
    """Print *schedules*, as a table if *table* is True; without it, on a terminal."""
    calls = calls_of(full.storage, schedules)
    columns = _columns(full.settings.namespace, calls)
    show_rows(schedules, columns, partial(_fields, calls=calls), err=err, table=table)


def _status(schedule: Schedule) -> str:
    return "claimed" if schedule.claimed else "waits"


def _status_and_home(schedule: Schedule) -> str:
    return f"{_status(schedule)}, outbox" if schedule.is_in_outbox else _status(schedule)


def _since(schedule: Schedule) -> datetime:
    return schedule.date_claimed or schedule.date_scheduled


def _columns(namespace: str, calls: Mapping[str, str]) -> tuple[Column[Schedule], ...]:
    return (
        Column("DUE", lambda schedule: local(schedule.due)),
        Column("ID", lambda schedule: short(schedule.task_id)),
        Column("STATUS", _status_and_home, state=_status),
        Column("SINCE", lambda schedule: local(_since(schedule))),
        Column("TASK", lambda schedule: _call(schedule, calls), elastic=True),
        Column("QUEUE", lambda schedule: brief(schedule.queue or ""), elastic=True),
        Column("PROBLEM", lambda schedule: brief(schedule.problem or ""), elastic=True, below=True),
        Column(
            "NAMESPACE",
            lambda schedule: "" if schedule.namespace == namespace else brief(schedule.namespace),
            elastic=True,
        ),
    )


def _call(schedule: Schedule, calls: Mapping[str, str]) -> str:
    return calls.get(schedule.task_id) or brief(schedule.name or "<unknown>")


def _fields(schedule: Schedule, calls: Mapping[str, str]) -> list[str]:
    """The fields of a line in a pipe, as `scheduled --help` lists them."""
    return bounded(
        (
            schedule.task_id,
            schedule.due.isoformat(timespec="milliseconds"),
            schedule.name,
            schedule.queue,
            _status_and_home(schedule),
            _since(schedule).isoformat(timespec="milliseconds"),
            schedule.problem,
            schedule.namespace,
            calls.get(schedule.task_id),
        )
    )
