"""What people type: dates, durations, keyword arguments, as types of click."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import click

from fullresult.config import duration
from fullresult.record import STATES
from fullresult.storage import TaskQuery

_NOT_A_DATE = "write how long ago (2h, 90m, '1d ago') or an ISO date (2026-01-31, 2026-01-31T14:00)"


class Duration(click.ParamType):
    """A length of time: 90m, 1h30m, 2d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class When(click.ParamType):
    """A point in time: how long ago, or an ISO date, in local time unless it says otherwise."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return _when(value.strip(), datetime.now(timezone.utc))
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is no date; {_NOT_A_DATE}", param, ctx)


def _when(text: str, now: datetime) -> datetime:
    if text == "now":
        return now
    ago = text[:-3].strip() if text.endswith("ago") else text
    # A bare number might be seconds or a year.
    if re.search("[a-z]", ago) and not re.match(r"\d{4}-?\d\d", ago):
        return now - duration(ago)
    if ago.isdecimal() or ago != text:
        raise ValueError
    # Python 3.10 does not know the Z.
    return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).astimezone(timezone.utc)


class State(click.ParamType):
    """A state; Celery's own in any case."""

    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail(f"a state is empty; Celery's are {', '.join(STATES)}", param, ctx)
        return value.upper() if value.upper() in STATES else str(value)


class Value(click.ParamType):
    """A value as JSON; what is no JSON is a string."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value, parse_constant=_no_constant)
        except ValueError:
            return value
        except RecursionError:
            self.fail("it is nested too deeply to search for", param, ctx)


def _no_constant(name: str) -> None:
    raise ValueError(name)


class Pair(click.ParamType):
    """`key=value`, the value as in `Value`."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not key=value, such as order_id=7", param, ctx)
        return key, Value().convert(text, param, ctx)


class Cursor(click.ParamType):
    """Where a listing goes on."""

    name = "cursor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            TaskQuery(after=value)
        except ValueError:
            self.fail(
                f"{value!r} is no cursor; take it from the end of a listing, or from `next` in its "
                "--json",
                param,
                ctx,
            )
        return str(value)
