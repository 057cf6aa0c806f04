"""The sweeper: claims what is due, sends it, and marks it sent; once, in a loop or in a thread."""

from __future__ import annotations

import logging
import random
import threading
import time
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from fullresult.record import encoding
from fullresult.record.schedule import ScheduleQuery
from fullresult.record.stamps import attempt_in
from fullresult.scheduling.batch import Batch, Swept
from fullresult.scheduling.claim_term import Term, TermOver
from fullresult.scheduling.lease import Lease
from fullresult.scheduling.rest import Rest
from fullresult.scheduling.revoked_results import store_revoked
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.scheduling.sender import (
    UNSURE,
    BrokerDown,
    QueueRefused,
    Sender,
    Unconfirmed,
    Unsendable,
)
from fullresult.scheduling.side_thread import SideThread
from fullresult.scheduling.upkeep import Upkeep
from fullresult.storage import StorageError
from fullresult.storage.clock import AskTime, plainly
from fullresult.storage.threads import Stop, begin

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings
    from fullresult.scheduling.replay_governor import Governor
    from fullresult.storage import ScheduleStorage

logger = logging.getLogger(__name__)

_CLAIM = 0.05
"""Seconds that it should take to send the tasks of one claim.

A crash leaves at most three claims to mend: this one, the one before, and the next one, which is
made meanwhile.
"""
_AHEAD = 1.0
"""Seconds after which a batch that was claimed ahead is given back, not sent."""
_FIRST_CLAIM = 10
_LOG_EVERY = 60.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


def _log(error: Exception) -> None:
    expected = isinstance(error, (StorageError, BrokerDown))
    logger.error("fullresult: the sweeper waits: %s", error, exc_info=None if expected else error)


class Sweeper:
    """Sends each due task of one app's namespace, at most once, until it is stopped.

    Any number of sweepers may work side by side, in any processes. `run` sleeps until the next
    schedule is due, at most for `fullresult_sweep_interval`.
    """

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        storage: ScheduleStorage,
        ask: AskTime = plainly,
        governor: Governor | None = None,
    ) -> None:
        self._app = app
        self._storage = storage
        self._settings = settings
        self._events = ScheduleEvents(settings)
        self._sender = Sender(app)
        self._stop = Stop()
        self._thread: threading.Thread | None = None
        self._size = min(_FIRST_CLAIM, settings.sweep_limit)
        self._unmarked: list[Batch] = []
        self._next: Batch | None = None
        self._smooth = False
        """True if all of the last batch was sent, so that the next may be claimed ahead."""
        self._side = SideThread()
        self._unanswered: str | None = None
        self._upkeep = Upkeep(settings, storage)
        self._governor = governor
        self._lease = Lease(storage, settings.namespace, ask)
        self._rest = Rest(settings, storage, self._lease, self._stop)
        self._refusal: QueueRefused | None = None
        self._logged = -_LOG_EVERY
        self.swept = Swept()
        """The sum of all that it did."""

    # ---- the loop

    def start(self) -> None:
        """Run in a thread of this process."""
        self._thread = threading.Thread(target=self.run, name="fullresult-sweeper", daemon=True)
        begin(self._thread)

    def stop(self) -> None:
        """Let `run` return after the message it is sending. Safe in threads and signal handlers."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread to have stopped, at most *timeout* seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def run(self) -> None:
        """Sweep until `stop` is called. An outage is logged once, and waited for."""
        pause = _SHORTEST_PAUSE
        while not self._stop.is_set():
            try:
                if not self._is_to_sweep():
                    pause = self._recovered(pause)
                    self._rest.end()
                    self._rest.sleep(self._lease.pause)
                    continue
                swept = self._step()
                if self._refusal is not None and not swept.sent:
                    self._rest.sleep(self._refused_for(self._refusal))
                elif not swept.claimed:
                    self._lease.is_done()
                    self._rest.until_due(self._is_to_sweep)
                else:
                    self._rest.swept()
                pause = self._recovered(pause)
            except Exception as error:  # noqa: BLE001  (a sweeper that ends would send nothing more)
                if pause == _SHORTEST_PAUSE:  # logged once
                    _log(error)
                self._rest.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
                pause = min(pause * 2, _LONGEST_PAUSE)
        self._rest.end()
        self.close()

    def _is_to_sweep(self) -> bool:
        """True if no other sweeper does. If one does, what this one had is marked before."""
        if self._lease.sweeps():
            return True
        self._give_back_next()
        self._mark_what_was_sent()
        return False

    def _step(self) -> Swept:
        self._do_chores()
        return self._batch(self._size, ahead=True)

    def _do_chores(self) -> None:
        self._upkeep.do(self._mark_what_was_sent)  # or upkeep might rescue it
        if self._governor is not None:
            self._governor.step()

    def _refused_for(self, refusal: QueueRefused) -> float:
        """Seconds until a queue that refused its messages is tried again."""
        now = time.monotonic()
        if now - self._logged >= _LOG_EVERY:
            logger.error("fullresult: the due tasks of a queue wait: %s", refusal)
            self._logged = now
        return _SHORTEST_PAUSE * random.uniform(0.8, 1.2)  # noqa: S311

    def _recovered(self, pause: float) -> float:
        if pause > _SHORTEST_PAUSE:
            logger.warning("fullresult: the sweeper goes on")
        return _SHORTEST_PAUSE

    # ---- one sweep

    def sweep(self, limit: int | None = None) -> Swept:
        """Send what is due now, at most *limit*. Returns what was done.

        Claims a few at a time, and commits each claim before it sends. Raises `StorageError` if
        the storage fails, and `BrokerDown` if the broker does. Each claimed task is then sent and
        marked, or given back, or left claimed if it may have been sent.
        """
        self._do_chores()
        swept = Swept()
        while not self._stop.is_set() and (limit is None or swept.claimed < limit):
            left = self._size if limit is None else min(self._size, limit - swept.claimed)
            some = self._batch(left, ahead=limit is None)
            swept += some
            if self._refusal is not None and not some.sent:
                raise BrokerDown(str(self._refusal)) from self._refusal
            if not some.claimed:
                break
        self._give_back_next()
        self._mark_what_was_sent()
        return swept

    def _batch(self, size: int, *, ahead: bool) -> Swept:
        """Claim up to *size* due tasks, or take those claimed ahead, and send them.

        They are marked then, or while the next batch is sent. With *ahead*, that one is claimed
        meanwhile.
        """
        if not self._may_wait():
            self._mark_what_was_sent()
        self._get_ready()
        batch = self._take_next() or self._claim(size)
        self._refusal = None
        if batch is None:
            self._mark_what_was_sent()
            return Swept()
        more = self._size if ahead and batch.full and self._smooth and self._sender.confirms else 0
        sent = False
        try:
            if self._unmarked or more:
                self._side.start(partial(self._meanwhile, more))
            self._send_all(batch)
            sent = True
        finally:
            self._side.join()
            self._smooth = sent and batch.is_plain
            if not self._smooth:
                self._give_back_next()
            self._unmarked.append(batch)
            if not (batch.full and self._sender.confirms and self._may_wait()):
                self._mark_what_was_sent()
            self.swept += batch.done
        return batch.done

    def _claim(self, size: int) -> Batch | None:
        term = Term(self._storage.now, self._settings.rescue_after)
        now, claim = self._storage.now(), uuid4().hex
        self._unanswered = claim
        schedules = self._storage.claim_due(self._settings.namespace, now, claim, size)
        self._unanswered = None
        if not schedules:
            return None
        return Batch(claim, now, term, schedules, full=len(schedules) >= size)

    def _get_ready(self) -> None:
        """Connect before the claim, so that nothing is claimed while the broker is away."""
        try:
            self._sender.ready()
        except BrokerDown:
            self._give_back_next()
            self._mark_what_was_sent()
            raise

    def _meanwhile(self, more: int) -> None:
        """Mark the batch before and claim the next one. Runs in the side thread."""
        while self._unmarked:
            self._unmarked[0].mark(self._storage)
            self._unmarked.pop(0)
        if more and not self._stop.is_set():
            self._next = self._claim(more)

    def _take_next(self) -> Batch | None:
        """The batch that was claimed ahead; None if there is none, or if it is too old."""
        batch = self._next
        if batch is not None and batch.term.age > _AHEAD:
            self._give_back_next()
            self._mark_what_was_sent()
            return None
        self._next = None
        return batch

    def _give_back_next(self) -> None:
        """Have the batch claimed ahead given back when the batches before it are marked."""
        batch, self._next = self._next, None
        if batch is not None:
            self._unmarked.append(batch)

    def _may_wait(self) -> bool:
        """True if sent batches may be marked later: at most one waits, and it was sent whole."""
        return self._unanswered is None and (
            not self._unmarked or (len(self._unmarked) == 1 and self._unmarked[0].is_plain)
        )

    def _send_all(self, batch: Batch) -> None:
        count, began = len(batch.waiting), time.monotonic()
        while batch.waiting:
            if self._stop.is_set() and time.monotonic() - began > _CLAIM * 10:
                break  # the rest is given back
            try:
                self._send_one(batch)
            except TermOver:
                break
        self._pace(count - len(batch.waiting), time.monotonic() - began)
        self._refusal = next(iter(batch.refusals.values()), None)

    def _send_one(self, batch: Batch) -> None:
        schedule = batch.waiting[0]
        if schedule.queue in batch.refusals:
            batch.refused.append(batch.waiting.pop(0))
            return
        try:
            # If this is interrupted, the rest of the batch is given back, but not this one.
            stored = self._sender.read(schedule)
            if self._sender.send(schedule, batch.at, batch.term, stored):
                batch.sent += 1
                batch.events += self._events.sent(schedule, attempt_in(stored.headers))
            else:
                batch.expired += 1
                batch.events.append(self._events.ended(schedule, "expired"))
                batch.ended.append(schedule)
            batch.closed.append(schedule)
        except QueueRefused as error:
            # The other queues may be well, and do not wait for this one.
            batch.refusals[schedule.queue] = error
            batch.refused.append(schedule)
        except (BrokerDown, TermOver, StorageError):
            raise  # it stays in `waiting`, and is given back with the others
        except (Unsendable, Unconfirmed) as error:
            batch.set_aside(schedule, str(error))
            if isinstance(error, Unconfirmed):
                batch.waiting.pop(0)
                raise BrokerDown(str(error)) from error
        except Exception as error:
            # Whatever it is, only a person may send this one again.
            logger.exception("fullresult: task %s was not sent", schedule.task_id)
            batch.set_aside(schedule, encoding.safe_str(error))
        except BaseException:
            batch.set_aside(schedule, f"{UNSURE}: its sweeper was interrupted")
            batch.waiting.pop(0)
            raise
        batch.waiting.pop(0)

    def _mark_what_was_sent(self) -> None:
        """Mark the sent schedules and give back the others.

        Raises `StorageError`, and goes on where it stopped when it is called again.
        """
        self._give_back_unanswered()
        while self._unmarked:
            try:
                self._unmarked[0].mark(self._storage)
            except StorageError:
                raise
            except Exception:
                logger.exception("fullresult: what was just sent stays claimed")
                self._unmarked[0].leave_claimed()
                continue
            self._store_expired(self._unmarked.pop(0))

    def _store_expired(self, batch: Batch) -> None:
        """Store REVOKED as the result of each task that had expired."""
        while batch.ended:
            # A backend that does not answer takes long: the other results are not stored.
            if not store_revoked(self._app, batch.ended.pop(), "expired"):
                batch.ended = []

    def _give_back_unanswered(self) -> None:
        """Release a claim to which the storage did not answer. None of its tasks was sent."""
        claim = self._unanswered
        if claim is None:
            return
        query = ScheduleQuery(namespace=self._settings.namespace, claimed=True, limit=None)
        try:
            found = self._storage.find_schedules(query)
        except StorageError:
            raise
        except Exception:
            logger.exception("fullresult: what was just claimed stays so, unsent")
            found = []
        if ids := [schedule.schedule_id for schedule in found if schedule.claim == claim]:
            self._storage.release(ids, claim)
        self._unanswered = None

    def _pace(self, sent: int, took: float) -> None:
        """Set the size of the next claim to the number of tasks that are sent in `_CLAIM`."""
        if sent:
            possible = sent / max(took, 1e-6) * _CLAIM
            self._size = int(min(max(possible, 1), self._size * 2, self._settings.sweep_limit))

    def close(self) -> None:
        """Close the connection. Sent schedules that cannot be marked stay claimed."""
        self._give_back_next()
        try:
            self._mark_what_was_sent()
        except Exception as error:  # noqa: BLE001  (the connection is to be closed)
            logger.error("fullresult: tasks that were just sent stay claimed: %s", error)  # noqa: TRY400
        self._sender.close()
