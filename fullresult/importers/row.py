"""One task as another program recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from fullresult.importers.values import UNKNOWN, Given
from fullresult.record import encoding
from fullresult.record.dates import to_utc


class Unreadable(ValueError):
    """The row says no task; the error says why."""


@dataclass
class Row:
    """What a source knows of one task. Dates are aware; what it does not know is None."""

    task_id: str
    state: str
    position: Any = None
    """Where the row stands in its source."""
    changed: datetime | None = None
    """When the source last wrote it."""
    name: str | None = None
    args: Given = UNKNOWN
    kwargs: Given = UNKNOWN
    result: Given = UNKNOWN
    exception_type: str | None = None
    exception_message: str | None = None
    traceback: str | None = None
    children: list[Any] | None = None
    worker: str | None = None
    retries: int = 0
    runtime: float | None = None
    created: datetime | None = None
    published: datetime | None = None
    started: datetime | None = None
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    eta: datetime | None = None
    expires: datetime | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    periodic_entry: str | None = None
    stamps: dict[str, Any] | None = None
    waits_here: bool = False
    """True if it was taken over, and its record tells the rest."""


def text(value: Any) -> str | None:
    """*value* as the text of an id, name or queue; None for nothing."""
    return encoding.key(value) if value not in (None, "", b"") else None


def state_of(value: Any) -> str:
    """*value* as a state. Raises `Unreadable`."""
    if not isinstance(value, str) or not value:
        raise Unreadable(f"its state is none: {encoding.safe_repr(value)[:100]}")
    return value


def number(value: Any) -> int:
    """*value* as a count; 0 for what is none."""
    return value if isinstance(value, int) and 0 <= value < 1_000_000 else 0  # noqa: PLR2004


def date(column: Mapping[str, Any], part: str, zone: tzinfo) -> datetime | None:
    """*part* of a row in UTC; a date without a time zone is in *zone*. Raises `Unreadable`."""
    value = column.get(part)
    if value is None or value == "":
        return None
    if isinstance(value, (int, float)):
        value = datetime.fromtimestamp(value, zone)
    when = _parsed(value) if isinstance(value, str) else value
    if not isinstance(when, datetime):
        raise Unreadable(f"its {part} is no date: {encoding.safe_repr(value)[:100]}")
    return to_utc(when if when.tzinfo else when.replace(tzinfo=zone))


def _parsed(value: str) -> datetime | None:
    try:
        # Python 3.10 reads neither a Z nor a fraction of other than 3 or 6 digits.
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
