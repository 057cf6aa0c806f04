"""Dates as people type them into a page: how long ago, in how long, or ISO's format in UTC."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from fullresult.config import duration

_FIRST_YEAR, _LAST_YEAR = 1970, 9998


def past(text: str, now: datetime) -> datetime:
    """`2h`, `2h ago`, `now`, `2026-01-31`, `2026-01-31T14:00`. Raises `ValueError`."""
    ago = re.fullmatch(r"(.*[a-zA-Z])(\s+ago)?", text.strip())
    if ago and text.strip() != "now" and not re.match(r"\d{4}-?\d\d", text.strip()):
        try:
            return _bounded(now - duration(ago[1].removesuffix(" ago")), text)
        except (ValueError, OverflowError):
            raise _wrong(text, "2h, 1d") from None
    return _date(text, now, "2h, 1d")


def moment(text: str, now: datetime) -> datetime:
    """`in 2h`, `now`, or a date as of `past`. Raises `ValueError`."""
    if ahead := re.fullmatch(r"in\s+(.*[a-z])", text.strip()):
        try:
            return _bounded(now + duration(ahead[1]), text)
        except (ValueError, OverflowError):
            raise _wrong(text, "in 2h") from None
    return _date(text, now, "in 2h")


def _date(text: str, now: datetime, example: str) -> datetime:
    text = text.strip()
    if text == "now":
        return now
    try:
        if text.isdecimal():
            raise ValueError(text)
        # Python 3.10 does not know the Z.
        read = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        aware = read if read.tzinfo else read.replace(tzinfo=timezone.utc)
        return _bounded(aware.astimezone(timezone.utc), text)
    except (ValueError, OverflowError):
        raise _wrong(text, example) from None


def _bounded(when: datetime, text: str) -> datetime:
    if not _FIRST_YEAR <= when.year <= _LAST_YEAR:
        raise ValueError(text)
    return when


def _wrong(text: str, example: str) -> ValueError:
    return ValueError(
        f"{text[:40]!r} is no date; write {example}, 2026-01-31 or 2026-01-31T14:00 (UTC)."
    )
