"""`resend`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from kombu.exceptions import OperationalError

from fullresult.cli import filters
from fullresult.cli.app import full_of
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.preview import preview
from fullresult.cli.progress import progress
from fullresult.cli.table import show_records
from fullresult.cli.terminal import is_terminal, one_line, safe, say
from fullresult.cli.words import count_of
from fullresult.encoding import safe_str
from fullresult.record import TaskRecord

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.storage import TaskQuery

_BATCH = 100
_BROKER_ERRORS = 3
"""So many in a row, and nobody waits for the broker any longer."""


@click.command(
    cls=Command, examples=["resend 3f0c9a4e-…", "resend --state FAILURE --name 'shop.*' --since 2h"]
)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@filters.which
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def resend(
    context: click.Context, /, ids: tuple[str, ...], limit: int | None, yes: bool, **options: Any
) -> None:
    """Send recorded tasks again, exactly as they were, each under a new id.

    Name their ids, or say which by the options; you see them before anything is sent. A task that
    cannot be sent again is reported, the others go on, and the exit code is 1.

    Prints a line for each task sent: its id, a tab, its new id.
    """
    full = full_of(context)
    by_filter = bool(filters.given(options))
    if ids and (by_filter or limit):
        raise click.UsageError("give ids or filters, not both")
    if not ids and not by_filter:
        raise click.UsageError(
            "say which tasks: ids, or filters such as --state FAILURE --since 2h"
        )
    run = Run(full)
    if ids:
        run.send(*_by_id(run, ids, yes))
    else:
        run.send(*_by_filter(run, options, limit, yes))
    run.report()


def _by_id(run: Run, ids: Sequence[str], yes: bool) -> tuple[list[TaskRecord], int]:
    records = []
    for task_id in dict.fromkeys(ids):
        record = run.full.get(task_id)
        if record is None:
            run.failures.append(f"no task {task_id!r} is recorded")
        else:
            records.append(record)
    if records and not yes:
        say(f"About to send again {count_of(len(records))}:", err=True)
        show_records(records, err=True, table=True)
        _confirm(len(records))
    return records, len(records)


def _by_filter(
    run: Run, options: dict[str, Any], limit: int | None, yes: bool
) -> tuple[Iterator[TaskRecord], int]:
    full = run.full
    query = filters.query(options, limit=_BATCH, order="oldest")
    number = full.count(query) if limit is None else min(full.count(query), limit)
    if not number:
        say("No such task is recorded; nothing is sent.", err=True)
        filters.explain_nothing(options)
    elif not yes:
        preview(full, query, number, "send again")
        _confirm(number)
    # What is sent now makes new records, which may match too, and not come last: clocks differ.
    old = (record for record in _pages(full, query) if record.task_id not in run.sent)
    return islice(old, number), number


def _confirm(number: int) -> None:
    click.confirm(f"Send {count_of(number)} again?", abort=True, err=True)


def _pages(full: FullResult, query: TaskQuery) -> Iterator[TaskRecord]:
    while records := full.find(query):
        yield from records
        query = replace(query, after=records[-1].cursor)


@dataclass
class Run:
    """Sends one after the other, whatever becomes of each."""

    full: FullResult
    sent: dict[str, str] = field(default_factory=dict)
    """The old id of each new one."""
    failures: list[str] = field(default_factory=list)
    broker_errors: int = 0
    """In a row."""

    def send(self, records: Iterable[TaskRecord], number: int) -> None:
        if not number:
            return
        try:
            with progress(number, "Sending") as advance:
                for record in records:
                    self._send(record)
                    if self.broker_errors >= _BROKER_ERRORS:
                        break
                    advance(1)
        finally:
            # Also those sent before somebody lost patience.
            arrow = " → " if is_terminal() else "\t"
            for new, old in self.sent.items():
                say(f"{safe(old)}{arrow}{safe(new)}")

    def _send(self, record: TaskRecord) -> None:
        from fullresult.resend import CannotResend

        try:
            result = self.full.resend(record)
        except CannotResend as error:
            self.failures.append(str(error))
        except Exception as error:  # noqa: BLE001  (a broker's library may raise anything)
            self.broker_errors += isinstance(error, (OperationalError, OSError))
            self.failures.append(
                f"task {record.task_id}: the broker did not take it: {safe_str(error)}"
            )
        else:
            self.broker_errors = 0
            self.sent[str(result.id)] = record.task_id

    def report(self) -> None:
        """Raises `Failure` where not all was sent."""
        for reason in self.failures:
            say(one_line(reason), err=True)
        if self.broker_errors >= _BROKER_ERRORS:
            raise Failure(f"the broker does not answer; sent {len(self.sent):,}, and gave up")
        if self.failures:
            failed = count_of(len(self.failures))
            raise Failure(f"sent {len(self.sent):,}; {failed} could not be sent")
