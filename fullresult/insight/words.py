"""A record in few words: its call, how it ended, dates and lengths of time for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from celery.utils.saferepr import saferepr

from fullresult.insight.safe_text import one_line
from fullresult.record import SUCCESS, TaskRecord, encoding

_LONGEST = 200
"""Characters of one cell of a listing, whatever the width of the terminal."""
_MOST = 20
"""Arguments of each kind that are shown."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def call(record: TaskRecord) -> str:
    """`name(1, key='value')`, as far as the arguments are known."""
    name = record.name or "<unknown>"
    known = record.arguments
    gap = " " if known.args is None and known.kwargs is None else ""
    return brief(f"{name}{gap}{arguments(record)}".strip())


def arguments(record: TaskRecord) -> str:
    """`(1, key='value')`, or what the publisher gave as text; empty if neither is known."""
    args, kwargs = record.arguments
    if args is None and kwargs is None:
        return brief(" ".join(text for text in (record.argsrepr, record.kwargsrepr) if text))
    parts = [_repr(arg) for arg in _items(args)]
    parts += ["…"] * (isinstance(args, (list, tuple)) and len(args) > _MOST)
    if isinstance(kwargs, Mapping):
        parts += [f"{key}={_repr(value)}" for key, value in islice(kwargs.items(), _MOST)]
        parts += ["…"] * (len(kwargs) > _MOST)
    return brief(f"({', '.join(parts)})")


def _items(args: Any) -> list[Any]:
    return list(args[:_MOST]) if isinstance(args, (list, tuple)) else []


def _repr(value: Any) -> str:
    try:
        return str(saferepr(value, _LONGEST))
    except Exception:  # noqa: BLE001  (a listing shows what it can)
        return encoding.safe_repr(value)


def ending(record: TaskRecord) -> str:
    """The result, or the exception; empty if it has neither."""
    if record.exception_type:
        kind = record.exception_type.rpartition(".")[2]
        return brief(f"{kind}: {record.exception_message or ''}")
    if record.state == SUCCESS and record.result_form:
        return brief(_repr(record.result))
    return ""


def brief(text: str) -> str:
    """*text* as a line of a listing, cut after 200 characters."""
    text = one_line(text[: _LONGEST + 1])
    return f"{text[: _LONGEST - 1]}…" if len(text) > _LONGEST else text


def local(when: datetime) -> str:
    """Local time to the second, with the date unless that is today."""
    here = _here(when)
    today = here.date() == datetime.now(here.tzinfo).date()
    return f"{here:%H:%M:%S}" if today else f"{here:%Y-%m-%d %H:%M:%S}"


def local_exactly(when: datetime) -> str:
    """Local date and time to the millisecond, with the offset from UTC."""
    here = _here(when)
    return f"{here:%Y-%m-%d %H:%M:%S}.{here.microsecond // 1000:03d} {here:%z}"


def _here(when: datetime) -> datetime:
    try:
        return when.astimezone()
    except OverflowError:  # Its local time is in the year 10000.
        return when


def span(seconds: float | None) -> str:
    """A length of time: `12 ms`, `3.4 s`, `5 m 02 s`, `3 h 07 m`, `2 d 04 h`."""
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        # What rounds to 1000 ms is shown as 1.0 s.
        return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"  # noqa: PLR2004
    whole = int(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} m"
    return f"{whole // _DAY:,} d {whole % _DAY // _HOUR:02d} h"


def count_of(number: int, noun: str = "task") -> str:
    """`1 task`, `12,345 tasks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
