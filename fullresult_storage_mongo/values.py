"""JSON as BSON values, and back, without loss.

A value that BSON cannot hold, or that PyMongo would read as another, is kept as JSON text in an
object with one key: `{"$fullresult": "…"}`. It replaces the smallest such value:

* integers beyond 34 digits (those beyond 64 bits are Decimal128),
* values nested more than 100 levels deep,
* null by itself, which a missing result would look like.

A key `$ref` (of a DBRef, to drivers), or one that begins with `$fullresult`, has `$fullresult:`
before it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from bson.decimal128 import Decimal128

TAG = "$fullresult"
DEEPEST = 100
_SUSPICIOUS = re.compile(r"\d{19}|\$ref|\$fullresult|\\u00")
_BEFORE = f"{TAG}:"
_LONG = 2**63
_DECIMAL = 10**34
_EXACT = 2.0**53


def to_bson(text: str | None, *, ordered: bool = False) -> Any:
    """The value of JSON *text*. With *ordered*, keys are sorted, so that equal objects are one."""
    if text is None:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_sorted if ordered else None)
    except ValueError:
        return {TAG: text}
    if value is None:
        return {TAG: "null"}
    if _SUSPICIOUS.search(text) or text.count("[") + text.count("{") > DEEPEST:
        return fitting(value)
    return value


def to_json(value: Any) -> str | None:
    """The text that `to_bson` was given, perhaps spelt otherwise."""
    if value is None:
        return None
    if isinstance(value, dict) and value.keys() == {TAG}:
        return str(value[TAG])
    return json.dumps(_restored(value))


def ordered(value: Any) -> Any:
    """*value*, plain JSON, with the keys of its objects sorted."""
    return json.loads(json.dumps(value, sort_keys=True))


def fitting(value: Any, depth: int = 0) -> Any:
    """A JSON value *depth* levels deep, as BSON holds it."""
    if isinstance(value, dict):
        if depth >= DEEPEST:
            return {TAG: _canonical(value)}
        return {key_of(key): fitting(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        if depth >= DEEPEST:
            return {TAG: _canonical(value)}
        return [fitting(item, depth + 1) for item in value]
    if isinstance(value, int) and not -_LONG <= value < _LONG:
        text = str(value)
        return Decimal128(text) if abs(value) < _DECIMAL else {TAG: text}
    return value


def key_of(key: str) -> str:
    """A key of a JSON object, as it is kept."""
    return _BEFORE + key if key == "$ref" or key.startswith(TAG) else key


def original_key(kept: str) -> str:
    """The key of a JSON object that is kept as this."""
    return kept.removeprefix(_BEFORE)


def _sorted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(sorted(dict(pairs).items()))


def _canonical(value: Any) -> str:
    """The one JSON text of all equal values."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {TAG}:
            return json.loads(value[TAG])
        return {original_key(key): _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if isinstance(value, Decimal128):
        return int(value.to_decimal())
    return value
