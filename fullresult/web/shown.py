"""Values as pages show them: harmless and bounded text, dates, lengths of time.

Templates escape everything. Here text is cut, and characters that hide or turn text become visible.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from markupsafe import Markup, escape

from fullresult.insight.safe_text import one_line, safe
from fullresult.insight.words import arguments, brief, call, count_of, ending, span
from fullresult.record import STATES
from fullresult.record.encoding import clip
from fullresult.web.forms import key_of, seen_key

LONGEST = 20_000
"""Characters of one text at most."""
_KNOWN = {*STATES, "INTERRUPTED"}
_SIGNS = {"SUCCESS": "✓", "FAILURE": "✗", "UNSENT": "✗", "REVOKED": "⊘", "REJECTED": "⊘"}


def now() -> datetime:
    return datetime.now(timezone.utc)


def line(text: object, longest: int = 300) -> str:
    """*text* in one line, its control characters as escapes."""
    return one_line(clip(str(text), longest))


def exact(text: object) -> str:
    """*text*, an id or a name, in one line and whole."""
    return safe(str(text))


def block(text: object, longest: int = LONGEST) -> str:
    """*text* in its lines, its other control characters as escapes."""
    whole = clip(str(text), longest).replace("\r\n", "\n").expandtabs()
    return "\n".join(safe(each) for each in whole.split("\n"))


def when(date: datetime | None) -> str:
    """*date* in UTC, as an element that programs can read; the script may show local time."""
    if date is None:
        return ""
    utc = date.astimezone(timezone.utc)
    iso = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    text = f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d}"
    return Markup('<time datetime="{}">{}</time>').format(iso, text)


def day(date: datetime | None) -> str:
    """*date* to the second; the script puts before it how long ago that is."""
    if date is None:
        return ""
    utc = date.astimezone(timezone.utc)
    iso = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time class="day" datetime="{}">{}</time>').format(
        iso, f"{utc:%Y-%m-%d %H:%M:%S}"
    )


def ago(date: datetime | None, at: datetime) -> str:
    """`2 h 03 m ago`, or `in 5.0 s`."""
    if date is None:
        return ""
    seconds = (at - date).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def took(length: float | timedelta | None) -> str:
    if isinstance(length, timedelta):
        length = length.total_seconds()
    if length is not None and length < 0:  # Clocks of two hosts differ.
        return "0 ms"
    return span(length)


def state(name: str) -> str:
    """The state as a badge."""
    text = escape(line(name, 40))
    return Markup('<span class="state {}">{}</span>').format(kind(name), text)


def kind(name: str) -> str:
    """The class of a state's colours."""
    return name if name in _KNOWN else "other"


def sign(name: str) -> str:
    """A state as one character, for a row of them."""
    return _SIGNS.get(name, "·")


def utc_text(date: datetime) -> str:
    return f"{date.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def number(value: float) -> str:
    return f"{value:,}"


FILTERS: dict[str, Any] = {
    "key": key_of,
    "seen_key": seen_key,
    "line": line,
    "exact": exact,
    "block": block,
    "when": when,
    "day": day,
    "ago": ago,
    "took": took,
    "state": state,
    "kind": kind,
    "sign": sign,
    "utc": utc_text,
    "number": number,
    "brief": brief,
    "arguments": arguments,
    "call": call,
    "ending": ending,
    "count_of": count_of,
}
