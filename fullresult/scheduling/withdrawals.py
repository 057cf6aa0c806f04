"""Schedules that were perhaps stored and must not be sent: withdrawn as soon as that can be."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from fullresult.outage.lines import Withdrawal
from fullresult.record import TaskRecord
from fullresult.storage import Refused, ScheduleStorage, StorageError

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


class Withdrawals:
    """Withdraws from one storage in the background, for as long as it takes.

    A task whose schedule got no answer goes to the broker, or its caller is told that it failed:
    were the schedule kept after all, the task would run twice. It is also noted in the spool, for
    whoever comes after this process; without one, what it has not withdrawn when it ends is not.
    """

    def __init__(self, storage: ScheduleStorage, keep: Callable[..., bool]) -> None:
        self._storage = storage
        self._keep = keep

    def withdraw(self, schedule_id: str, event: TaskRecord | None = None) -> None:
        """Make sure that *schedule_id* is never claimed, and then write *event*.

        Neither waits nor raises.
        """
        self._keep(Withdrawal(schedule_id), *(() if event is None else (event,)))
        # Not behind what else is in the spool: it may be due in a moment. A thread each: after the
        # first of them the breaker lets few others begin.
        threading.Thread(
            target=self._work, args=[schedule_id, event], name="fullresult-withdrawal", daemon=True
        ).start()

    def _work(self, schedule_id: str, event: TaskRecord | None) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                self._storage.withdraw(schedule_id)
                if event is not None:
                    self._storage.write((event,))
            except Refused as error:
                logger.error("fullresult: an event was not recorded: %s", error)  # noqa: TRY400
                return
            except StorageError as error:
                logger.warning(
                    "fullresult: schedule %s is not yet withdrawn: %s", schedule_id, error
                )
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return
