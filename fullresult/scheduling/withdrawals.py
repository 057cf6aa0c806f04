"""Withdrawals: schedules that may have been stored must not be sent."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fullresult.outage.lines import Withdrawal
from fullresult.record import TaskRecord
from fullresult.storage import Refused, ScheduleStorage
from fullresult.storage.threads import begin

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


class Withdrawals:
    """Withdraws schedules from one storage in the background, for as long as it takes.

    If the storage did not answer, the task goes to the broker or its caller gets an error. A
    schedule that was stored after all would then run the task again. A withdrawal is also kept in
    the spool, for a process that comes later; without a spool it ends with this process.
    """

    def __init__(self, storage: ScheduleStorage, keep: Callable[..., bool]) -> None:
        self._storage = storage
        self._keep = keep

    def withdraw(self, schedule_id: str, event: TaskRecord | None = None) -> None:
        """Make sure that *schedule_id* is never claimed, and then write *event*.

        Neither waits nor raises.
        """
        self._keep(Withdrawal(schedule_id), *(() if event is None else (event,)))
        # Not behind the rest of the spool: the schedule may be due in a moment. A thread each is
        # affordable: after the first failure the breaker lets few others begin.
        thread = threading.Thread(
            target=self._work, args=[schedule_id, event], name="fullresult-withdrawal", daemon=True
        )
        with suppress(RuntimeError):  # there can be no more threads: it is in the spool
            begin(thread)

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
            except Exception as error:  # noqa: BLE001  (else it would run twice)
                logger.warning(
                    "fullresult: schedule %s is not yet withdrawn: %s", schedule_id, error
                )
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return
