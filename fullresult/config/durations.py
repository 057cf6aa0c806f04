"""Lengths of time as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_WORDS = {
    "second": "s",
    "sec": "s",
    "minute": "m",
    "min": "m",
    "hour": "h",
    "day": "d",
    "week": "w",
}
_UNITS |= {name: _UNITS[unit] for word, unit in _WORDS.items() for name in (word, f"{word}s")}
_DURATION = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})(?![a-z])")


def duration(text: str) -> timedelta:
    """A length of time as people write it: `90m`, `1h30m`, `2 days`, or seconds as a bare number.

    Raises `ValueError`.
    """
    compact = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return _seconds(float(compact), text)
    parts = _DURATION.findall(compact)
    if not parts or _DURATION.sub("", compact).strip():
        raise ValueError(f"not a duration: {text!r}; write seconds, or like 90m, 1h30m, 2d")
    return _seconds(sum(float(number) * _UNITS[unit] for number, unit in parts), text)


def _seconds(seconds: float, text: str) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"too long a duration: {text!r}") from None
