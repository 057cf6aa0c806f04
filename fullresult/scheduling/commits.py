"""News of commits into the outbox, for a sweeper that rests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fullresult.storage import OutboxStorage, RestingListener, StorageError
from fullresult.storage.threads import Stop, begin

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.storage import CommitListener

logger = logging.getLogger(__name__)

_OFTEN, _AWAKE = 0.02, 0.25
"""After a commit a sweeper looks so often, for so long, in seconds: more may follow."""
_AWAKE_UNTOLD = 0.06
"""The same where writers are to give no notice while they are many, and where each is heard of
sooner than by looking."""
_PATIENT = 10.0
"""Seconds for which it looks so often on behalf of a transaction that is open and tells nothing."""
_ASK = 0.5
"""Seconds after which a listener that heard nothing looks if it is to end."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Commits:
    """Wakes one sweeper, by *wake*, when something was committed into the outbox.

    It only shortens pauses: a sweeper finds all that is due without it.
    """

    def __init__(
        self,
        settings: Settings,
        storage: Any,
        wake: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage if settings.outbox and isinstance(storage, OutboxStorage) else None
        self._namespace = settings.namespace
        self._hears = settings.outbox_wake == "notify"
        self._poll = settings.outbox_poll.total_seconds()
        self._wake = wake
        self._awake, self._awake_until = _AWAKE, 0.0
        self._is_told = False
        self._is_deaf = False
        self._rests = False
        """True if each commit from now on is heard of."""
        self._is_to_rest = False
        self._now = now
        self._refused_for, self._refused_until = 0.0, 0.0
        self._thread: threading.Thread | None = None
        self._end = Stop()

    @property
    def pause(self) -> float | None:
        """Seconds after which to look, whatever else; None where a commit makes itself known."""
        if self._storage is None:
            return None
        if time.monotonic() < self._awake_until:
            return _OFTEN
        listens = self._thread is not None and self._thread.is_alive()
        if not listens or self._is_deaf:
            return self._poll
        if self._rests:
            return None
        self._is_to_rest = True
        return _OFTEN if time.monotonic() < self._awake_until + _PATIENT else self._poll

    def came(self) -> None:
        """There was a commit: more may follow."""
        if self._storage is not None:
            self._is_to_rest = False
            self._awake_until = time.monotonic() + self._awake

    def listen(self) -> None:
        """Begin to listen, in a thread of its own. A storage that cannot tell is polled."""
        if self._storage is None or self._thread is not None or not self._hears:
            return
        listener = self._storage.listener(self._namespace)
        if listener is None:
            self._hears = False
            return
        end, self._rests = Stop(), False
        thread = threading.Thread(
            target=self._listen, args=(listener, end), name="fullresult-commits", daemon=True
        )
        try:
            begin(thread)
        except RuntimeError:  # there can be no more threads, now
            return
        self._thread, self._end = thread, end

    def _tell(self) -> None:
        self.came()
        if not self._is_told:  # however many come while the sweeper is busy
            self._is_told = True
            self._wake()

    def heard(self) -> None:
        """The sweeper looks now: a later commit is to wake it again."""
        self._is_told = False

    def stop(self) -> None:
        """Listen no more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._end.set()
            thread.join()

    def _may_rest(self, listener: RestingListener) -> bool:
        """Ask for it; while transactions that are open refuse it, less and less often."""
        if self._now() < self._refused_until:
            return False
        rests = listener.rest()
        self._refused_for = 0.0 if rests else min(max(self._refused_for * 2, _OFTEN), _ASK)
        self._refused_until = self._now() + self._refused_for
        return rests

    def _listen(self, listener: CommitListener, end: Stop) -> None:
        pause = _SHORTEST_PAUSE
        resting = listener if isinstance(listener, RestingListener) else None
        self._rests = resting is None
        self._awake = _AWAKE if resting is None else _AWAKE_UNTOLD
        while not end.is_set():
            try:
                if resting and self._is_to_rest and not self._rests and self._may_rest(resting):
                    self._rests = True
                    self._wake()  # for what was committed before
                elif listener.wait(_ASK):
                    self._rests = resting is None
                    self._tell()
                pause, self._is_deaf = _SHORTEST_PAUSE, False
            except StorageError as error:
                if pause == _SHORTEST_PAUSE:  # logged once
                    logger.warning(
                        "fullresult: commits are not heard of, but looked for: %s", error
                    )
                self._is_deaf, self._rests = True, resting is None
                end.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception:
                logger.exception("fullresult: commits are not heard of, but looked for")
                break
        listener.close()
