"""`resume`, `heal` and `fork`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from fullresult.actions.audit import actor_here
from fullresult.cli import typed_values
from fullresult.cli.acting import say_unwritten
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.terminal import bold, dim, say
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.document import dumps, plain
from fullresult.insight.safe_text import one_line, safe
from fullresult.insight.words import count_of
from fullresult.record.encoding import safe_str
from fullresult.storage import StorageError

if TYPE_CHECKING:
    from fullresult.actions.surgery import Surgery
    from fullresult.extension import FullResult
    from fullresult.insight.surgery.plan import How, Part, Plan

_MARKS = {"kept": "✓", "again": "↻", "first": "→"}
_WORDS = {"kept": "kept", "again": "runs again", "first": "never ran, and will"}
_SHOWN = 40
"""Parts of a plan that are shown; --json has them all."""


def _operation(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--take-over",
            type=click.IntRange(min=1),
            metavar="TURN",
            help="Go on although somebody began and has not ended. See that the process is dead "
            "first: the refusal says who it is, where, and the number of the turn.",
        ),
        yes_option,
        click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON."),
        click.option("--dry-run", is_flag=True, help="Show the plan, and send nothing."),
    ):
        command = option(command)
    return click.pass_context(command)


@click.command(cls=Command, examples=["resume 3f0c9a4e-…", "resume 3f0c9a4e-… --dry-run"])
@click.argument("task_id", metavar="ID", callback=whole)
@_operation
def resume(context: click.Context, /, task_id: str, **how: Any) -> None:
    """Go on with a chain at the step that failed.

    The step runs again under a new id, and the later steps under their own ids, so that whoever
    asks for the result of the last one gets it. You see the plan before anything is sent.

    Prints the new id of the step.
    """
    _operate(full_of(context), task_id, "resume", {}, **how)


@click.command(cls=Command, examples=["heal 3f0c9a4e-…", "heal 3f0c9a4e-… --json"])
@click.argument("task_id", metavar="ID|GROUP", callback=whole)
@_operation
def heal(context: click.Context, /, task_id: str, **how: Any) -> None:
    """Run the members of a chord that failed again, so that its body runs.

    ID is a member that failed, GROUP the id of the header's group. Members that succeeded are kept:
    the body gets their results, in order, with the new ones, and runs under its own id.

    Prints the id of the body.
    """
    _operate(full_of(context), task_id, "heal", {}, **how)


@click.command(
    cls=Command, examples=["fork 3f0c9a4e-…", "fork 3f0c9a4e-… --arg 0=42 --kwarg currency=EUR"]
)
@click.argument("task_id", metavar="ID", callback=whole)
@click.option(
    "--arg",
    "args",
    multiple=True,
    type=typed_values.pair,
    metavar="N=VALUE",
    help="Another positional argument in the place N, from 0. The value is JSON, or else a string.",
)
@click.option(
    "--kwarg",
    "kwargs",
    multiple=True,
    type=typed_values.pair,
    metavar="KEY=VALUE",
    help="Another keyword argument. The value is JSON, or else a string. Repeatable.",
)
@_operation
def fork(
    context: click.Context,
    /,
    task_id: str,
    args: tuple[tuple[str, Any], ...],
    kwargs: tuple[tuple[str, Any], ...],
    **how: Any,
) -> None:
    """Run a task and all that follows it again, under new ids, with other arguments if you like.

    The old records stay as they are. It is the way to run a chain again from a step that succeeded.

    Prints the new id of the task.
    """
    full = full_of(context)
    _operate(full, task_id, "fork", _arguments(full, task_id, args, kwargs), **how)


def _arguments(
    full: FullResult,
    task_id: str,
    args: tuple[tuple[str, Any], ...],
    kwargs: tuple[tuple[str, Any], ...],
) -> dict[str, Any]:
    if not args and not kwargs:
        return {}
    record = full.get(task_id)
    if record is None:
        raise Failure(one_line(f"no task {task_id!r} is recorded"))
    if record.args is None or record.kwargs is None:
        raise Failure(one_line(f"the arguments of task {task_id!r} were not kept"))
    changed = list(record.args)
    for place, value in args:
        if not place.isdecimal() or int(place) > len(changed):
            raise click.UsageError(
                one_line(f"--arg {place}=…: there are {count_of(len(changed), 'argument')}")
            )
        changed[int(place) : int(place) + 1] = [value]
    return {"args": changed, "kwargs": {**record.kwargs, **dict(kwargs)}}


def _operate(
    full: FullResult,
    task_id: str,
    how: How,
    arguments: dict[str, Any],
    *,
    dry_run: bool,
    as_json: bool,
    yes: bool,
    take_over: int | None,
) -> None:
    actor = actor_here("command line", unwritten=say_unwritten)
    surgery = full.operating(actor, task_id, how, **arguments)
    plan = _planned(surgery, take_over=take_over is not None)
    if as_json:
        say(dumps(plain(plan.document())))
    elif dry_run or not yes or plan.problem:
        for line in _page(plan):
            say(line, err=not dry_run)
    if plan.problem:
        offered = f"; {plan.instead} can be done instead" if plan.instead else ""
        raise Failure(one_line(f"{plan.problem}{offered}"))
    if dry_run:
        return
    if not yes:
        click.confirm(f"{how.capitalize()}?", abort=True, err=True)
    try:
        result = surgery.run(take_over=take_over is not None, turn=take_over)
    except StorageError:
        raise
    except Exception as error:  # of the broker's library, too
        raise Failure(safe_str(error)) from error
    if not as_json:
        say(safe(str(result.id)))


def _planned(surgery: Surgery, *, take_over: bool) -> Plan:
    try:
        return surgery.plan(take_over=take_over)
    except LookupError as error:
        raise Failure(one_line(safe_str(error.args[0]))) from error


def _page(plan: Plan) -> Iterator[str]:
    if plan.problem:
        return
    yield bold(one_line(f"{plan.how} {plan.task_id}"))
    yield from map(_line, plan.parts[:_SHOWN])
    if len(plan.parts) > _SHOWN:
        yield f"  … and {len(plan.parts) - _SHOWN:,} more"
    yield from (one_line(warning) for warning in plan.warnings)
    yield dim("✓ kept  ↻ runs again  → never ran, and will  * under a new id")


def _line(part: Part) -> str:
    star = "*" if part.is_new else " "
    name, why = part.name or "?", f": {part.why}" if part.why else ""
    words = f"{_WORDS[part.fate]}{why}"
    indent = "  " * (1 + part.depth)
    told = "  ".join(map(one_line, (name, part.task_id, words)))
    return f"{indent}{_MARKS[part.fate]}{star} {told}"
