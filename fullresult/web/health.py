"""Health: asks if the storage answers, however many strangers want to know."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from fullresult.storage import StorageError
from fullresult.web.turns import Turns

logger = logging.getLogger(__name__)

_FRESH = 1.0
"""Seconds for which one answer is given to everyone."""


class Health:
    """Calls *ask* once a second at most, and never twice at a time."""

    def __init__(
        self, ask: Callable[[], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._turns = Turns(1)
        self._known: tuple[float, bool] | None = None
        """(when it was asked, whether it answered)."""

    async def answers(self) -> bool:
        return await self._turns.run(self._answers)

    def _answers(self) -> bool:
        if self._known is None or self._clock() >= self._known[0] + _FRESH:
            answered = self._asked()
            self._known = self._clock(), answered
        return self._known[1]

    def _asked(self) -> bool:
        try:
            self._ask()
        except StorageError as error:
            logger.warning("fullresult: the storage does not answer: %s", error)
            return False
        return True
