"""`repro`."""

from __future__ import annotations

import pdb  # noqa: T100  (the option asks for it)
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fullresult.actions.audit import actor_here
from fullresult.actions.batch import unknown
from fullresult.actions.recorded_call import CannotRepro, RecordedCall
from fullresult.cli.acting import say_unwritten
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.preview import say_imported
from fullresult.cli.table import show_records
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.safe_text import lines, one_line, safe
from fullresult.insight.words import count_of
from fullresult.record import TaskRecord, encoding

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.recording.rehearsal import KeptBack

_LONGEST = 2_000
"""Characters of a result that are shown."""
_SHOWN = 10


@click.command(
    cls=Command,
    examples=["repro 3f0c9a4e-…", "repro 3f0c9a4e-… --pdb", "repro 3f0c9a4e-… --pytest test_it.py"],
)
@click.argument("task_id", metavar="ID", callback=whole)
@click.option("--pdb", "debugs", is_flag=True, help="If it raises, open the debugger there.")
@click.option(
    "--pytest",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Run nothing; write a test that makes the call.",
)
@click.option("--publish", is_flag=True, help="Send what it publishes; without, it is kept back.")
@yes_option
@click.pass_context
def repro(
    context: click.Context,
    /,
    task_id: str,
    file: Path | None,
    debugs: bool,
    publish: bool,
    yes: bool,
) -> None:
    """Make the recorded call of a task here, in this process.

    You see the call, and are asked: the task does all that it does, to your database too. No
    record, result or retry of it comes to be, and what it publishes through the app is listed and
    not sent. A call whose arguments are redacted, cut or pickled is refused, with the reason.

    Prints what the task returned. Exit code 1: it raised, or could not be called.
    """
    if file is not None and (debugs or publish or yes):
        raise click.UsageError("--pytest runs nothing: give it alone")
    full = full_of(context)
    if file is not None:
        _write(full, task_id, file)
        return
    record = full.get(task_id)
    if record is None:
        raise Failure(unknown(task_id))
    _ask(record, publish=publish, yes=yes)
    _run(full, task_id, debugs=debugs, publish=publish)


def _write(full: FullResult, task_id: str, file: Path) -> None:
    try:
        written = full.write_repro(task_id, file)
    except (CannotRepro, LookupError, OSError) as error:
        raise Failure(encoding.safe_str(error)) from error
    for each in written:
        say(safe(str(each)))


def _ask(record: TaskRecord, *, publish: bool, yes: bool) -> None:
    try:
        RecordedCall.of(record)
    except CannotRepro as error:
        raise Failure(str(error)) from error
    if yes:
        return
    say("About to make this call here:", err=True)
    show_records([record], err=True, table=True)
    say_imported([record])
    sent = "is sent" if publish else "is not sent"
    question = f"Run it? Whatever else it does is done; what it publishes {sent}."
    click.confirm(question, abort=True, err=True)


def _run(full: FullResult, task_id: str, *, debugs: bool, publish: bool) -> None:
    kept_back: list[KeptBack] = []
    actor = actor_here("command line", unwritten=say_unwritten)

    def debug(error: Exception) -> None:
        _say_raised(error)
        _say_kept_back(kept_back)
        pdb.post_mortem(error.__traceback__)

    try:
        done = full.repro(
            task_id,
            publish=publish,
            kept_back=kept_back,
            debug=debug if debugs else None,
            actor=actor,
        )
    except CannotRepro as error:
        raise Failure(encoding.safe_str(error)) from error
    except Exception as error:
        if not debugs:
            _say_raised(error)
            _say_kept_back(kept_back)
        raise Failure(f"it raised {type(error).__name__}") from error
    _say_kept_back(kept_back)
    say(safe(encoding.clip(encoding.safe_repr(done.result), _LONGEST)))


def _say_raised(error: Exception) -> None:
    for line in traceback.format_exception(error):
        for each in lines(line.rstrip("\n")):
            say(each, err=True)


def _say_kept_back(kept_back: list[KeptBack]) -> None:
    for each in kept_back[:_SHOWN]:
        say(one_line(f"Not sent: {each.name}, id {each.task_id}"), err=True)
    if len(kept_back) > _SHOWN:
        say(f"… and {count_of(len(kept_back) - _SHOWN)} more not sent", err=True)
