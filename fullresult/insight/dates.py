"""Dates and lengths of time as people write them: one reader for commands, pages and Python."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo

from celery.utils.time import maybe_iso8601

from fullresult.config import duration

FIRST = datetime(1970, 1, 1, tzinfo=timezone.utc)
"""Storages keep no earlier dates."""
LONGEST = timedelta(days=365_000)
"""About 1,000 years. Greater lengths, subtracted from now, could lead to before year 1."""
_SHOWN = 20
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
"""Each is the beginning of that day."""
_ISO = re.compile(r"\d{4}-?\d\d")


def length(text: str) -> timedelta:
    """A length of time: `90m`, `1h30m`, `2d`. Raises `ValueError`.

    A number without a unit is refused: of a person who types it, hours may be meant.
    """
    bare = text.strip()
    if bare.replace(".", "", 1).isdecimal():
        shown = bare if len(bare) <= _SHOWN else f"{bare[:_SHOWN]}…"
        raise ValueError(f"{shown!r} has no unit: write {shown}s, {shown}m, {shown}h or {shown}d")
    return bounded(duration(text))


def length_of(value: timedelta | str, name: str) -> timedelta:
    """A length of time given in Python as the argument *name*: a timedelta, or text as `2h`."""
    if isinstance(value, str):
        return length(value)
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, or text such as '2h', not {value!r}")
    return value


def bounded(length: timedelta) -> timedelta:
    """*length*, unless it is greater than `LONGEST`. Raises `ValueError`."""
    if length > LONGEST:
        raise ValueError(f"too long: {length.days:,} days; the most is {LONGEST.days:,}")
    return length


def past(text: str, now: datetime, zone: tzinfo | None = timezone.utc) -> datetime:
    """A point in time, in UTC: `2h ago`, `2h`, `now`, `yesterday`, an ISO date as `2026-01-31`.

    A day, and an ISO date without an offset, is in *zone*; None: this machine's. Raises
    `ValueError`.
    """
    typed = text.strip()
    try:
        if (named := _named(typed.lower(), now, zone)) is not None:
            return named
        if not _ISO.match(typed) and (ago := re.fullmatch(r"(?is)(.*?[a-z])(\s+ago)?", typed)):
            return _kept(now - length(ago[1]))
        return _kept(_iso(typed, zone))
    except (ValueError, OverflowError, OSError) as error:
        raise _wrong(
            text, "how long ago (2h, 90m, 1d ago), now, today, yesterday", zone, error
        ) from None


def past_or_length(
    text: str, now: datetime, zone: tzinfo | None = timezone.utc
) -> datetime | timedelta:
    """Like `past`; how long ago (`2h`) is that length of time, and so is the same at any time."""
    found, typed = past(text, now, zone), text.strip()
    if _ISO.match(typed) or typed.lower() == "now" or typed.lower() in _DAYS:
        return found
    return now - found


def moment(text: str, now: datetime, zone: tzinfo | None = timezone.utc) -> datetime:
    """A point in time, perhaps to come, in UTC: `in 2h`, `2h ago`, `now`, `tomorrow`, an ISO date.

    A bare length of time could mean either, and is refused. Otherwise like `past`.
    """
    typed = text.strip()
    try:
        if (named := _named(typed.lower(), now, zone)) is not None:
            return named
        if ahead := re.fullmatch(r"(?is)in\s+(.*[a-z])", typed):
            return _kept(now + length(ahead[1]))
        if ago := re.fullmatch(r"(?is)(.*[a-z])\s+ago", typed):
            return _kept(now - length(ago[1]))
        return _kept(_iso(typed, zone))
    except (ValueError, OverflowError, OSError) as error:
        raise _wrong(text, "in 2h, 2h ago, now, today, tomorrow", zone, error) from None


def due(text: str, now: datetime, zone: tzinfo | None = timezone.utc) -> datetime | timedelta:
    """A `moment`; or of `+1h` the length: so much later than each is due. Raises `ValueError`."""
    typed = text.strip()
    return length(typed[1:]) if typed.startswith("+") else moment(text, now, zone)


def _named(word: str, now: datetime, zone: tzinfo | None) -> datetime | None:
    """The time that has this name, or None."""
    if word == "now":
        return now
    if (days := _DAYS.get(word)) is None:
        return None
    midnight = datetime.combine(now.astimezone(zone).date() + timedelta(days), datetime.min.time())
    # Without a zone it is local, with the offset of that day.
    return midnight.replace(tzinfo=zone).astimezone(timezone.utc)


class _TooEarly(ValueError):
    """A date before `FIRST`."""


def _iso(text: str, zone: tzinfo | None) -> datetime:
    # Digits alone might be seconds, a year or a day.
    if text.isdecimal() or not _ISO.match(text):
        raise ValueError(text)
    # Unlike `datetime.fromisoformat`, it reads the same on Python 3.10 as on later ones.
    read = maybe_iso8601(text)
    assert isinstance(read, datetime)
    if read.year < FIRST.year - 1:  # Its conversion to UTC might overflow.
        raise _TooEarly
    aware = read if read.tzinfo or zone is None else read.replace(tzinfo=zone)
    return aware.astimezone(timezone.utc)


def _kept(when: datetime) -> datetime:
    """*when*, unless it is before `FIRST`."""
    if when < FIRST:
        raise _TooEarly
    return when


def _wrong(text: str, example: str, zone: tzinfo | None, error: Exception) -> ValueError:
    shown = repr(text if len(text) <= 40 else f"{text[:40]}…")  # noqa: PLR2004
    if isinstance(error, _TooEarly):
        return ValueError(f"{shown} is before {FIRST:%Y-%m-%d}, the first date that is kept")
    where = "local time" if zone is None else zone.tzname(None)
    return ValueError(
        f"{shown} is no date; write {example}, or an ISO date in {where} "
        "(2026-01-31, 2026-01-31T14:00)"
    )
