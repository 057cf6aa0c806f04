"""Showing the tasks that a command is about to act on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fullresult.cli.schedule_table import show_schedules
from fullresult.cli.table import show_records
from fullresult.cli.terminal import say
from fullresult.insight.words import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fullresult.extension import FullResult
    from fullresult.record.schedule import Schedule
    from fullresult.storage import TaskQuery

SHOWN = 10


def preview(full: FullResult, query: TaskQuery, number: int, verb: str) -> None:
    """Show the first of the *number* records to *verb*, on standard error."""
    say(f"About to {verb} {count_of(number)}:", err=True)
    show_records(full.find(replace(query, limit=min(SHOWN, number))), err=True, table=True)
    if number > SHOWN:
        say(f"… and {number - SHOWN:,} more", err=True)


def preview_schedules(
    full: FullResult, schedules: Sequence[Schedule], number: int, verb: str
) -> None:
    """Show *schedules*, of the first of the *number* tasks to *verb*, on standard error."""
    say(f"About to {verb} {count_of(number)}:", err=True)
    show_schedules(full, schedules, err=True, table=True)
    if number > SHOWN:
        say(f"… and {number - SHOWN:,} more", err=True)
