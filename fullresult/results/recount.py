"""Counts the members of a chord that ended, and that nobody counted, from their records.

Whoever was to count one was killed after its end was written. If the message of the task was
acknowledged before, or Celery sees that the task has succeeded, nobody else hears of it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import uuid4

from fullresult.record import FAILURE, SUCCESS, TaskRecord
from fullresult.results import members
from fullresult.results.later_ends import LaterEnds
from fullresult.storage import CompleteChord, QuietChord, RecountingStorage, ResultStorage

logger = logging.getLogger(__name__)

_AT_ONCE = 100
"""Records in one read."""


class Recount:
    """Counts what is left out of the chords of one storage."""

    def __init__(
        self,
        results: ResultStorage,
        recounting: RecountingStorage,
        goes_on: Callable[[TaskRecord], bool],
        later_ends: LaterEnds,
    ) -> None:
        """*goes_on* says of a record that it has an end and its task runs all the same."""
        self._results = results
        self._recounting = recounting
        self._goes_on = goes_on
        self._later_ends = later_ends

    def __call__(
        self,
        chord: QuietChord,
        expire_at: datetime | None,
        complete: Callable[[CompleteChord, str], None],
    ) -> int:
        """Count those of *chord*; returns how many. If that completes it, *complete* is called.

        Counting is idempotent: whoever counts one at the same moment does no harm. Raises
        `StorageError`.
        """
        found = [*self._lacking(chord)]
        for record, size, name in found:
            logger.warning(
                "fullresult: task %s, a member of chord %s, is %s and was not counted: it is now",
                *(record.task_id, chord.chord_id, record.state),
            )
            call = uuid4().hex
            if self._results.join_chord(chord.chord_id, name, size, expire_at, call=call):
                complete(CompleteChord(*chord), call)
        return len(found)

    def _lacking(self, chord: QuietChord) -> Iterator[tuple[TaskRecord, int | None, str]]:
        """Each with the size of the chord, as far as it knows, and its name."""
        ended = self._recounting.find_ended_members(chord.chord_id)
        if not ended:
            return
        known = members.ids_of(self._results.get_members(chord.chord_id), chord.run)
        ids = [task_id for task_id in ended if task_id not in known]
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            ends = self._later_ends.find(chord.chord_id, chord.run, some) if chord.run > 1 else {}
            # The record may have the end of another run, or not say of which run its end is.
            for record in self._results.get_results(some if chord.run == 1 else [*ends]):
                end = ends.get(record.task_id)
                told = self._told(record) if end is None else (end.size, end.name)
                if record.resent is None and told is not None:
                    yield record, *told

    def _told(self, record: TaskRecord) -> tuple[int | None, str] | None:
        """The size and the name; None if the first run of the member is not known to have ended."""
        told = members.told_by(record)
        if told is None or told.member.run != 1 or not _has_ended(record) or self._goes_on(record):
            return None
        return told.size, told.member.name


def _has_ended(record: TaskRecord) -> bool:
    """True if this is the end of the member in its chord."""
    return record.state in {SUCCESS, FAILURE}
