"""Ids of tasks as people type them: whole, or only the beginning."""

from __future__ import annotations

import re

from fullresult.record import encoding
from fullresult.storage import PrefixStorage, Storage

SHORT = 8
"""Characters of an id in a listing. The random UUIDs that Celery makes differ in them."""
_FEWEST = 4
"""A shorter text is no beginning: it was hardly meant as one."""
_SHOWN = 3
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A whole one is the beginning of no other id."""


def whole_id(storage: Storage, text: str, *, of_uuids: bool = False) -> str:
    """The id that *text* is, or that alone begins with it; *text* if none does.

    With *of_uuids* it is the beginning of a UUID alone, for who sees no preview: `order-1`, whose
    record is gone, must not mean `order-12`. Raises `LookupError` if several ids begin so;
    `StorageError`.
    """
    key = encoding.key(text)
    if not isinstance(storage, PrefixStorage) or len(text) < _FEWEST or _UUID.fullmatch(text):
        return text
    found = storage.ids_beginning(key, _SHOWN + 1)
    if key in found or not found:
        return text
    if of_uuids and not all(map(_UUID.fullmatch, found)):
        return text
    if len(found) == 1:
        return found[0]
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    raise LookupError(f"several ids begin with {text!r}: {shown}")
