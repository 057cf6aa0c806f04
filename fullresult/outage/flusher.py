"""Writing what the spool holds into the storage: by a thread, or at once for a person."""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from fullresult.outage.breaker import Breaker
from fullresult.outage.directory import directory_of
from fullresult.outage.flusher_thread import COLLECT, FlusherThread
from fullresult.outage.lines import Count, Frame
from fullresult.outage.load import Load
from fullresult.outage.spool import Spool, SpoolStatus
from fullresult.record import TaskRecord
from fullresult.record.merging import fold
from fullresult.storage import Refused, ScheduleStorage, Storage, StorageError
from fullresult.storage.threads import ForkGate

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings

logger = logging.getLogger(__name__)

_LOOK_EVERY = 3.0
"""Seconds between two looks for what dead processes have left."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 2.0
_HELD = 0.1
"""Seconds between two looks whether a breaker closes that stays open for a while by itself."""
_MOST = 500
"""Events written at once."""
_STRIKES = 10
"""How often an event may fail by itself, others being written in between, until it is given up."""
PATIENCE = 2.0
"""Seconds that a process waits, as it ends, for what it has not written."""


class Flusher:
    """Writes what one spool holds, its own process's first, then what dead ones have left.

    Its thread begins with the first event that is kept, and ends when there is nothing to do,
    unless it *lingers* for more; in a worker's main process it stays, and looks for what others
    leave. While the storage does not answer, it is who asks whether it does.
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
        _flushers().add(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._thread: FlusherThread | None = None

    def after_fork_in_child(self) -> None:
        """The load is the parent's, and so is the thread."""
        if self._load is not None:
            self._load.segment.close()
        self._load, self._stays = None, False
        self._renew()

    @property
    def directory(self) -> Path:
        return self._spool.directory

    @property
    def is_idle(self) -> bool:
        """Whether nothing of this process waits."""
        return self._spool.is_idle

    def keep(self, *what: Frame) -> bool:
        """Keep *what*, all or nothing, to be written as soon as that can be; whether it is kept."""
        if not self._spool.append(*what):
            return False
        self.wake()
        return True

    def look(self) -> None:
        """Have the thread see to what others have left, if there is anything."""
        if self._spool.has_any:
            self.wake()

    def status(self) -> SpoolStatus:
        return self._spool.status()

    # ---- the thread

    def wake(self) -> bool:
        """Have the thread look at what there is; whether there is one that will."""
        thread = self._thread or self._begin()
        if thread is None:
            return False
        thread.wake()
        return True

    def stay(self) -> None:
        """Look for what dead processes have left, now and then, until `finish`."""
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
        """Write what can be written in so many seconds, and end the thread.

        Not while the storage does not answer: what remains is for other processes.
        """
        self._stays = False
        thread = self._thread
        if thread is not None:
            thread.end(seconds)
            with self._lock:
                if self._thread is thread:
                    self._thread = None
        elif not self._spool.is_idle and not self._breaker.is_open:
            try:
                while not self._spool.is_idle:
                    self._step()
            except Exception as error:  # noqa: BLE001  (who ends is not to be kept from it)
                self._say(error)

    def _run(self, thread: FlusherThread) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            began = time.monotonic()
            try:
                wrote = self._step()
            except Exception as error:  # noqa: BLE001  (a thread that ends writes nothing more)
                self._say(error)
                if self._is_over(thread, failed=True):
                    return
                # Some of the time there must be nothing that a fork would wait for.
                took = time.monotonic() - began
                thread.rest(max(pause * random.uniform(0.8, 1.2), took / 2))  # noqa: S311
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
        """Whether the thread has to end, or is *done* and need not stay.

        One that has to end and *failed* does not try again: what remains is for other processes.
        """
        with self._lock:  # who has just added something waits here, and then finds no thread
            idle = self._spool.is_idle and self._load is None and not self._breaker.is_open
            if thread.is_ending:
                over = idle or failed or self._breaker.is_open
            else:
                over = done and idle and not (self._stays or self._lingers)
            if over and self._thread is thread:
                self._thread = None
            return over

    def _wait(self, thread: FlusherThread) -> None:
        """Until something is added, or it is time to look at what others left."""
        if self._stays or self._lingers:
            thread.wait(_LOOK_EVERY if self._stays else None)

    def _say(self, error: Exception) -> None:
        # That the storage does not answer, the breaker has said.
        if not isinstance(error, StorageError) and self._said != str(error):
            self._said = str(error)
            logger.error("fullresult: %s waits: %s", self._spool.directory, error, exc_info=error)

    # ---- one batch

    def flush(self, advance: Callable[[int], None] | None = None) -> int:
        """Write all that can be had, and return how many events. Raises `StorageError`.

        *advance* is told of each batch how many it had.
        """
        total = 0
        while (wrote := self._step()) is not None:
            total += wrote
            if advance is not None:
                advance(wrote)
        return total

    def _step(self) -> int | None:
        """Write one batch, for which a fork waits; returns of how many, None if there is none."""
        with self._gate:
            load = self._load or self._next()
            if load is None:
                if self._breaker.is_open:
                    self._breaker.probe(self._storage.now)
                return None
            self._load = load
            wrote = self._write_some(load)
            self._finish_load(load)
            return wrote

    def _finish_load(self, load: Load) -> None:
        if load.is_written:
            self._load = None
            self._spool.done(load.segment)

    def _next(self) -> Load | None:
        segment = self._spool.take() or self._spool.adopt()
        if segment is None:
            return None
        load = Load(segment)
        if load.unreadable:
            logger.error(
                "fullresult: %d lines of %s cannot be read, and are skipped",
                load.unreadable,
                segment.path,
            )
        return load

    def _write_some(self, load: Load) -> int:
        while load.withdrawals:
            withdrawal = load.withdrawals[0]
            self._breaker.probe(partial(self._withdraw, withdrawal.schedule_id))
            load.withdrawals.popleft()
        # Whether it answers, one event asks as well as many, and costs tasks less.
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
        if number >= self._size:  # one event says nothing of many
            self._size = min(self._size * 2, _MOST)

    def _write_each(self, load: Load, number: int) -> None:
        """Leave out what is refused by itself."""
        for _ in range(number):
            event = load.events[0]
            try:
                self._breaker.probe(partial(self._storage.write, (event,)))
                self._wrote(1)
            except Refused as error:
                logger.error(  # noqa: TRY400  (of the traceback only the message helps)
                    "fullresult: an event was not recorded: task %s: %s", event.task_id, error
                )
            load.events.popleft()

    def _set_aside(self, load: Load) -> None:
        """Let all others go before the first event, which failed alone; in the end without it."""
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
        elif self._spool.append(event):  # behind what else there is
            load.events.popleft()
            self._finish_load(load)


def flusher_of(
    app: Celery, settings: Settings, storage: Storage, breaker: Breaker
) -> Flusher | None:
    """What keeps and writes later the events of *app*; None where it is to have no spool."""
    try:
        directory = directory_of(settings)
    except LookupError as error:
        logger.warning("fullresult: what a storage does not take is lost: there is %s", error)
        return None
    if directory is None:
        return None
    reference = weakref.ref(app)  # a thread that runs on must not keep it

    def withdraw(schedule_id: str) -> None:
        if isinstance(storage, ScheduleStorage):
            storage.withdraw(schedule_id)

    def count(what: Count) -> None:
        backend = getattr(reference(), "backend", None)
        count_later = getattr(backend, "count_later", None)
        if count_later is None:
            logger.error(
                "fullresult: chord %s goes on without %s: results are kept elsewhere now",
                *(what.chord_id, what.member),
            )
            return
        try:
            count_later(what)
        except StorageError:
            raise
        except Exception:
            logger.exception("fullresult: the body of chord %s is not sent", what.chord_id)

    spool = Spool(directory, settings.spool_size)
    lingers = settings.write_mode == "spooled"
    flusher = Flusher(storage, spool, breaker, withdraw, count, lingers=lingers)
    breaker.watched(flusher.wake, directory)
    return flusher


def finish_all(seconds: float = PATIENCE) -> None:
    """Have every flusher of this process write what it can: it is about to end."""
    deadline = time.monotonic() + seconds
    for flusher in list(_flushers()):
        flusher.finish(max(deadline - time.monotonic(), 0.1))


@cache
def _flushers() -> weakref.WeakSet[Flusher]:
    """Those of this process. What is registered stays so for good."""
    flushers: weakref.WeakSet[Flusher] = weakref.WeakSet()

    def forked() -> None:
        for flusher in list(flushers):
            flusher.after_fork_in_child()

    os.register_at_fork(after_in_child=forked)
    atexit.register(finish_all)
    return flushers
