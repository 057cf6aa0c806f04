"""How far the members of large chords were moved out of their documents, as this process saw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_MOST = 1000


class Moved(NamedTuple):
    """How many segments a chord has."""

    birth: str
    """Tells it from a chord of the same id that was forgotten, or has expired."""
    segments: int


_NONE = Moved("", 0)


def moved_of(chord: Mapping[str, Any]) -> Moved:
    return Moved(chord["birth"], chord["moved"]) if chord["moved"] else _NONE


class Moves:
    """What was last seen of the chords that have segments; it may be out of date."""

    def __init__(self) -> None:
        self._seen: dict[str, Moved] = {}

    def of(self, chord_id: str) -> Moved:
        return self._seen.get(chord_id, _NONE)

    def note(self, chord_id: str, chord: Mapping[str, Any]) -> None:
        """Remember how many segments *chord* has. All others are forgotten when they are many."""
        if chord["moved"]:
            if len(self._seen) >= _MOST:
                self._seen.clear()
            self._seen[chord_id] = moved_of(chord)
