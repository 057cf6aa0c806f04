"""Which records: the question that listings, counts and deletions share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fullresult.record import pages


@dataclass(frozen=True)
class TaskQuery:
    """Which records, and in what order. Every field narrows; None asks nothing."""

    state: str | Collection[str] | None = None
    """One state, or any of several."""
    name: str | None = None
    """A glob: `*`, `?` and `[…]` as in `fnmatch.fnmatchcase`; without any, the name itself."""
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
    """Part of the name, id, exception type or exception message.

    Its characters stand for themselves, ASCII letters in any case; other letters may or may not.
    """
    args: Sequence[Any] | None = None
    """The first positional arguments, in order; each matches like a value of *kwargs*."""
    kwargs: Mapping[str, Any] | None = None
    """Keyword arguments among those of the task.

    A dict matches inside a dict: `{}` any. Anything else matches what equals it as JSON: a list the
    whole list, a number by its value, never a bool, None only null. A task whose arguments were not
    kept matches none. What JSON cannot hold is a `ValueError` of the method that is asked.
    """
    moved_before: datetime | None = None
    """Last moved, or due, at this time or earlier."""
    open: bool | None = None
    """Whether something is still expected to happen to it."""
    not_state: Collection[str] = ()
    """None of these states. A record without an outcome is found neither so nor by *state*."""
    limit: int | None = 100
    """At most so many; None: all."""
    after: str | None = None
    """The `cursor` of the last record of the page before."""
    order: Literal["newest", "oldest"] = "newest"
    """By the time of creation."""

    def __post_init__(self) -> None:
        pages.check(self, "since", "until", "moved_before")
        pages.check_texts(self, "state", "not_state", "name", "text")
        if self.order not in ("newest", "oldest"):
            raise ValueError(f'TaskQuery.order must be "newest" or "oldest", not {self.order!r}')

    @property
    def states(self) -> tuple[str, ...] | None:
        """`state` as a tuple."""
        if self.state is None:
            return None
        return (self.state,) if isinstance(self.state, str) else tuple(self.state)

    @property
    def position(self) -> pages.Position | None:
        """`after` as (date created, task id)."""
        return pages.position(self, "a record")

    @property
    def name_is_glob(self) -> bool:
        """Whether `name` has wildcards."""
        return self.name is not None and not set(self.name).isdisjoint("*?[")
