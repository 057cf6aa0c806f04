"""Which records: the query that listings, counts and deletions share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from fullresult.record import pages

_LAST_PLACE = 999
_PAGE = ("limit", "after", "order")


@dataclass(frozen=True)
class TaskQuery:
    """Which records, and in what order. A record matches if every field that is not None does."""

    state: str | Collection[str] | None = None
    """This state, or any of these."""
    task_ids: Collection[str] | None = None
    """One of these ids."""
    name: str | None = None
    """A glob as in `fnmatch.fnmatchcase`; without `*`, `?` and `[…]`, the exact name."""
    queue: str | None = None
    worker: str | None = None
    root_id: str | None = None
    group_id: str | None = None
    retry_of: str | None = None
    since: datetime | None = None
    """Created at this time or later."""
    until: datetime | None = None
    """Created before this time."""
    text: str | None = None
    """A part of the name, id, exception type or exception message.

    No character is a wildcard. The case of ASCII letters is ignored, and that of others is not.
    """
    args: Sequence[Any] | None = None
    """The first positional arguments, in order; each matches as a value of *kwargs* does."""
    args_at: Mapping[int | str, Any] | None = None
    """Some of the positional arguments, by their places from 0; each matches as in *args*."""
    kwargs: Mapping[str, Any] | None = None
    """Some of the task's keyword arguments.

    A dict matches a dict that has its items; `{}` matches every dict. Anything else matches what
    equals it as JSON: a list only the whole list, a number by its value and never a bool, None only
    null. A task whose arguments were not kept never matches. A value that JSON cannot hold, or a
    float beyond 2**53, is a `ValueError` of the method that takes the query.
    """
    moved_before: datetime | None = None
    """Last moved, or due to run, at this time or earlier."""
    open: bool | None = None
    """True: something is still expected to happen to it. False: nothing is."""
    not_state: Collection[str] = ()
    """Leaves these states out. A record without an outcome matches neither `state` nor
    `not_state`."""
    fingerprint: str | None = None
    """In this group of failures."""
    exception: str | None = None
    """The type of the exception of its outcome: the whole name (`shop.errors.Declined`), or what
    stands behind a dot of it (`Declined`). Upper and lower case differ."""
    unresolved: bool | None = None
    """True: leaves out what is dealt with, because it was sent again after its outcome, or because
    somebody resolved its group when it had failed. False: only what is dealt with."""
    limit: int | None = 100
    """The greatest number of records in a page; None: all."""
    after: str | None = None
    """The `cursor` of the last record on the previous page."""
    order: Literal["newest", "oldest"] = "newest"
    """By the time of creation."""

    def __post_init__(self) -> None:
        self._check_types()
        pages.check(self, "since", "until", "moved_before")
        pages.check_texts(self, "state", "not_state", "name", "text", "exception")
        self.places  # noqa: B018 - raises for what is no place
        if self.order not in ("newest", "oldest"):
            raise ValueError(f'TaskQuery.order must be "newest" or "oldest", not {self.order!r}')

    def _check_types(self) -> None:
        ids = ("root_id", "group_id", "retry_of", "fingerprint")
        for name in ("name", "queue", "worker", *ids, "text", "exception"):
            self._must(name, str, "text")
        self._must("args", Sequence, "a sequence of arguments", never=str)
        for name in ("kwargs", "args_at"):
            self._must(name, Mapping, "a mapping of arguments")
        for name in ("open", "unresolved"):
            self._must(name, bool, "True, False or None")
        self._must("task_ids", Collection, "several ids", never=str)
        self._must("not_state", Collection, "several states", never=str)
        self._must("state", Collection, "a state or several")
        if not all(isinstance(state, str) for state in self.states or ()):
            raise TypeError(f"TaskQuery.state must be a state or several, not {self.state!r}")

    def _must(self, name: str, kind: type, words: str, never: type | None = None) -> None:
        value = getattr(self, name)
        wrong = not isinstance(value, kind) or (never is not None and isinstance(value, never))
        if value is not None and wrong:
            raise TypeError(f"TaskQuery.{name} must be {words}, not {value!r}")

    @property
    def states(self) -> tuple[str, ...] | None:
        """`state` as a tuple."""
        if self.state is None:
            return None
        return (self.state,) if isinstance(self.state, str) else tuple(self.state)

    @property
    def places(self) -> list[tuple[int, Any]]:
        """(place, argument) of *args* and *args_at*. Raises `ValueError` for what is no place."""
        return [
            *enumerate(self.args or ()),
            *((place_of(k), v) for k, v in (self.args_at or {}).items()),
        ]

    @property
    def position(self) -> pages.Position | None:
        """`after` as (date created, task id)."""
        return pages.position(self, "a record")

    @property
    def is_narrow(self) -> bool:
        """True if a filter says which records are meant: one that is None or empty does not.

        Nor does what leaves out a few: `not_state`, `open=False`, `unresolved=True`.
        """
        no_choice = {*_PAGE, "not_state", "open", "unresolved"}
        given = (getattr(self, each.name) for each in fields(self) if each.name not in no_choice)
        return any(map(bool, given)) or self.open is True or self.unresolved is False

    def created_before(self, moment: datetime) -> TaskQuery:
        """The same query, of nothing that was created at *moment* or later."""
        return replace(self, until=moment if self.until is None else min(self.until, moment))

    @property
    def name_is_glob(self) -> bool:
        """True if `name` has wildcards."""
        return self.name is not None and not set(self.name).isdisjoint("*?[")


def place_of(key: object) -> int:
    """The place of an argument that *key* names; from JSON it is a text. Raises `ValueError`."""
    text = key if isinstance(key, str) else str(key) if type(key) is int else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_LAST_PLACE))):
        raise ValueError(f"TaskQuery.args_at: {key!r} is no place; they are 0 to {_LAST_PLACE}")
    return int(text)
