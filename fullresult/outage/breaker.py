"""A circuit breaker: after one failure no call waits for the storage until a probe succeeds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from sys import is_finalizing
from typing import TypeVar

from fullresult.outage.notice import Notice
from fullresult.record.interruptions import interruption_behind
from fullresult.storage import NoRoom, Refused, StorageError, notice_fork, watch_forks

logger = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")
Keep = Callable[[], bool]
"""Keeps an event that was not written. True if that was possible."""

_SHORTEST = 1.0
_LONGEST = 60.0
_CALM = 5.0
"""An outage that begins less than 5 seconds after another counts as its continuation."""
_SLOW = 0.5
"""Seconds without an answer after which an interrupted call counts as a failed one."""
_HOLD = 1.0
_LONGEST_HOLD = 8.0
_PROBE_COST = 10
"""The pause before a probe is at least 10 times as long as the failed call took."""
_LOOK = 0.1
"""Seconds between two looks for the notice of another process."""
_TRUST = 5.0
"""Seconds for which a notice of another process spares this one a probe of its own."""
_DISTRUST = 60.0
"""Seconds for which notices are ignored after one that stood while the storage answered here."""


class Breaker:
    """Lets calls through to a storage while it answers.

    A call that fails opens the breaker, and further calls are skipped at once. Now and then one
    call is let through as a probe: the longer the failed call took, the more rarely. With `watch`
    another thread probes instead. A breaker that opens again soon after it closed then stays open
    for a while although probes succeed, so that a storage that comes and goes delays few calls.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._renew()
        self._open_until: float | None = None
        self._closed_at = float("-inf")
        self._hold = self._held_until = 0.0
        self.answers = True
        """True if the last call had an answer, also while the breaker is held open."""
        self.failures = 0
        """The number of calls that the storage did not answer."""
        self._kept = self._lost = 0
        self._watch: Callable[[], bool] | None = None
        self._place: object = None
        self._notice: Notice | None = None
        self._looked = self._heard = self._distrusted_until = float("-inf")
        self._told_at: float | None = None
        """When a notice opened it; None if a call here had no answer."""
        watch_forks(self, in_child=Breaker._renew)

    def _renew(self) -> None:
        # Re-entrant, for a signal handler may publish.
        self._lock = threading.RLock()

    def watched(
        self, watch: Callable[[], bool], place: object, notice: Notice | None = None
    ) -> None:
        """Let no call through while the breaker is open and *watch* answers that a thread probes.

        Events are kept in *place* meanwhile. By *notice* the processes of a host tell each other.
        """
        self._watch, self._place, self._notice = watch, place, notice

    @property
    def is_open(self) -> bool:
        """True if the storage is not asked."""
        return self._open_until is not None

    @property
    def leaves_probes_to_others(self) -> bool:
        """True if another process has just found that the storage does not answer."""
        if self._told_at is None or self._notice is None:
            return False
        now = self._monotonic()
        return now - self._told_at < _TRUST and self._notice.read(now) is not None

    def call(self, do: Callable[[], T], otherwise: T, keep: Keep | None = None) -> T:
        """`do()`; *otherwise* if the storage does not answer or is not asked.

        In that case *keep* is called, to keep the event for later.
        """
        notice_fork()
        if self._is_not_to_be_asked():
            self._missed(keep)
            return otherwise
        began = self._monotonic()
        answer, heard = self._try(do, otherwise, began, keep)
        if heard:
            self._answered()
        return answer

    def ask(self, do: Callable[[], T]) -> T:
        """`do()`. Raises its `StorageError`, or one at once if the storage is not asked."""
        if is_finalizing():
            raise StorageError("the storage is not asked any more, for the interpreter ends")
        if self._is_shut() and not self.answers and not self._may_probe():
            raise StorageError("the storage did not answer a moment ago, and is asked again later")
        return self.probe(do)

    def probe(self, do: Callable[[], T]) -> T:
        """`do()`, even while the breaker is open. Raises its `StorageError`."""
        notice_fork()
        began = self._monotonic()
        try:
            answer = do()
        except Refused:
            self._answered()
            raise
        except StorageError as error:
            self._raise_interruption(error, began)
            self._failed(error, self._monotonic() - began)
            raise
        except BaseException as error:
            self._interrupted(error, self._monotonic() - began)
            raise
        self._answered()
        return answer

    def watch_for_silence(self, do: Callable[[], T]) -> T:
        """`do()`, even while the breaker is open, which an error opens and an answer leaves as is.

        For threads whose questions a storage may answer while it takes no events.
        """
        began = self._monotonic()
        try:
            return do()
        except Refused:
            raise
        except StorageError as error:
            self._failed(error, self._monotonic() - began)
            raise

    def overlap(
        self, begin: Callable[[], Callable[[], object]], keep: Keep | None = None
    ) -> Callable[[], None]:
        """Call *begin*, and return a function that calls the answer of *begin* to end the call.

        Only the end says if the storage answers. *keep* is as for `call`.
        """
        if self._is_not_to_be_asked():
            self._missed(keep)
            return _nothing
        began = self._monotonic()
        end, _ = self._try(begin, None, began, keep)
        if end is None:
            return _nothing
        took = self._monotonic() - began

        def finish() -> None:
            # The time between the halves, which the caller gave its broker, is not the storage's.
            _, heard = self._try(end, None, self._monotonic() - took, keep)
            if heard:
                self._answered()

        return finish

    def note(self, *, kept: bool) -> None:
        """Count an event that was not written while the breaker is open."""
        if self._open_until is not None:
            if kept:
                self._kept += 1
            else:
                self._lost += 1

    def _is_not_to_be_asked(self) -> bool:
        # At the interpreter's end a driver may be half gone, or wait for a thread that cannot be.
        return is_finalizing() or (self._is_shut() and not self._may_probe())

    def _is_shut(self) -> bool:
        """True if the breaker is open, also because a notice of another process says so."""
        if self._open_until is None and self._notice is not None:
            self._look(self._notice)
        return self._open_until is not None

    def _look(self, notice: Notice) -> None:
        now = self._monotonic()
        if now - self._looked < _LOOK or now < self._distrusted_until:
            return
        self._looked = now
        away = notice.read(now)
        # An answer since then is newer than what the other process knows.
        if away is None or self._heard > away.since:
            return
        with self._lock:
            if self._open_until is not None:
                return
            self._open_until, self._told_at = now + _SHORTEST, now
            self.answers = False
            self._held_until = now
        logger.warning(
            "fullresult: another process had no answer from the storage; events are kept in %s "
            "until there is",
            self._place,
        )

    def _missed(self, keep: Keep | None) -> None:
        kept = keep is not None and keep()
        self.note(kept=kept)
        if not kept and is_finalizing():
            logger.error("fullresult: an event was not recorded, for the interpreter ends")

    def _try(
        self, do: Callable[[], T], otherwise: U, began: float, keep: Keep | None
    ) -> tuple[T | U, bool]:
        """`do()` or *otherwise*, and True if the storage had an answer."""
        try:
            return do(), True
        except Refused as error:
            # Without the traceback, of which only the message helps.
            logger.error("fullresult: an event was not recorded: %s", error)  # noqa: TRY400
            return otherwise, True
        except StorageError as error:
            self._raise_interruption(error, began, keep)
            self._failed(error, self._monotonic() - began)
            self._missed(keep)
            return otherwise, False
        except BaseException as error:
            self._interrupted(error, self._monotonic() - began)
            if keep is not None:
                keep()  # it may be written already: twice does no harm
            raise

    def _raise_interruption(
        self, error: StorageError, began: float, keep: Keep | None = None
    ) -> None:
        """Raise what was meant for the caller, if *error* is a driver's word for that."""
        if (cause := interruption_behind(error)) is None:
            return
        self._interrupted(cause, self._monotonic() - began)
        if keep is not None:
            keep()
        raise cause

    def _interrupted(self, error: BaseException, after: float) -> None:
        """A call was interrupted; if it had no answer for long, the next one is not to wait."""
        if after >= _SLOW:
            name = type(error).__name__
            self._failed(StorageError(f"no answer for {after:.1f} s, until {name}"), after)
        else:
            self._cut_short()

    def _cut_short(self) -> None:
        """A probe was interrupted: another is due."""
        with self._lock:
            if self._open_until is not None:
                self._open_until = self._monotonic() + _SHORTEST

    def _answered(self) -> None:
        self._heard = self._monotonic()
        if self._open_until is not None:
            self._recovered()

    def _may_probe(self) -> bool:
        if self._watch is not None and self._watch():
            return False
        with self._lock:
            now = self._monotonic()
            if self._open_until is None:
                return True
            if now < self._open_until:
                return False
            # Only this caller probes. Other calls are skipped until it has an answer.
            self._open_until = now + _LONGEST
            return True

    def _failed(self, error: StorageError, took: float) -> None:
        with self._lock:
            was_open, now = self._open_until is not None, self._monotonic()
            pause = min(max(_SHORTEST, took * _PROBE_COST), _LONGEST)
            self._open_until = now + pause
            self._told_at = None
            self.answers = False
            self.failures += 1
            if not was_open:
                again = now - self._closed_at < _CALM
                self._hold = min(max(self._hold * 2, _HOLD), _LONGEST_HOLD) if again else 0.0
                self._held_until = now + self._hold
        if self._notice is not None and not isinstance(error, NoRoom):  # others may have some
            self._notice.post(now, took)
        if was_open:
            return
        if self._watch is None:
            logger.warning(
                "fullresult: no answer from the storage; tasks go on unrecorded until there is: %s",
                error,
            )
        else:
            logger.warning(
                "fullresult: no answer from the storage; events are kept in %s until there is: %s",
                self._place,
                error,
            )

    def _recovered(self) -> None:
        with self._lock:
            now = self._monotonic()
            self.answers = True
            if self._open_until is None or (self._watch is not None and now < self._held_until):
                return
            kept, lost = self._kept, self._lost
            self._kept = self._lost = 0
            self._open_until, self._closed_at = None, now
            told, self._told_at = self._told_at is not None, None
        self._take_down(now, told=told)
        if self._watch is None:
            logger.warning("fullresult: the storage answers again; %d events were lost", lost)
        else:
            logger.warning(
                "fullresult: the storage answers again; %d events were kept, and are written now; "
                "%d were lost",
                kept,
                lost,
            )

    def _take_down(self, now: float, *, told: bool) -> None:
        """Have the other processes ask the storage again."""
        if self._notice is not None:
            if told and self._notice.read(now) is not None:
                # Either the storage is back, or it is only away for the one that posted it.
                self._distrusted_until = now + _DISTRUST
            self._notice.take_down()


def _nothing() -> None:
    pass
