"""Importing: the rows of a source become records, page by page."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from kombu.exceptions import EncodeError

from fullresult.config import Settings
from fullresult.importers.counted import Counted
from fullresult.importers.events import Events, Ignored, adds
from fullresult.importers.routes import Routes
from fullresult.importers.row import Row
from fullresult.importers.source import OVERLAP, UNREADABLE, Broken, Read, Source
from fullresult.importers.taking import Taken
from fullresult.record import SCHEDULED, TaskRecord, encoding, fold
from fullresult.recording.redaction import Redactor
from fullresult.storage import Refused, ResultStorage, Storage

logger = logging.getLogger(__name__)

_MOST_PROBLEMS = 1_000
_WRITERS = 3
"""Pages that are written at once: the database takes longer for one than it takes to read one."""
_ROWS = 1_500
"""Rows that are written at once: each page has the whole timeout, and all share the database."""
_SHARE = 10
"""A follower rests at least so many times as long as its last look took."""
Advance = Callable[[int], None]


@dataclass
class Imported:
    """What an import has done so far."""

    source: str = ""
    read: int = 0
    """Rows; one that went on meanwhile, and is read again for that, once more."""
    new: int = 0
    """Tasks that were not recorded before."""
    changed: int = 0
    """Tasks that were recorded, and of which a row said more."""
    known: int = 0
    """Tasks of which nothing new was said."""
    skipped: int = 0
    """Tasks that `fullresult_ignore` names, or that `fullresult_retention` would delete."""
    unreadable: int = 0
    """Rows that could not be read, or that the storage refused."""
    staying: int = 0
    """Tasks that wait in the source and were to be taken over, and could not be."""
    resendable: int = 0
    """Tasks whose arguments are known exactly."""
    taken: int = 0
    """Tasks that waited in the source until they are due, and now wait here. Neither they nor the
    `uncertain` ones are among those that are new, changed or known."""
    uncertain: list[str] = field(default_factory=list)
    """Tasks that the source had begun to send: perhaps they were sent."""
    groups: int = 0
    """Results of groups, kept where the result backend is ours."""
    states: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    """Why rows could not be read or taken over, by task id: the first 1,000."""
    finished: bool = False
    """False if it was interrupted."""
    position: Any = None
    """Where it was interrupted."""

    def broken(self, task_id: str, why: str) -> None:
        """Count a row that could not be read."""
        self.unreadable += 1
        self._tell(task_id, why, "imported")

    def note_taken(self, taken: Taken) -> None:
        """Count what was taken over, and what could not be."""
        self.taken, self.uncertain = len(taken.ids), taken.uncertain
        self.staying = len(taken.staying)
        for task_id, why in taken.staying:
            self._tell(task_id, f"it stays there: {why}", "taken over")

    def _tell(self, task_id: str, why: str, what: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS and task_id not in self.problems:
            self.problems[task_id] = why
            logger.warning(
                "fullresult: task %s of %s is not %s: %s", task_id, self.source, what, why
            )


@dataclass(frozen=True)
class _Batch:
    events: list[TaskRecord]
    known: dict[str, TaskRecord]
    position: Any


class _Written(NamedTuple):
    new: int
    changed: int
    known: int
    refused: dict[str, str]
    position: Any


class Importer:
    """Imports from one source into one storage."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        storage: Storage,
        redactor: Redactor | None,
        routes: Routes,
        *,
        dry_run: bool = False,
    ) -> None:
        self._source = source
        self._storage = storage
        self._events = Events(source.name, source.missing, settings, redactor, routes)
        self._dry_run = dry_run
        self.done = Imported(source.shown)
        self.since = storage.now() - OVERLAP
        """What changed at this time or later is read again by the next look."""
        self.apart: Collection[str] = ()
        """The ids of tasks that were taken over, which are counted as that."""
        self._looks_again = False
        """True once rows may have been read before: of them only what is new is counted."""
        self._counted = Counted(self.since)

    def run(self, after: Any, advance: Advance) -> None:
        """Import all rows behind the position *after*."""
        self.done.position = after
        self._counted = Counted(self.since, after)
        self._import(self._source.pages(after), advance)

    def look_again(self, advance: Advance) -> None:
        """Import what has changed since rows were read first, or since the look before."""
        now, self._looks_again = self._storage.now(), True
        self._counted.look_again(self.since)
        self._import(self._source.changed(self.since), advance)
        self.since = now - OVERLAP

    def follow(self, advance: Advance, every: timedelta, until_idle: timedelta | None) -> None:
        """Go on with what changes, until nothing has for *until_idle*; None: for ever."""
        moved = time.monotonic()
        while until_idle is None or time.monotonic() - moved < until_idle.total_seconds():
            began, before = time.monotonic(), (self.done.new, self.done.changed)
            self.look_again(advance)
            if before != (self.done.new, self.done.changed):
                moved = time.monotonic()
            took = time.monotonic() - began
            time.sleep(max(every.total_seconds(), _SHARE * took))

    def _import(self, pages: Iterator[list[Read]], advance: Advance) -> None:
        """Pages are written while the next is read. An interruption waits for what is begun."""
        writing: deque[Future[_Written]] = deque()
        with ThreadPoolExecutor(_WRITERS, "fullresult-import") as pool:
            try:
                for page in pages:
                    read = self.done.read
                    batch = self._batch(page, self._known(page))
                    while len(writing) >= min(_WRITERS, max(_ROWS // max(len(page), 1), 1)):
                        self._note_first(writing)
                    writing.append(pool.submit(self._write, batch))
                    advance(self.done.read - read)
            finally:
                while writing:
                    self._note_first(writing)

    def _note_first(self, writing: deque[Future[_Written]]) -> None:
        """A page that failed stays the first: the position does not go past it."""
        written = writing[0].result()
        writing.popleft()
        self.done.new += written.new
        self.done.changed += written.changed
        self.done.known += written.known
        for task_id, why in written.refused.items():
            if self._counted.add(task_id):
                self.done.broken(task_id, why)
        if written.position is not None:  # else no row of the page could be read
            self.done.position = written.position

    def _known(self, page: Iterable[Read]) -> dict[str, TaskRecord]:
        ids = list({encoding.key(row.task_id) for row in page if isinstance(row, Row)})
        if isinstance(self._storage, ResultStorage):
            return {record.task_id: record for record in self._storage.get_results(ids)}
        found = map(self._storage.get, ids)
        return {record.task_id: record for record in found if record is not None}

    def _batch(self, page: list[Read], known: dict[str, TaskRecord]) -> _Batch:
        now = self._storage.now()
        events, position = [], None
        for row in page:
            if isinstance(row, Broken):
                self._note_broken(*row)
                continue
            position = row.position
            event = self._event(row, known.get(encoding.key(row.task_id)), now)
            if event is not None:
                events.append(event)
        return _Batch(fold(events), known, position)

    def _event(self, row: Row, known: TaskRecord | None, now: datetime) -> TaskRecord | None:
        """The event of *row*, unless it is known or counted otherwise."""
        if row.waits_here or (row.task_id in self.apart and row.state == SCHEDULED):
            self._note_apart(row)
            return None
        try:
            event = self._events.of(row, known, now)
        except Ignored:
            if self._counted.add(row.task_id, row.changed, row.position):
                self.done.read += 1
                self.done.skipped += 1
            return None
        except (EncodeError, *UNREADABLE) as error:
            self._note_broken(row.task_id, str(error) or type(error).__name__)
            return None
        if self._looks_again and not adds(event, known):
            return None
        if self._counted.has(event.task_id):
            return event  # it was refused before
        self.done.read += 1
        self.done.states[event.state] += 1
        if event.message is not None and event.message.body is not None:
            self.done.resendable += 1
        return event

    def _note_apart(self, row: Row) -> None:
        """Count a task that was taken over: now, as `Imported.taken` is, or by another import."""
        if self._looks_again:
            return
        self.done.read += 1
        if row.task_id not in self.apart:
            self.done.known += 1

    def _note_broken(self, task_id: str, why: str) -> None:
        if self._counted.add(task_id):
            self.done.read += 1
            self.done.broken(task_id, why)

    def _write(self, batch: _Batch) -> _Written:
        news = [event for event in batch.events if adds(event, batch.known.get(event.task_id))]
        refused = {} if self._dry_run or not news else self._refused(news)
        new = sum(e.task_id not in batch.known and e.task_id not in refused for e in news)
        changed = sum(e.task_id in batch.known and e.task_id not in refused for e in news)
        return _Written(new, changed, len(batch.events) - len(news), refused, batch.position)

    def _refused(self, events: list[TaskRecord]) -> dict[str, str]:
        """Write *events*; returns why some could not be."""
        try:
            self._storage.write(events)
        except Refused as error:
            if len(events) == 1:
                return {events[0].task_id: str(error)}
            return {k: v for event in events for k, v in self._refused([event]).items()}
        return {}
