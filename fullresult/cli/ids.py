"""Arguments that are ids of tasks, of which a unique beginning is enough."""

from __future__ import annotations

from typing import TypeVar

import click

from fullresult.cli.which_app import full_of
from fullresult.cli.yes import asks
from fullresult.insight.ids import whole_id

Given = TypeVar("Given", str, "str | None", "tuple[str, ...]")


def whole(context: click.Context, parameter: click.Parameter, given: Given) -> Given:
    """Click's callback of such an argument or option: the whole id, or each of several.

    Where nothing is asked, a beginning is that of a UUID alone. Raises `BadParameter` for the
    beginning of several ids.
    """
    return _whole(context, parameter, given, of_uuids=not asks(context))


def whole_unasked(context: click.Context, parameter: click.Parameter, given: Given) -> Given:
    """The same, of a command that acts without a question."""
    return _whole(context, parameter, given, of_uuids=True)


def _whole(
    context: click.Context, parameter: click.Parameter, given: Given, *, of_uuids: bool
) -> Given:
    if not given:
        return given
    storage = full_of(context).storage
    try:
        if isinstance(given, tuple):
            return tuple(whole_id(storage, each, of_uuids=of_uuids) for each in given)
        return whole_id(storage, given, of_uuids=of_uuids)
    except LookupError as error:
        raise click.BadParameter(str(error), ctx=context, param=parameter) from None
