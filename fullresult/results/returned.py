"""Returned values: those that the JSON of a record gives back exactly, and the stored ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kombu.exceptions import DecodeError

from fullresult.record import Stored, encoding
from fullresult.results import members

JSON = "application/json"
_PLAIN = (bool, type(None))
_LARGEST = 2**63
_LONGEST = 200
Decode = Callable[[bytes, str, str], Any]
"""Decodes a body, given its content type and its encoding."""


class MemberError(Exception):
    """A member of a chord failed."""

    def __init__(self, task_id: str, cause: BaseException) -> None:
        super().__init__(f"Dependency {task_id} raised {cause!r}")
        self.task_id, self.cause = task_id, cause


def is_plain(value: object) -> bool:
    """True if a record's JSON gives *value* back as it was, whatever the database."""
    if type(value) is int:
        return -_LARGEST <= value < _LARGEST
    return type(value) in _PLAIN or (type(value) is str and len(value) <= _LONGEST)


def values_of(found: Sequence[Stored | str], decode: Decode) -> list[Any]:
    """The values that these tasks returned, in their order."""
    stored = iter(_decoded([each for each in found if isinstance(each, Stored)], decode))
    return [next(stored) if isinstance(each, Stored) else encoding.loads(each) for each in found]


def values_in(run: int, found: Mapping[str, Stored | str], decode: Decode) -> dict[str, Any]:
    """The values, by task id, that what is stored says are of this *run* of a chord."""
    stored = {key: decode(*each[1:]) for key, each in found.items() if isinstance(each, Stored)}
    return {key: meta["result"] for key, meta in stored.items() if meta.get(members.RUN) == run}


def _decoded(stored: Sequence[Stored], decode: Decode) -> list[Any]:
    """The stored values. Many JSON texts are read as one, in a third of the time."""
    if all(each.content_type == JSON and each.body.startswith(b"{") for each in stored):
        bodies = b",".join(each.body for each in stored)
        with suppress(DecodeError):
            known = decode(b"[%b]" % bodies, JSON, "utf-8")
            if len(known) == len(stored):
                return [each["result"] for each in known]
    return [decode(*each[1:])["result"] for each in stored]
