"""Pages of a listing: cursors, walking from page to page, and checks that all queries share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_KEPT_BY_NONE = re.compile("[\0\ud800-\udfff]")

Position = tuple[datetime, str]
"""The time by which a listing is ordered, and the id that orders records of one time."""


class Listed(Protocol):
    """A record, a schedule or an entry of the audit log: something that pages list."""

    @property
    def cursor(self) -> str: ...


Query = TypeVar("Query", bound="DataclassInstance")
Item = TypeVar("Item", bound=Listed)


def cursor(when: datetime, ident: str) -> str:
    """A position as text that people can pass on; the time is exact to the millisecond."""
    return f"{when.isoformat(timespec='milliseconds')}|{ident}"


def position(query: Any, whose: str) -> Position | None:
    """The position that the `after` of *query* names; None for the start of the listing.

    Raises `ValueError` if it is no cursor of *whose*, such as "a record".
    """
    if query.after is None:
        return None
    date, bar, ident = query.after.partition("|")
    try:
        when = datetime.fromisoformat(date)
    except ValueError:
        when = None
    if not bar or when is None or when.tzinfo is None:
        kind = type(query).__name__
        raise ValueError(f"{kind}.after must be {whose}'s cursor, not {query.after!r}")
    return when, ident


def walk(find: Callable[[Query], Sequence[Item]], query: Query) -> Iterator[Item]:
    """All that *find* answers to *query*, page by page; its `limit` is the size of a page."""
    while page := find(query):
        yield from page
        query = replace(query, after=page[-1].cursor)


def check_texts(query: Any, *names: str) -> None:
    """Raises ValueError for characters that no record has, as no database keeps them all."""
    for name in names:
        value = getattr(query, name)
        texts = (value,) if isinstance(value, str) else value or ()
        if any(_KEPT_BY_NONE.search(text) for text in texts if isinstance(text, str)):
            kind = type(query).__name__
            raise ValueError(
                f"{kind}.{name} has a NUL character or a lone surrogate, which no search takes"
            )


def check(query: Any, *dates: str) -> None:
    """Raises `TypeError` or `ValueError` for what is no aware date, limit or `after`."""
    kind = type(query).__name__
    for name in dates:
        when = getattr(query, name)
        if when is not None and (not isinstance(when, datetime) or when.tzinfo is None):
            raise ValueError(f"{kind}.{name} must be an aware datetime, not {when!r}")
    if query.limit is not None and type(query.limit) is not int:
        raise TypeError(f"{kind}.limit must be a whole number or None, not {query.limit!r}")
    if query.limit is not None and query.limit < 0:
        raise ValueError(f"{kind}.limit must be 0 or more, not {query.limit!r}")
    if query.after is not None and not isinstance(query.after, str):
        raise TypeError(f"{kind}.after must be text, not {query.after!r}")
    check_texts(query, "after")
    query.position  # noqa: B018  (raises for what is no cursor)
