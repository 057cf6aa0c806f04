"""The options that choose tasks, and the `TaskQuery` that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from fullresult.cli import limits
from fullresult.cli.ids import whole
from fullresult.cli.typed_values import cursor, pair, placed, state, value, when
from fullresult.insight.safe_text import one_line
from fullresult.record import STATES
from fullresult.storage import TaskQuery

F = TypeVar("F", bound=Callable[..., Any])

_WHICH = (
    click.option("--state", multiple=True, type=state, help="In this state. Repeatable."),
    click.option("--name", metavar="GLOB", help="With this name, or a glob like 'shop.*'."),
    click.option("--queue", help="Sent to this queue."),
    click.option("--worker", help="Run by this worker (celery@host)."),
    click.option("--root-id", metavar="ID", callback=whole, help="In the workflow it began."),
    click.option("--group-id", help="Members of this group."),
    click.option("--retry-of", metavar="ID", callback=whole, help="A re-send of this task."),
    click.option(
        "--group",
        "fingerprint",
        metavar="GROUP",
        help="In this group of failures, as `failures` lists them.",
    ),
    click.option(
        "--since",
        type=when,
        help="Created since: 2h, '1d ago', yesterday, 2026-01-31, 2026-01-31T14:00 (local time).",
    ),
    click.option("--until", type=when, help="Created before; like --since."),
    click.option(
        "--text",
        help="With this text in name, id or exception; the case of ASCII letters is ignored.",
    ),
    click.option(
        "--kwarg",
        "kwargs",
        multiple=True,
        type=pair,
        metavar="KEY=VALUE",
        help="With this keyword argument. The value is JSON, or else a string. Repeatable.",
    ),
    click.option(
        "--arg",
        "args",
        multiple=True,
        type=value,
        help="With this positional argument. Repeat it for the next one.",
    ),
    click.option(
        "--arg-at",
        "args_at",
        multiple=True,
        type=placed,
        metavar="N=VALUE",
        help="With this argument in the place N, from 0. Repeatable.",
    ),
    click.option(
        "--exception", metavar="TYPE", help="Of this type: shop.errors.Declined, Declined."
    ),
)
_PAGE = (
    limits.limit,
    click.option("--after", type=cursor, metavar="CURSOR", help="Go on where a listing ended."),
    click.option(
        "--oldest-first", is_flag=True, help="Begin with the oldest; without it, with the newest."
    ),
)
FILTERS = (
    *("state", "name", "queue", "worker", "root_id", "group_id", "retry_of", "fingerprint"),
    *("since", "until", "text", "kwargs", "args", "args_at", "exception"),
)


def which(command: F) -> F:
    """Add the options that choose tasks."""
    return _with(_WHICH, command)


def dealt_with(command: F) -> F:
    """Add the option that asks for what is dealt with, too."""
    text = "Also what is dealt with: sent again since, or resolved. See `failures`."
    return click.option("--all", "everything", is_flag=True, help=text)(command)


def page(command: F) -> F:
    """Add the options of a listing's page."""
    return _with(_PAGE, command)


def _with(options: tuple[Callable[[F], F], ...], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The filters among *options* that were given, as `TaskQuery` takes them."""
    found = {name: options[name] for name in FILTERS if options.get(name) not in (None, ())}
    for name in ("kwargs", "args_at"):
        if name in found:
            found[name] = dict(found[name])
    return found


def query(options: Mapping[str, Any], **more: Any) -> TaskQuery:
    """The query of *options*. Raises click's `UsageError`."""
    try:
        return TaskQuery(**given(options), **more)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def explain_nothing(options: Mapping[str, Any]) -> None:
    """Raise click's `UsageError` for a state that may be misspelt, after nothing was found."""
    unknown = [name for name in options.get("state") or () if name not in STATES]
    if unknown:
        names, known = ", ".join(repr(one_line(name)) for name in unknown), ", ".join(STATES)
        raise click.UsageError(
            f"no such task is in the state {names}. The states are {known}, and those of your own"
        )
