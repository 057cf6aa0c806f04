"""The optional parts of the contract for chords: of many members, and of members not counted."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable


class QuietChord(NamedTuple):
    """A chord that is not complete, and has counted nobody since it was last looked at."""

    chord_id: str
    run: int
    body: str
    """As `ResultStorage.begin_chord` was given it."""


@runtime_checkable
class RecountingStorage(Protocol):
    """Optional, for a `ResultStorage`: lets a worker count what one that was killed left out."""

    def take_quiet_chords(self, before: datetime, limit: int) -> list[QuietChord]:
        """Look at up to *limit* chords that began, or were looked at, at *before* or earlier.

        Returns those that have counted nobody since, each to one caller. They are looked at ever
        more rarely: 10 seconds later, then half as long again each time, at most an hour. One that
        has counted somebody is looked at as if it began now; a complete one, or one that
        `begin_chord` never began, is not looked at.
        """
        ...

    def find_ended_members(self, chord_id: str) -> list[str]:
        """The ids of all tasks in the group *chord_id* that succeeded or failed, in any order.

        It costs what reading the tasks of this group costs, however many others there are.
        """
        ...


@runtime_checkable
class GroupsStorage(Protocol):
    """Optional, for a `ResultStorage`: reads and deletes what is kept for many groups at once."""

    def restore_groups(self, group_ids: Collection[str]) -> dict[str, bytes]:
        """The value kept for each of these groups; those for which there is none are left out."""
        ...

    def delete_groups(self, group_ids: Collection[str]) -> None:
        """Delete what is kept for these groups, if anything is."""
        ...
