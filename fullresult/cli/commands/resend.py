"""`resend`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fullresult.actions.audit import actor_here, filters_of
from fullresult.actions.missing import WAYS, Loss, Missing, Way
from fullresult.actions.replays import WrongReplay
from fullresult.cli import ages, filters
from fullresult.cli.acting import deeds_of, say_unwritten
from fullresult.cli.commands.orphans import show_orphans
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.preview import preview, say_imported, say_workflows
from fullresult.cli.replay_preview import rate, show_preview
from fullresult.cli.report import Words, act
from fullresult.cli.schedule_table import show_schedules
from fullresult.cli.table import STALE_COLUMNS, show_records
from fullresult.cli.terminal import is_terminal, say
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.safe_text import one_line, safe
from fullresult.insight.words import count_of
from fullresult.storage import ReplayStorage

if TYPE_CHECKING:
    from fullresult.actions.batch import Fate
    from fullresult.extension import FullResult
    from fullresult.record import TaskRecord
    from fullresult.storage import TaskQuery

_SENDING = Words("Sending", "sent")
_SPOKEN_OF: dict[Way, tuple[str, str]] = {
    "stale_scheduled": ("send now", "overdue task"),
    "orphans": ("send again", "orphan"),
    "stale": ("send again", "stale task"),
}


@click.command(
    cls=Command,
    examples=[
        "resend 3f0c9a4e-…",
        "resend --state FAILURE --name 'shop.*' --since 2h",
        "resend --group 1-703ce3170eeab6b7",
        "resend --orphans --dry-run",
        "resend --stale --stale-scheduled --orphans --older-than 2h",
    ],
)
@click.argument("ids", nargs=-1, metavar="[ID]…", callback=whole)
@click.option("--stale", is_flag=True, help="Tasks that neither finished nor moved for too long.")
@click.option(
    "--stale-scheduled", is_flag=True, help="Tasks that are due for too long and were not sent."
)
@click.option("--orphans", is_flag=True, help="Tasks that were running on a worker that is gone.")
@ages.how_long
@filters.which
@filters.dealt_with
@click.option("--limit", type=click.IntRange(min=1), help="At most this many, the oldest first.")
@click.option("--at-once", is_flag=True, help="Send from here, also what a replay would send.")
@click.option("--rate", "a_second", type=rate, default="20/s", help="Of a replay; 20/s.")
@click.option("--dry-run", is_flag=True, help="Show which would be sent, and send nothing.")
@yes_option
@click.pass_context
def resend(
    context: click.Context,
    /,
    ids: tuple[str, ...],
    limit: int | None,
    at_once: bool,
    a_second: float,
    dry_run: bool,
    yes: bool,
    everything: bool,
    **options: Any,
) -> None:
    """Send recorded tasks again, exactly as they were, each under a new id.

    Name the ids, or choose the tasks by the options. You see them before anything is sent. What is
    dealt with is not chosen: it was sent again since, or its group of failures was resolved.

    --stale, --stale-scheduled and --orphans, alone or together, find tasks that went missing; the
    other options narrow the search. Too long is the sum of the lengths of time, or without any
    `fullresult_stale_after` (1 hour). With one, an orphan's worker has to be gone for as long. A
    task that is stale scheduled is sent under its own id. Of what went missing, tasks are left
    alone that were sent again before, that a living worker runs, or that move on while you look.

    More than 100 that the options choose become a replay, if a sweeper is at work and there is no
    --limit: the sweepers send them at the --rate. The command prints its id; `replay show` goes on.

    A task that cannot be sent again is reported, the others go on, and the exit code is 1.

    Prints a line for each task that was sent: its id, a tab, its new id. With --dry-run, in a pipe,
    it prints the id of each task that would be sent.
    """
    full, how = full_of(context), How(dry_run, yes)
    ways = [way for way in WAYS if options[way]]
    _check(ids, limit, options, missing=bool(ways))
    if ways:
        _missing(full, ways, options, limit, how)
    elif ids:
        _by_id(full, ids, how)
    else:
        _by_filter(full, options, limit, how, everything, None if at_once else a_second)


class How(NamedTuple):
    """How to send: not at all, or without asking before."""

    dry_run: bool
    yes: bool

    @property
    def shows(self) -> bool:
        return self.dry_run or not self.yes

    def ask(self, question: str) -> None:
        """Ask, unless it is a dry run. Raises click's `Abort` if the answer is no."""
        if not self.dry_run:
            click.confirm(question, abort=True, err=True)


def _check(
    ids: tuple[str, ...], limit: int | None, options: dict[str, Any], *, missing: bool
) -> None:
    by_filter = bool(filters.given(options)) or missing
    if ids and (by_filter or limit):
        raise click.UsageError("give ids or filters, not both")
    if ages.age(options) is not None and not missing:
        raise click.UsageError("a length of time needs --stale, --stale-scheduled or --orphans")
    if not ids and not by_filter:
        raise click.UsageError(
            "say which tasks: ids, filters such as --state FAILURE --since 2h, or --orphans"
        )


def _missing(
    full: FullResult, ways: Sequence[Way], options: dict[str, Any], limit: int | None, how: How
) -> None:
    age, deeds = ages.age(options), deeds_of(full)
    query = filters.query(options) if filters.given(options) else None
    missing = deeds.missing(query, age, limit)
    losses = missing.find(ways)
    _say_left_alone(missing)
    chosen = [(loss.way, *each) for loss in losses for each in loss.seen.items()]
    if not chosen:
        say("Nothing of that kind is missing; nothing is sent.", err=True)
        filters.explain_nothing(options)
        return
    if how.shows:
        for loss in losses:
            _show(full, loss)
        how.ask(f"Send {count_of(len(chosen))}?{missing.warning}")
    if how.dry_run:
        _print_ids(task_id for _, task_id, _ in chosen)
        return
    asked = {**filters_of(query), "missing": list(ways)}
    act(_SENDING, len(chosen), lambda pace: deeds.resend_missing(chosen, asked, pace), _line)


def _say_left_alone(missing: Missing) -> None:
    for why, number in missing.left_alone.items():
        if number:
            say(f"Left alone: {count_of(number)} {why}.", err=True)


def _show(full: FullResult, loss: Loss) -> None:
    verb, noun = _SPOKEN_OF[loss.way]
    number = len(loss.seen)
    say(f"About to {verb} {count_of(number, noun)}:", err=True)
    if loss.way == "stale_scheduled":
        show_schedules(full, loss.first, err=True, table=True)
    elif loss.way == "orphans":
        show_orphans(loss.first, err=True, table=True)
    else:
        show_records(loss.first, STALE_COLUMNS, err=True, table=True)
    if number > len(loss.first):
        say(f"… and {number - len(loss.first):,} more", err=True)


def _by_id(full: FullResult, ids: Sequence[str], how: How) -> None:
    found = {task_id: full.get(task_id) for task_id in ids}
    records = [record for record in found.values() if record is not None]
    if records and how.shows:
        say(f"About to send again {count_of(len(records))}:", err=True)
        show_records(records, err=True, table=True)
        say_imported(records)
        say_workflows(records)
        how.ask(_question(len(records)))
    if how.dry_run:
        _print_ids(record.task_id for record in records)
        _report_unknown(found)
        return
    deeds = deeds_of(full)
    act(_SENDING, len(found), lambda pace: deeds.resend_each(found.items(), None, pace), _line)


def _report_unknown(found: Mapping[str, TaskRecord | None]) -> None:
    unknown = [task_id for task_id, record in found.items() if record is None]
    for task_id in unknown:
        say(one_line(f"no task {task_id!r} is recorded"), err=True)
    if unknown:
        raise Failure(f"{count_of(len(unknown))} could not be sent")


def _by_filter(
    full: FullResult,
    options: dict[str, Any],
    limit: int | None,
    how: How,
    everything: bool,
    a_second: float | None,
) -> None:
    deeds, unresolved = deeds_of(full), None if everything else True
    query = filters.query(options, order="oldest", unresolved=unresolved)
    number = deeds.count(query, limit)
    if not number:
        rest = not everything and deeds.count(filters.query(options), 1)
        which = "All such tasks are dealt with (--all)" if rest else "No such task is recorded"
        say(f"{which}; nothing is sent.", err=True)
        filters.explain_nothing(options)
        return
    if a_second is not None and _is_for_a_replay(full, query, number, limit):
        _replay(full, query, a_second, how)
        return
    if how.shows:
        preview(full, query, number, "send again")
        how.ask(_question(number))
    if how.dry_run:
        _print_ids(task_id for task_id, _ in islice(deeds.matching(query), number))
        return
    act(_SENDING, number, lambda pace: deeds.resend_matching(query, number, pace), _line)


def _is_for_a_replay(full: FullResult, query: TaskQuery, number: int, limit: int | None) -> bool:
    replays = isinstance(full.storage, ReplayStorage)
    return replays and full.replays.takes_over(query, number, limit)


def _replay(full: FullResult, query: TaskQuery, a_second: float, how: How) -> None:
    replays = full.replaying(actor_here("command line", unwritten=say_unwritten))
    query = replays.until_now(query)  # not what is created while the question waits
    seen = replays.preview(query)
    try:
        replays.check_sends(seen)
    except WrongReplay as error:
        raise Failure(one_line(f"{error}; --at-once sends them from here")) from error
    if how.shows:
        show_preview(seen, a_second)
        how.ask(f"Have sweepers send them at {a_second:g}/s? (--at-once sends them from here)")
    if how.dry_run:
        _print_ids(task_id for task_id, _ in deeds_of(full).matching(query))
        return
    begun = replays.create(query, rate=a_second)
    say("A replay sends them; `replay show` and `replay pause` take its id:", err=True)
    say(safe(begun.replay_id))


def _question(number: int) -> str:
    return f"Send {count_of(number)} again?"


def _print_ids(ids: Iterable[str]) -> None:
    """Print the ids in a pipe. On a terminal a person has seen them."""
    if not is_terminal():
        for task_id in ids:
            say(safe(task_id))


def _line(fate: Fate) -> str:
    arrow = " → " if is_terminal() else "\t"
    return f"{safe(fate.task_id)}{arrow}{safe(str(fate.new_id))}"
