"""Where the schedules that wait begin in an index, which long has those that are gone."""

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
"""Seconds from one look at everything to the next, and how much longer than a look that is."""


class Edges:
    """By namespace, from where on this process looks for what is due.

    PostgreSQL removes from an index what is gone when it finds the time, and until then whoever
    looks for the first that waits passes it all. So only one look in a while begins at the start,
    which also finds what came late or was given back by others. While little is gone, all do.
    """

    def __init__(self) -> None:
        self._edges: dict[str, tuple[Position, float]] = {}

    def of(self, namespace: str) -> Position:
        position, until = self._edges.get(namespace, (START, 0.0))
        return position if time.monotonic() < until else START

    def move(self, namespace: str, position: Position) -> None:
        """A look that did not begin at the start came as far as *position*."""
        if (edge := self._edges.get(namespace)) is not None:
            self._edges[namespace] = position, edge[1]

    def looked(self, namespace: str, position: Position, *, dead: int, seconds: float) -> None:
        """A look from the start came as far as *position*, and there were so many dead rows."""
        if dead < _MANY:
            self._edges.pop(namespace, None)
        else:
            until = time.monotonic() + _REST + _SHARE * seconds
            self._edges[namespace] = position, until

    def added(self, namespace: str, due: str) -> None:
        """A schedule has come."""
        edge = self._edges.get(namespace)
        if edge is not None and due <= edge[0].due:
            self.forget()

    def forget(self) -> None:
        """Something may wait that was passed."""
        if self._edges:
            self._edges = {}
