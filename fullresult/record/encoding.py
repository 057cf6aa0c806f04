"""Values as text: JSON as kombu writes it, bounded reprs, and bodies read without risk."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

from kombu.utils import json as kombu_json

from fullresult.record.interruptions import spare

_CUT = " … [cut: {} characters] … "
_SHORT = 255
_LONGEST_KEY = 1200
"""Bytes. An entry of a PostgreSQL index holds 2,700; ours have a name and an id."""
_NO_BRACKETS = bytes({*range(256)} - {*b"[]{}"})
_LEVELS = {**dict.fromkeys(b"[{", 1), **dict.fromkeys(b"]}", -1)}
_TYPE = re.compile(r"__type__|\\u005[fF]")
_DEEPEST = 500
"""SQLite's JSON functions stop at 1,000 levels."""
_BODY = ("args", "kwargs", "embed")
_READABLE = frozenset({"application/json", "application/x-yaml", "application/x-msgpack"})
"""Content types that can be decoded without running code of the sender."""


class Unstorable(ValueError):
    """JSON cannot hold this value; the message says why."""


class Searchable(NamedTuple):
    """JSON text for a database's search column, or why there is none."""

    text: str | None
    reason: str | None


def dumps(value: Any) -> str:
    """JSON text as Celery's own serializer writes it.

    Raises `Unstorable`, also if a method of the value raises.
    """
    try:
        return json.dumps(value)
    except TypeError:
        pass  # kombu knows more types, at twice the price
    except Exception as error:  # noqa: BLE001
        spare(error)  # a subclass of dict may raise anything else
        raise Unstorable(_why_not(error)) from None
    try:
        return str(kombu_json.dumps(value))
    except Exception as error:  # noqa: BLE001
        spare(error)  # so may a value's own __json__
        raise Unstorable(_why_not(error)) from None


def _why_not(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"not JSON: {safe_str(error)[:200]}"


def loads(text: str) -> Any:
    """The value of *text*, with kombu's types (dates, UUIDs, Decimals, bytes) restored.

    A type that kombu does not know stays the dict that stands for it. None if *text* is no JSON.
    """
    # kombu's reader looks at every object for a type, which takes several times as long.
    readers = (kombu_json.loads, json.loads) if _TYPE.search(text) else (json.loads,)
    for read in readers:
        try:
            return read(text)
        except Exception as error:  # noqa: BLE001  (what looks like a kombu type may be none)
            spare(error)
    return None


def dumps_strict(value: Any) -> str:
    """JSON text that every database can hold. Raises `Unstorable` if one would not."""
    text = dumps(value)
    if (reason := refused(text)) is not None:
        raise Unstorable(reason)
    return text


def refused(text: str) -> str | None:
    """Why a JSON column would refuse or change *text*; None if it would not."""
    if text.count("[") + text.count("{") > _DEEPEST and _depth(text) > _DEEPEST:
        return f"nested more than {_DEEPEST} levels"
    if "\\u0000" in text and _mentions(text, "\x00"):
        return "a NUL character"
    if ("\\ud" in text or "\\uD" in text) and _has_surrogate(text):
        return "a lone surrogate"
    if ("NaN" in text or "Infinity" in text) and not _is_json(text):
        return "NaN or Infinity"
    return None


def _depth(text: str) -> int:
    # In C, for there may be megabytes: each second piece between quotes is outside of strings.
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    outside = "".join(text.split('"')[::2]).encode("ascii", "replace")
    brackets = outside.translate(None, _NO_BRACKETS)
    return max(accumulate(map(_LEVELS.__getitem__, brackets)), default=0)


def _mentions(text: str, character: str) -> bool:
    return any(character in string for string in _strings(json.loads(text)))


def _has_surrogate(text: str) -> bool:
    try:
        "".join(_strings(json.loads(text))).encode()
    except UnicodeEncodeError:
        return True
    return False


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


def loads_strict(text: str) -> Any:
    """The value of the JSON in *text*.

    Raises `ValueError`, also for NaN and Infinity; `RecursionError` if it is nested too deeply.
    """
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_json(text: str) -> bool:
    try:
        loads_strict(text)
    except ValueError:
        return False
    return True


def searchable(value: Any, limit: int) -> Searchable:
    """*value* as JSON text of at most *limit* characters for a search column."""
    try:
        text = dumps(value)
    except Unstorable as error:
        return Searchable(None, str(error))
    return searchable_text(text, limit)


def searchable_text(text: str, limit: int) -> Searchable:
    """The JSON *text*, if it has at most *limit* characters and every database can hold it."""
    if len(text) > limit:
        return Searchable(None, f"cut: {len(text)} characters")
    reason = refused(text)
    return Searchable(text, None) if reason is None else Searchable(None, reason)


def is_readable(content_type: str | None) -> bool:
    """True if `decode_body` reads bodies of this type."""
    return content_type in _READABLE


def decode_body(
    body: bytes | None, content_type: str | None, content_encoding: str | None
) -> Any | None:
    """A message's (args, kwargs, embed); None if only a pickle or nothing was kept.

    Reads JSON, YAML (safe) and msgpack, because decoding them runs no code.
    """
    from kombu.exceptions import KombuError
    from kombu.serialization import loads as decode

    if body is None or content_type not in _READABLE:
        return None
    try:
        parts = decode(body, content_type, content_encoding, accept=[content_type])
    except (KombuError, ValueError, RecursionError, ImportError):
        return None
    return parts if isinstance(parts, (list, tuple)) and len(parts) == len(_BODY) else None


def clean(text: str) -> str:
    """*text* as every database can store it: NUL and lone surrogates become escapes."""
    if type(text) is not str:
        text = str.__str__(text)  # drivers write an enum's name, and str(value) may be anything
    if "\x00" in text:
        text = text.replace("\x00", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "backslashreplace").decode()
    return text


def key(value: object) -> str:
    """*value* as the text of an id, name or queue: clean, and short enough for any index."""
    if type(value) is str and value.isascii() and len(value) <= _SHORT and "\0" not in value:
        return value  # as nearly all are
    text = clean(value if isinstance(value, str) else safe_str(value))
    if len(text) * 4 <= _LONGEST_KEY or len(text.encode()) <= _LONGEST_KEY:
        return text
    # No longer than the longest, so that the key of a key is the key itself.
    digest = f"…{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    kept = text.encode()[: _LONGEST_KEY - len(digest.encode())].decode(errors="ignore")
    return kept + digest


def clip(text: str, limit: int) -> str:
    """*text* in about *limit* characters: its start, the number of characters cut, its end."""
    if len(text) <= limit:
        return text
    half = max(limit // 2, 1)
    return text[:half] + _CUT.format(len(text) - 2 * half) + text[-half:]


def safe_str(value: object) -> str:
    """`str(value)`; if that raises, a text that says so."""
    return _safely(str, value)


def safe_repr(value: object) -> str:
    """`repr(value)`; if that raises, a text that says so."""
    return _safely(repr, value)


def _safely(show: Callable[[object], str], value: object) -> str:
    try:
        return clean(show(value))
    except Exception as error:  # noqa: BLE001  (a value may do anything)
        spare(error)
        return f"<{type(value).__qualname__}: {show.__name__}() raised {type(error).__qualname__}>"
