"""Values as text: JSON as kombu writes it, bounded reprs, and bodies read without risk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from kombu.utils import json as kombu_json

_CUT = " … [cut: {} characters] … "
_NOT_JSON = ("NaN", "Infinity")
_LONGEST_KEY = 512
_DEEPEST = 500
"""SQLite's JSON functions stop at 1,000 levels."""
_READABLE = frozenset({"application/json", "application/x-yaml", "application/x-msgpack"})
"""Content types whose decoding runs no code of the sender's."""


class Unstorable(ValueError):
    """JSON cannot hold this value; the message says why."""


class Searchable(NamedTuple):
    """JSON text for a database's search column, or why there is none."""

    text: str | None
    reason: str | None


def dumps(value: Any) -> str:
    """JSON text as Celery's own serializer writes it.

    Raises `Unstorable`, also for what the value's own methods raise.
    """
    try:
        return json.dumps(value)
    except TypeError:
        pass  # kombu knows more types, at twice the price
    except (ValueError, RecursionError):
        raise Unstorable("nested too deeply or circular") from None
    try:
        return str(kombu_json.dumps(value))
    except (ValueError, RecursionError):
        raise Unstorable("nested too deeply or circular") from None
    except Exception as error:
        raise Unstorable(f"not JSON: {safe_str(error)[:200]}") from None


def loads(text: str) -> Any:
    """The value of *text*, with kombu's types (dates, UUIDs, Decimals, bytes) restored.

    A type that kombu does not know stays the dict it was written as; None if it is no JSON.
    """
    for read in (kombu_json.loads, json.loads):
        try:
            return read(text)
        except (ValueError, TypeError, RecursionError):
            continue
    return None


def dumps_strict(value: Any) -> str:
    """JSON text that every database takes. Raises `Unstorable` for what one of them refuses."""
    text = dumps(value)
    if (reason := refused(text)) is not None:
        raise Unstorable(reason)
    return text


def refused(text: str) -> str | None:
    """Why a database's JSON column would refuse *text* or change it; None if it takes it."""
    if text.count("[") + text.count("{") > _DEEPEST and _depth(text) > _DEEPEST:
        return f"nested more than {_DEEPEST} levels"
    if "\\u0000" in text and _mentions(text, "\x00"):
        return "a NUL character"
    if "\\ud" in text and _has_surrogate(text):
        return "a lone surrogate"
    if any(word in text for word in _NOT_JSON) and not _is_json(text):
        return "NaN or Infinity"
    return None


def _depth(text: str) -> int:
    """At least how deep *text* is nested, counting brackets in strings too."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _mentions(text: str, character: str) -> bool:
    return any(character in string for string in _strings(json.loads(text)))


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for s in _strings(json.loads(text)) for c in s)


def _strings(value: Any) -> list[str]:
    """Every string in a decoded JSON value, without recursion."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            found.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return found


def _is_json(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


def searchable(value: Any, limit: int) -> Searchable:
    """*value* as JSON text of at most *limit* characters for a search column."""
    try:
        text = dumps_strict(value)
    except (Unstorable, RecursionError) as error:
        return Searchable(None, safe_str(error) or "nested too deeply or circular")
    if len(text) > limit:
        return Searchable(None, f"cut: {len(text)} characters")
    return Searchable(text, None)


def decode_body(
    body: bytes | None, content_type: str | None, content_encoding: str | None
) -> Any | None:
    """A message's (args, kwargs, embed); None where only a pickle or nothing was kept.

    Only formats are read whose decoding runs no code: JSON, YAML (safe) and msgpack.
    """
    from kombu.exceptions import KombuError
    from kombu.serialization import loads as decode

    if body is None or content_type not in _READABLE:
        return None
    try:
        parts = decode(body, content_type, content_encoding, accept=[content_type])
    except (KombuError, ValueError, RecursionError, ImportError):
        return None
    return parts if isinstance(parts, (list, tuple)) and len(parts) == 3 else None


def clean(text: str) -> str:
    """*text* as every database stores it: NUL and lone surrogates shown as escapes."""
    if "\x00" in text:
        text = text.replace("\x00", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "backslashreplace").decode()
    return text


def key(value: object) -> str:
    """*value* as the text of an id, name or queue: clean, and short enough for any index."""
    text = clean(value if isinstance(value, str) else safe_str(value))
    if len(text) <= _LONGEST_KEY:
        return text
    return f"{text[:_LONGEST_KEY]}…{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def clip(text: str, limit: int) -> str:
    """At most about *limit* characters of *text*: its beginning and end, saying how much was cut."""
    if len(text) <= limit:
        return text
    half = max(limit // 2, 1)
    return text[:half] + _CUT.format(len(text) - 2 * half) + text[-half:]


def safe_str(value: object) -> str:
    """`str(value)`, or a sentence where that raises."""
    return _safely(str, value)


def safe_repr(value: object) -> str:
    """`repr(value)`, or a sentence where that raises."""
    return _safely(repr, value)


def _safely(show: Callable[[object], str], value: object) -> str:
    try:
        return clean(show(value))
    except Exception as error:
        return f"<{type(value).__qualname__}: {show.__name__}() raised {type(error).__qualname__}>"
