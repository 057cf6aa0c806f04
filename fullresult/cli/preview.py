"""Showing the tasks that a command is about to act on."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from fullresult.cli.schedule_table import show_schedules
from fullresult.cli.table import show_records
from fullresult.cli.terminal import say
from fullresult.importers.events import IMPORTED
from fullresult.insight.safe_text import one_line
from fullresult.insight.surgery.advice import advice_on
from fullresult.insight.words import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fullresult.extension import FullResult
    from fullresult.record import TaskRecord
    from fullresult.record.schedule import Schedule
    from fullresult.storage import TaskQuery

SHOWN = 10
_RESEND = "send again"


def preview(full: FullResult, query: TaskQuery, number: int, verb: str) -> None:
    """Show the first of the *number* records to *verb*, on standard error."""
    say(f"About to {verb} {count_of(number)}:", err=True)
    records = full.find(replace(query, limit=min(SHOWN, number)))
    show_records(records, err=True, table=True)
    say_imported(records)
    if verb == _RESEND:
        say_workflows(records)
    if number > SHOWN:
        say(f"… and {number - SHOWN:,} more", err=True)


def say_imported(records: Iterable[TaskRecord]) -> None:
    """Say what is not known of those of *records* that another program recorded."""
    found = {record.notes.get("encoding", "") for record in records}
    for note in sorted(note for note in found if note.startswith(IMPORTED)):
        say(one_line(f"Some were {note}."), err=True)


def say_workflows(records: Iterable[TaskRecord]) -> None:
    """Say of those of *records* that are part of a workflow what a re-send does to it."""
    for record in islice(records, SHOWN):
        if sentence := advice_on(record):
            say(one_line(sentence), err=True)


def preview_schedules(
    full: FullResult, schedules: Sequence[Schedule], number: int, verb: str
) -> None:
    """Show *schedules*, of the first of the *number* tasks to *verb*, on standard error."""
    say(f"About to {verb} {count_of(number)}:", err=True)
    show_schedules(full, schedules, err=True, table=True)
    if number > SHOWN:
        say(f"… and {number - SHOWN:,} more", err=True)
