"""`send`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from fullresult.actions.audit import actor_here
from fullresult.cli.acting import say_unwritten
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import due
from fullresult.cli.which_app import full_of
from fullresult.insight.safe_text import safe
from fullresult.record import encoding


def _list(text: str) -> Any:
    return _read(text, list, "a JSON list, such as [1, 2]")


def _object(text: str) -> Any:
    return _read(text, dict, 'a JSON object, such as {"order_id": 7}')


def _read(text: str, kind: type, words: str) -> Any:
    try:
        found = encoding.loads_strict(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{text[:100]!r} is no JSON: {error}") from None
    if not isinstance(found, kind):
        raise click.BadParameter(f"{text[:100]!r} is not {words}")
    return encoding.loads(text)


@click.command(
    cls=Command,
    examples=["send shop.charge --args '[7]'", 'send shop.mail --kwargs \'{"to": "ada"}\''],
)
@click.argument("name", metavar="NAME")
@click.option("--args", type=_list, metavar="JSON", default="[]", help="Positional: a list.")
@click.option("--kwargs", type=_object, metavar="JSON", default="{}", help="By name: an object.")
@click.option("--queue", help="To this queue; without it, as the app routes it.")
@click.option("--eta", type=due, metavar="WHEN", help="'in 2h', 2030-01-31T14:00 (local time).")
@click.option("--priority", type=click.IntRange(0, 255), help="Of the message.")
@click.pass_context
def send(
    context: click.Context,
    /,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    queue: str | None,
    eta: datetime | timedelta | None,
    priority: int | None,
) -> None:
    """Send a task of the app.

    The arguments are checked against its signature first. Prints the id of the task.
    """
    if isinstance(eta, timedelta):
        raise click.UsageError("--eta: +1h is for tasks that are scheduled; say 'in 1h'")
    full = full_of(context, makes_file=True)
    options = {"queue": queue, "eta": eta, "priority": priority}
    given = {each: value for each, value in options.items() if value is not None}
    actor = actor_here("command line", unwritten=say_unwritten)
    try:
        result = full.sending(actor).send(name, args, kwargs, given)
    except Exception as error:  # of the broker's library, too
        raise Failure(encoding.safe_str(error)) from error
    say(safe(str(result.id)))
