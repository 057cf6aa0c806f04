"""What people type: dates, lengths of time, states, arguments, each read by a function."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import click

from fullresult.config import duration
from fullresult.record import STATES, encoding
from fullresult.record.audit import AuditQuery
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import TaskQuery

_FIRST_YEAR = 1970
"""Storages keep no earlier dates."""


def length(text: str) -> timedelta:
    """A length of time: 90m, 1h30m, 2d."""
    try:
        return duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def when(text: str) -> datetime:
    """A point in time: how long ago, or an ISO date, in local time unless it says otherwise."""
    try:
        return _when(text.strip(), datetime.now(timezone.utc))
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{text!r} is no date; write how long ago (2h, 90m, '1d ago') or an ISO date "
            "(2026-01-31, 2026-01-31T14:00)"
        ) from None


def moment(text: str) -> datetime:
    """A point in time that may be past or to come: `in 2h`, `2h ago`, an ISO date.

    A bare length of time is refused: it could mean either.
    """
    try:
        return _moment(text.strip(), datetime.now(timezone.utc))
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{text!r} is no date; write 'in 2h', '2h ago', now, or an ISO date (2026-01-31, "
            "2026-01-31T14:00)"
        ) from None


def _moment(text: str, now: datetime) -> datetime:
    if ahead := re.fullmatch(r"in\s+(.*[a-z])", text):
        return now + duration(ahead[1])
    if text != "now" and not text.endswith("ago") and not re.match(r"\d{4}-?\d\d", text):
        raise ValueError(text)
    found = _when(text, now)
    if found.year < _FIRST_YEAR:
        raise ValueError(text)
    return found


def _when(text: str, now: datetime) -> datetime:
    if text == "now":
        return now
    ago = re.fullmatch(r"(.*[a-z])(\s+ago)?", text)
    # A bare number might be seconds or a year.
    if ago and not re.match(r"\d{4}-?\d\d", text):
        return now - duration(ago[1].removesuffix(" ago"))
    if text.isdecimal():
        raise ValueError(text)
    # Python 3.10 does not know the Z.
    return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).astimezone(timezone.utc)


def state(text: str) -> str:
    """A state; Celery's own in any case, others are the users' own."""
    if not text:
        raise click.BadParameter(f"'' is no state; Celery's are {', '.join(STATES)}")
    return text.upper() if text.upper() in STATES else text


def value(text: str) -> Any:
    """A value as JSON; what is no JSON is a string."""
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


def cursor(text: str) -> str:
    """Where a listing of tasks goes on."""
    return _cursor(text, TaskQuery)


def schedule_cursor(text: str) -> str:
    """Where a listing of schedules goes on."""
    return _cursor(text, ScheduleQuery)


def audit_cursor(text: str) -> str:
    """Where a listing of the audit log goes on."""
    return _cursor(text, AuditQuery)


def _cursor(text: str, query: type[TaskQuery | ScheduleQuery | AuditQuery]) -> str:
    try:
        query(after=text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no cursor; take it from the end of a listing, or `next` in its --json"
        ) from None
    return text
