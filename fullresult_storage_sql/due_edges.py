"""Remembers where waiting schedules begin in an index full of rows that are gone."""

from __future__ import annotations

import time
from typing import NamedTuple


class Position(NamedTuple):
    due: str
    schedule_id: str


START = Position("-infinity", "")
_MANY = 20_000
"""Dead rows: two for each schedule that is gone."""
_REST, _SHARE = 1.0, 10
"""Seconds from one look at the whole index to the next, plus this many times what the last look
took."""


class Edges:
    """By namespace, the position from which this process looks for due schedules.

    Rows that are gone stay in an index until PostgreSQL vacuums it, and a look from the start
    passes all of them. So with 20,000 of them only one look in a while begins at the start; it also
    finds what came late or was given back by others.
    """

    def __init__(self) -> None:
        self._edges: dict[str, tuple[Position, float]] = {}

    def of(self, namespace: str) -> Position:
        position, until = self._edges.get(namespace, (START, 0.0))
        return position if time.monotonic() < until else START

    def move(self, namespace: str, position: Position) -> None:
        """A look from a remembered position came as far as *position*."""
        if (edge := self._edges.get(namespace)) is not None:
            self._edges[namespace] = position, edge[1]

    def looked(self, namespace: str, position: Position, *, dead: int, seconds: float) -> None:
        """A look from the start came as far as *position*, past *dead* rows."""
        if dead < _MANY:
            self._edges.pop(namespace, None)
        else:
            until = time.monotonic() + _REST + _SHARE * seconds
            self._edges[namespace] = position, until

    def added(self, namespace: str, due: str) -> None:
        """A schedule was added: if it lies before the position, forget that."""
        edge = self._edges.get(namespace)
        if edge is not None and due <= edge[0].due:
            self.forget()

    def forget(self) -> None:
        """Begin at the start again: a schedule before the position may wait."""
        if self._edges:
            self._edges = {}
