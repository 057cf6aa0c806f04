"""The flusher: writes the events of a spool into the storage, by a thread or at once."""

from __future__ import annotations

import atexit
import logging
import random
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from sys import is_finalizing

from fullresult.outage import adoption
from fullresult.outage.breaker import Breaker
from fullresult.outage.flusher_thread import COLLECT, FlusherThread
from fullresult.outage.lines import Count, Frame
from fullresult.outage.load import Load
from fullresult.outage.segment import UNREAD
from fullresult.outage.spool import Spool, SpoolStatus
from fullresult.record import TaskRecord
from fullresult.record.merging import fold
from fullresult.storage import InLine, NoRoom, Refused, Storage, StorageError
from fullresult.storage.forks import notice_fork, watch_forks
from fullresult.storage.threads import ForkGate

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 2.0
_SHARE_OF_A_CROWD, _LONGEST_REST = 25, 30.0
_HELD = 0.1
"""Seconds between two looks at a breaker that stays open for a while although probes succeed."""
_MOST = 500
"""Events in one batch, at most."""
_STRIKES = 10
"""An event is given up when it has failed alone this often, with others written in between."""
PATIENCE = 2.0
"""Seconds that a process spends, as it ends, on events that are not written yet."""


class Flusher:
    """Writes the segments of this process, and then those that dead processes have left.

    Its thread begins with the first event that is kept, and ends when nothing is left to write,
    unless it *lingers* for more. In a worker's main process it stays, and looks for segments of
    dead processes. While the storage does not answer, this thread is the one that asks it.
    """

    def __init__(
        self,
        storage: Storage,
        spool: Spool,
        breaker: Breaker,
        withdraw: Callable[[str], object],
        count: Callable[[Count], None],
        *,
        lingers: bool,
    ) -> None:
        self._storage = storage
        self._spool = spool
        self._adoption = adoption.Adoption(spool)
        self._breaker = breaker
        self._withdraw = withdraw
        self._count = count
        self._lingers = lingers
        self._gate = ForkGate()
        self._said = ""
        self._size = _MOST
        self._written = 0
        self._struck: dict[str, tuple[int, int]] = {}
        self._stays = False
        self._load: Load | None = None
        self._renew()
        watch_forks(self, in_child=Flusher.after_fork_in_child)
        _flushers().add(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._turn = threading.RLock()
        self._thread: FlusherThread | None = None

    def after_fork_in_child(self) -> None:
        """Forget the load and the thread, which are the parent's."""
        if self._load is not None:
            self._load.segment.close()
        if self._stays:
            self._adoption.leave()
        self._load, self._stays = None, False
        self._renew()

    @property
    def directory(self) -> Path:
        return self._spool.directory

    @property
    def is_idle(self) -> bool:
        """True if no event of this process waits."""
        return self._spool.is_idle

    @property
    def files(self) -> int:
        """The number of files of the spool, of all processes of this host."""
        return self._spool.segments

    def keep(self, *frames: Frame) -> bool:
        """Keep *frames*, all or nothing, to be written soon. True if they are kept."""
        if not self._spool.append(*frames):
            return False
        self.wake()
        return True

    def look(self) -> None:
        """Have the thread write the segments of dead processes, if there are any."""
        if self._spool.segments and self._adoption.soon():
            self.wake()

    def status(self) -> SpoolStatus:
        return self._spool.status()

    # ---- the thread

    def wake(self) -> bool:
        """Have the thread look at what there is to write. True if there is a thread."""
        notice_fork()
        if is_finalizing():
            return False
        thread = self._thread or self._begin()
        if thread is None:
            return False
        thread.wake()
        return True

    def stay(self) -> None:
        """Look for segments of dead processes, now and then, until `finish`."""
        self._spool.look_above()
        self._stays = True
        self.wake()

    def _begin(self) -> FlusherThread | None:
        with self._lock:
            if self._thread is not None:
                return self._thread
            self._thread = thread = FlusherThread()
            try:
                thread.start(self._run)
            except RuntimeError:  # the interpreter is about to end
                self._thread = None
            return self._thread

    def finish(self, seconds: float = PATIENCE) -> None:
        """Write what can be written in *seconds*, and end the thread.

        Nothing is written while the storage does not answer: other processes write the rest.
        """
        self._stays = False
        thread = self._thread
        if thread is not None:
            # In an outage it may be asking the storage, for which nothing here need wait.
            thread.end(seconds, unless=lambda: self._breaker.is_open)
            with self._lock:
                if self._thread is thread:
                    self._thread = None
        elif not self._spool.is_idle and not self._breaker.is_open:
            try:
                while not self._spool.is_idle:
                    self._step()
            except Exception as error:  # noqa: BLE001  (a process that ends must not be kept from it)
                self._say(error)
        self._spool.close()

    def _run(self, thread: FlusherThread) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            began = time.monotonic()
            if self._breaker.leaves_probes_to_others and not thread.is_ending:
                thread.rest(_HELD)
                continue
            try:
                wrote = self._step()
            except Exception as error:  # noqa: BLE001  (a thread that ends would write nothing more)
                self._say(error)
                if self._is_over(thread, failed=True):
                    return
                took = time.monotonic() - began
                rest = rest_after(error, took)
                thread.rest(max(pause * random.uniform(0.8, 1.2), rest))  # noqa: S311
                pause = min(pause * 1.5, _LONGEST_PAUSE)
                continue
            pause = _SHORTEST_PAUSE
            if self._is_over(thread, done=wrote is None):
                return
            if wrote is None and self._breaker.is_open:
                thread.rest(_HELD)
            elif wrote is None:
                self._wait(thread)
            elif self._load is None:
                thread.rest(COLLECT)

    def _is_over(self, thread: FlusherThread, *, done: bool = False, failed: bool = False) -> bool:
        """True if the thread has to end, or is *done* and need not stay.

        A thread that has to end does not try again what *failed*: other processes write the rest.
        """
        with self._lock:  # a caller that has just added an event waits here, and finds no thread
            idle = self._spool.is_idle and self._load is None and not self._breaker.is_open
            if thread.is_ending:
                over = idle or failed or self._breaker.is_open
            else:
                over = done and idle and not (self._stays or self._lingers)
            if over and self._thread is thread:
                self._thread = None
            return over

    def _wait(self, thread: FlusherThread) -> None:
        """Wait until an event is added, or until it is time to look for segments of the dead."""
        if self._stays or self._lingers:
            thread.wait(adoption.LOOK_EVERY if self._stays else None)

    def _say(self, error: Exception) -> None:
        # The breaker has logged that the storage does not answer.
        if not isinstance(error, StorageError) and self._said != str(error):
            self._said = str(error)
            logger.error("fullresult: %s waits: %s", self._spool.directory, error, exc_info=error)

    # ---- one batch

    def flush(self, advance: Callable[[int], None] | None = None) -> int:
        """Write all events that no living process owns. Returns how many. Raises `StorageError`.

        *advance* is called with the number of each batch.
        """
        total = 0
        self._spool.read_again()
        self._adoption.soon()
        while (wrote := self._step()) is not None:
            total += wrote
            if advance is not None:
                advance(wrote)
        return total

    def _step(self) -> int | None:
        """Write one batch. Returns its size, None if there is nothing."""
        with self._turn:  # `flush` may be called beside the thread
            load = self._load or self._next()
            if load is None:
                if self._breaker.is_open:
                    self._breaker.probe(self._storage.now)
                return None
            wrote = self._write_some(load)
            self._finish_load(load)
            return wrote

    def _finish_load(self, load: Load) -> None:
        if load.is_written:
            self._load = None
            self._spool.done(load.segment, keep=load.unreadable > 0)

    def _next(self) -> Load | None:
        # Else a child could inherit a file, and with it the lock, of which it does not know.
        with self._gate:
            self._load = self._open_load()
        return self._load

    def _open_load(self) -> Load | None:
        segment = self._spool.take() or self._adoption.segment()
        if segment is None:
            return None
        load = Load(segment)
        if load.unreadable:
            logger.error(
                "fullresult: %d lines of %s cannot be read; the file is kept as %s, and "
                "`fullresult spool flush` of the version that wrote it reads it again",
                load.unreadable,
                segment.path,
                segment.path.with_suffix(UNREAD).name,
            )
        return load

    def _write_some(self, load: Load) -> int:
        while load.withdrawals:
            withdrawal = load.withdrawals[0]
            self._breaker.probe(partial(self._withdraw, withdrawal.schedule_id))
            load.withdrawals.popleft()
        # One event is enough to see if the storage answers, and costs the tasks less than many.
        size = self._size if self._breaker.answers else 1
        batch = [load.events[place] for place in range(min(size, len(load.events)))]
        if batch:
            self._write_batch(load, batch)
        elif load.counts:
            self._count(load.counts[0])
            load.counts.popleft()
            return 1
        return len(batch)

    def _write_batch(self, load: Load, batch: list[TaskRecord]) -> None:
        try:
            self._breaker.probe(lambda: self._storage.write(fold(batch)))
        except Refused:
            self._write_each(load, len(batch))
        except StorageError:
            if len(batch) == 1:
                self._set_aside(load)
            else:
                self._size = len(batch) // 2
            raise
        else:
            for _ in batch:
                load.events.popleft()
            self._wrote(len(batch))

    def _wrote(self, number: int) -> None:
        self._written += number
        if number >= self._size:  # a smaller batch does not show that a full one would succeed
            self._size = min(self._size * 2, _MOST)

    def _write_each(self, load: Load, number: int) -> None:
        """Write the events of a refused batch one by one, without those that are refused alone."""
        for _ in range(number):
            event = load.events[0]
            try:
                self._breaker.probe(partial(self._storage.write, (event,)))
                self._wrote(1)
            except Refused as error:
                logger.error(  # noqa: TRY400  (the message says it all)
                    "fullresult: an event was not recorded: task %s: %s", event.task_id, error
                )
            load.events.popleft()

    def _set_aside(self, load: Load) -> None:
        """Put the first event, which failed alone, behind all others; in the end give it up."""
        event = load.events[0]
        if len(self._struck) > _MOST:
            self._struck.clear()
        times, then = self._struck.get(event.task_id, (0, -1))
        if self._written > then:
            times += 1
        self._struck[event.task_id] = times, self._written
        if times > _STRIKES:
            logger.error(
                "fullresult: task %s: an event was not recorded: the storage fails with it each "
                "time, and takes others",
                event.task_id,
            )
            load.events.popleft()
            del self._struck[event.task_id]
        elif len(load.events) > 1:
            load.events.rotate(-1)
        elif self._spool.append(event):  # behind all other segments
            load.events.popleft()
            self._finish_load(load)


def rest_after(error: Exception, took: float) -> float:
    """The seconds for which nothing is asked after an *error* that took so long to come.

    To find no room takes a connection, too, for as long: of 60 processes two or three do at a time.
    """
    if isinstance(error, NoRoom) and not isinstance(error, InLine):
        return min(took * _SHARE_OF_A_CROWD, _LONGEST_REST)
    return took / 2


def finish_all(seconds: float = PATIENCE) -> None:
    """Have every flusher of this process, which is about to end, write what it can."""
    deadline = time.monotonic() + seconds
    for flusher in list(_flushers()):
        flusher.finish(max(deadline - time.monotonic(), 0.1))


@cache
def _flushers() -> weakref.WeakSet[Flusher]:
    """The flushers of this process, held weakly: a registration at exit is for its whole life."""
    flushers: weakref.WeakSet[Flusher] = weakref.WeakSet()
    atexit.register(finish_all)
    return flushers
