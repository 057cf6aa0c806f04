"""Dates as records keep them: UTC, to the millisecond."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc)


def from_milliseconds(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(when: datetime) -> int:
    """Whole milliseconds since 1970, rounded down."""
    return (when - _EPOCH) // _MILLISECOND


def cut(when: datetime) -> datetime:
    """*when* rounded down to the millisecond, as in records and in the time of storages."""
    return when.replace(microsecond=when.microsecond // 1000 * 1000)


def to_utc(when: datetime) -> datetime:
    """*when* in UTC, rounded up to the millisecond; a date after year 9999 becomes its end."""
    try:
        utc = when.astimezone(timezone.utc)
        missing = -utc.microsecond % 1000
        return utc + timedelta(microseconds=missing)
    except (OverflowError, ValueError, OSError):
        return _LATEST if when.year == _LATEST.year else _EPOCH
