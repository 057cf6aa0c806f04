"""Masking: the parts of a value that a path or a pattern finds are replaced by a marker.

Nothing is changed in place. A value in which nothing is masked is returned as the same object.
"""

from __future__ import annotations

import re
from collections import UserList, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any
from uuid import UUID

from fullresult.config.redaction_rules import Path
from fullresult.record import encoding

MARK = "[redacted]"
"""Stands where something was hidden."""

Patterns = Collection[re.Pattern[str]]

_ANY_DEPTH = "**"
_LISTS = (list, tuple, set, frozenset, UserList, deque)
_PLAIN = (
    *(str, bytes, bytearray, bool, int, float, complex, type(None)),
    *(Decimal, date, time, timedelta, UUID),
)
"""Types without parts that a path could name."""
_WORD = re.compile("[A-Za-z_]*")
"""A key that is only the name of a field."""


def at(value: Any, paths: Collection[Path]) -> Any:
    """*value* without the items that *paths* lead to.

    If a path leads into a value that is neither mapping nor list, the whole value is hidden.
    """
    if not paths:
        return value
    if () in paths:
        return MARK
    if is_container(value):
        return mapped(value, lambda item, keys: at(item, onward(paths, keys)))
    return value if isinstance(value, _PLAIN) else MARK


def onward(paths: Iterable[Path], keys: Iterable[str]) -> set[Path]:
    """The rest of each of *paths* inside an item that has one of these *keys*."""
    known = tuple(keys)
    return {rest for path in paths for key in known for rest in _beyond(path, key)}


def _beyond(path: Path, key: str) -> Iterator[Path]:
    first, rest = path[0], path[1:]
    if first == _ANY_DEPTH:
        yield path
        yield from _beyond(rest, key)
    elif first == key or fnmatchcase(key, first):
        yield rest


def matching(value: Any, patterns: Patterns) -> Any:
    """*value* without the text that *patterns* match, in keys and in values.

    A value that is not text is hidden whole if they match its text form.
    """
    if not patterns:
        return value
    return texts(value, lambda text: in_text(text, patterns))


def in_text(text: str, patterns: Patterns) -> str:
    """*text* with every match of *patterns* replaced. Markers that are there already stay."""
    for pattern in patterns:
        parts = [pattern.sub(_marked, part) for part in text.split(MARK)]
        text = MARK.join(parts)
    return text


def _marked(match: re.Match[str]) -> str:
    return MARK if match[0] else ""


def texts(value: Any, hide: Callable[[str], str]) -> Any:
    """*value* with *hide* applied to each text in it.

    A value that is not text is hidden whole if *hide* changes its text form.
    """
    if isinstance(value, str):
        hidden = hide(value)
        return value if hidden == value else hidden
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        new = {texts(key, hide): texts(item, hide) for key, item in _items(value)}
        return value if _unchanged(value, new) else new
    if isinstance(value, _LISTS):
        return mapped(value, lambda item, _: texts(item, hide))
    return MARK if any(hide(text) != text for text in _texts_of(value)) else value


def _unchanged(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> bool:
    pairs = zip_longest(_items(old), new.items(), fillvalue=(None, None))
    return all(a is b and x is y for (a, x), (b, y) in pairs)


def _texts_of(value: Any) -> Iterator[str]:
    """The texts that *value*, which is not text, may appear as."""
    if isinstance(value, (bytes, bytearray)):
        yield bytes(value).decode(errors="replace")
        return
    yield encoding.safe_str(value)
    if not isinstance(value, _PLAIN):
        yield encoding.safe_repr(value)
        try:
            yield encoding.dumps(value)
        except encoding.Unstorable:
            return


def is_plain(value: Any) -> bool:
    """True if *value* has no parts that a path could name."""
    return isinstance(value, _PLAIN)


def is_container(value: Any) -> bool:
    return isinstance(value, (Mapping, *_LISTS))


def mapped(value: Any, do: Callable[[Any, tuple[str, ...]], Any]) -> Any:
    """A container with `do(item, keys)` in place of each item; itself where none changed.

    An item of a list has its number as key; of a named tuple, its name too.
    """
    if isinstance(value, Mapping):
        old = list(_items(value))
        new = [(key, do(item, (_key(key),))) for key, item in old]
        if all(a[1] is b[1] for a, b in zip(old, new, strict=True)):
            return value
        return dict(new)
    items = list(value)
    names = getattr(value, "_fields", ()) if isinstance(value, tuple) else ()
    keys = [(str(i), *names[i : i + 1]) for i in range(len(items))]
    changed = [do(item, each) for item, each in zip(items, keys, strict=True)]
    if all(a is b for a, b in zip(items, changed, strict=True)):
        return value
    return tuple(changed) if isinstance(value, tuple) else changed


def _items(value: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    # Not by the method of a dict's own class, which may have been changed.
    return dict.items(value) if isinstance(value, dict) else value.items()


def _key(key: Any) -> str:
    return key if type(key) is str else encoding.safe_str(key)


def copied(value: Any) -> Any:
    """*value* in new dicts and lists, for a function that may change them."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in _items(value)}
    if isinstance(value, (list, UserList)):
        return [copied(item) for item in value]
    return tuple(map(copied, value)) if type(value) is tuple else value


def same(a: Any, b: Any) -> bool:
    """True if two values have the same content. A list and a tuple may."""
    if a is b:
        return True
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        known = dict(_items(b))
        return len(a) == len(b) and all(
            key in known and same(item, known[key]) for key, item in _items(a)
        )
    if isinstance(a, (list, tuple, UserList)) and isinstance(b, (list, tuple, UserList)):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and isinstance(a, _PLAIN) and bool(a == b)


def names_changed(old: Any, new: Any) -> list[str]:
    """The keys, or numbers, of the items of *old* that differ in *new* or are missing there."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        known = dict(_items(new))
        return [_key(key) for key, item in _items(old) if not _stays(key, item, known)]
    if isinstance(old, _LISTS) and isinstance(new, _LISTS):
        pairs = zip_longest(old, new)
        return [str(i) for i, (a, b) in enumerate(pairs) if a is not b and not same(a, b)]
    return []


def _stays(key: Any, item: Any, known: Mapping[Any, Any]) -> bool:
    return key in known and (item is known[key] or same(item, known[key]))


def secrets(old: Any, new: Any) -> Iterator[str]:
    """The texts of *old* that are gone from *new*."""
    if old is new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        known = dict(_items(new))
        for key, item in _items(old):
            yield from secrets(item, known.get(key, MARK))
    elif isinstance(old, _LISTS) and isinstance(new, _LISTS):
        for item, other in zip_longest(old, new, fillvalue=MARK):
            yield from secrets(item, other)
    elif not same(old, new):
        yield from _leaves(old)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in _items(value):
            if not (isinstance(key, str) and _WORD.fullmatch(key)):
                yield from _leaves(key)
            yield from _leaves(item)
    elif isinstance(value, _LISTS):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield from (value,) if isinstance(value, str) else _texts_of(value)
        if isinstance(value, (bytes, bytearray)):
            yield repr(bytes(value))[2:-1]


def holds_mark(value: Any) -> bool:
    """True if something was hidden in *value*."""
    if isinstance(value, str):
        return MARK in value
    if isinstance(value, Mapping):
        return any(holds_mark(key) or holds_mark(item) for key, item in _items(value))
    return isinstance(value, _LISTS) and any(map(holds_mark, value))
