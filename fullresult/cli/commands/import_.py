"""`import`."""

from __future__ import annotations

import logging
from contextlib import closing, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from fullresult.actions.audit import actor_here
from fullresult.cli import limits
from fullresult.cli.acting import say_unwritten
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.progress import progress
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import length, when_or_length
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.importers.deed import Import, Wish
from fullresult.importers.errors import CannotImport
from fullresult.importers.sources import BACKEND, NAMES
from fullresult.insight.document import dumps, plain
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of, local
from fullresult.record import SCHEDULED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fullresult.importers.importing import Imported

_logger = logging.getLogger("fullresult.importers.importing")
_SHOWN = 20
"""Rows that could not be read, of which the reason is printed."""


def _zone(_: click.Context, __: click.Parameter, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise click.BadParameter(f"{name!r} is no time zone, such as Europe/Vienna") from error


@click.command(
    "import",
    cls=Command,
    short_help="Take over what another program recorded",
    examples=[
        "import --dry-run",
        "import --from django-celery-results postgresql://db/shop --since 30d",
        "import --from fulldbresult postgresql://db/shop --take-scheduled",
        "import --from flower /var/lib/flower/flower.db",
    ],
)
@click.argument("url", required=False, metavar="[URL]")
@click.option(
    "--from",
    "source",
    type=click.Choice(NAMES),
    default=BACKEND,
    show_default=True,
    help="Who recorded it; `backend` is the app's own result backend.",
)
@click.option(
    "--since", type=when_or_length, help="Only what changed since: 30d, 2026-01-31 (local time)."
)
@click.option("--table", metavar="NAME", help="The table or collection, if it has another name.")
@click.option(
    "--timezone",
    "zone",
    default="UTC",
    show_default=True,
    callback=_zone,
    help="Of dates that are kept without one.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 10_000),
    default=500,
    show_default=True,
    help="Read and write so many rows at a time.",
)
@click.option("--take-scheduled", is_flag=True, help="Take over the tasks that wait there.")
@click.option("--follow", is_flag=True, help="Go on with what changes there, until Ctrl-C.")
@click.option(
    "--until-idle",
    type=length,
    metavar="LENGTH",
    help="End --follow when nothing changed for so long.",
)
@click.option("--dry-run", is_flag=True, help="Read and count, and write nothing.")
@yes_option
@limits.as_json
@click.pass_context
def import_(
    context: click.Context, /, url: str | None, yes: bool, as_json: bool, **options: Any
) -> None:
    """Take over what another program recorded of this app's tasks.

    Sources are the app's own result backend, the tables of django-celery-results, of Celery's
    database backend and of django-celery-fulldbresult, the collection of Celery's mongodb backend,
    and the file of Flower. URL says where the source is; it is only read. To import again changes
    nothing: what was recorded here counts more than what was imported. What was interrupted goes on
    where it was.

    --take-scheduled makes schedules of the tasks that wait in the table of
    django-celery-fulldbresult, and marks its rows, so that each is sent once.

    A row that cannot be read is reported, the others go on, and the exit code is 1.
    """
    full, wish = full_of(context, makes_file=True), _wish(url, options)
    try:
        actor = actor_here("command line", unwritten=say_unwritten)
        with closing(full.importing(wish, actor)) as job:
            total = job.total()
            _announce(job, total, wish)
            if not (yes or wish.dry_run):
                click.confirm("Import?", abort=True, err=True)
            with _told_once(wish):
                done = _run(job, total)
    except CannotImport as error:
        raise Failure(str(error)) from error
    _report(done, wish, as_json=as_json)


def _wish(url: str | None, options: dict[str, Any]) -> Wish:
    if options["take_scheduled"] and options["source"] != "fulldbresult":
        raise click.UsageError("--take-scheduled is for --from fulldbresult")
    if options["until_idle"] is not None and not options["follow"]:
        raise click.UsageError("--until-idle is for --follow")
    return Wish(url=url, **options)


def _announce(job: Import, total: int, wish: Wish) -> None:
    verb = "Reading" if wish.dry_run else "About to import"
    say(f"{verb} {count_of(total, 'row')} of {one_line(job.shown)}", err=True)
    if job.interrupted is not None:
        began = datetime.fromisoformat(job.interrupted.details["began"])
        say(f"Going on where the import of {local(began)} was interrupted.", err=True)


@contextmanager
def _told_once(wish: Wish) -> Iterator[None]:
    """Rows that cannot be read are logged; where nobody logs, Python prints that, and so do we."""
    silence = logging.NullHandler()
    if not (_logger.hasHandlers() or wish.follow):
        _logger.addHandler(silence)
    try:
        yield
    finally:
        _logger.removeHandler(silence)


def _is_told_meanwhile(wish: Wish) -> bool:
    """True if Python printed what was logged: who follows is not to wait for the end."""
    return wish.follow and not _logger.hasHandlers()


def _run(job: Import, total: int) -> Imported:
    try:
        with progress(total, "Importing", unit="row") as advance:
            return job.run(advance)
    except KeyboardInterrupt:
        if job.done.finished:  # it followed
            return job.done
        raise Failure(
            f"interrupted after {count_of(job.done.read, 'row')}; run it again to go on"
        ) from None


def _report(done: Imported, wish: Wish, *, as_json: bool) -> None:
    if as_json:
        say(dumps(plain({**vars(done), "dry_run": wish.dry_run})))
    else:
        for line in _lines(done, wish):
            say(line)
    shown = [] if _is_told_meanwhile(wish) else list(done.problems.items())[:_SHOWN]
    for task_id, why in shown:
        say(one_line(f"task {task_id}: {why}"), err=True)
    _say_what_waits(done, wish)
    wrong = []
    if done.unreadable:
        wrong.append(f"{count_of(done.unreadable, 'row')} could not be read")
    if done.staying:
        cannot, wait = (
            ("cannot" if wish.dry_run else "could not"),
            "wait" + "s" * (done.staying == 1),
        )
        wrong.append(f"{count_of(done.staying)} that {wait} there {cannot} be taken over")
    if wrong:
        raise Failure("; ".join(wrong))


def _say_what_waits(done: Imported, wish: Wish) -> None:
    waiting = done.states.get(SCHEDULED, 0)
    if waiting and not wish.take_scheduled:
        say(
            f"{count_of(waiting)} wait there until they are due, and still do: --take-scheduled "
            "takes them over.",
            err=True,
        )
    if done.uncertain:
        one = len(done.uncertain) == 1
        they, them = ("it", "it") if one else ("they", "them")
        would_be, are = ("becomes", "is") if one else ("become", "are")
        say(
            f"{count_of(len(done.uncertain))} had been claimed there and perhaps sent: {they} "
            f"{would_be if wish.dry_run else are} PENDING, and `stale` lists {them}.",
            err=True,
        )


def _lines(done: Imported, wish: Wish) -> list[str]:
    would = "would be " if wish.dry_run else ""
    became = f"{done.new:,} {would}new, {done.changed:,} {would}changed, {done.known:,} known"
    rest = f"{done.skipped:,} left out, {done.unreadable:,} unreadable"
    lines = [f"{count_of(done.read, 'row')} read: {became}, {rest}"]
    states = ", ".join(
        f"{number:,} {one_line(state)}" for state, number in done.states.most_common()
    )
    lines.append(f"States: {states or 'none'}; {done.resendable:,} can be sent again")
    if done.groups:
        lines.append(f"{count_of(done.groups, 'result')} of groups")
    if done.taken:
        lines.append(f"{count_of(done.taken)} {would}taken over, to be sent when due")
    return lines
