"""Readers of typed values: dates, lengths of time, states, arguments, cursors."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import click

from fullresult.insight import dates
from fullresult.record import STATES, encoding
from fullresult.record.audit import AuditQuery
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import TaskQuery


def length(text: str) -> timedelta:
    """A length of time: 90m, 1h30m, 2d."""
    try:
        return dates.length(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def when(text: str) -> datetime:
    """A point in time: how long ago, or an ISO date, in local time unless it says otherwise."""
    try:
        return dates.past(text, datetime.now(timezone.utc), None)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def when_or_length(text: str) -> datetime | timedelta:
    """Like `when`; how long ago is that length of time."""
    try:
        return dates.past_or_length(text, datetime.now(timezone.utc), None)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def moment(text: str) -> datetime:
    """A point in time that may be past or to come: `in 2h`, `2h ago`, an ISO date."""
    try:
        return dates.moment(text, datetime.now(timezone.utc), None)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def due(text: str) -> datetime | timedelta:
    """The same; or, of `+1h`, how much later than it is due."""
    try:
        return dates.due(text, datetime.now(timezone.utc), None)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def state(text: str) -> str:
    """A state. Celery's may be typed in lower case; any other is one of the user's own."""
    if not text:
        raise click.BadParameter(f"'' is no state; Celery's are {', '.join(STATES)}")
    return text.upper() if text.upper() in STATES else text


def value(text: str) -> Any:
    """A value: JSON, or else a string."""
    try:
        found = encoding.loads_strict(text)
    except ValueError:
        found = text
    except RecursionError:
        raise click.BadParameter("it is nested too deeply to search for") from None
    return _storable(found)


def _storable(found: Any) -> Any:
    try:
        encoding.dumps_strict(found)
    except encoding.Unstorable as error:
        raise click.BadParameter(f"no record has it: {error}") from None
    return found


def pair(text: str) -> tuple[str, Any]:
    """`key=value`, the value as `value` reads it."""
    key, _, shown = text.partition("=")
    if not key or key == text:
        raise click.BadParameter(f"{text!r} is not key=value, such as order_id=7")
    return _storable(key), value(shown)


def placed(text: str) -> tuple[str, Any]:
    """`place=value`, the place as a text of digits."""
    key, asked = pair(text)
    if not (key.isascii() and key.isdecimal()):
        raise click.BadParameter(f"{text!r} names no place from 0, such as 1=ada")
    return key, asked


def cursor(text: str) -> str:
    """The cursor of a listing of tasks."""
    return _cursor(text, TaskQuery)


def schedule_cursor(text: str) -> str:
    """The cursor of a listing of schedules."""
    return _cursor(text, ScheduleQuery)


def audit_cursor(text: str) -> str:
    """The cursor of a listing of the audit log."""
    return _cursor(text, AuditQuery)


def _cursor(text: str, query: type[TaskQuery | ScheduleQuery | AuditQuery]) -> str:
    try:
        query(after=text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no cursor; take it from the end of a listing, or `next` in its --json"
        ) from None
    return text
