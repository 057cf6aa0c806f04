"""The exceptions that say why something was not done, to a caller or about one task of many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kombu.exceptions import OperationalError

from fullresult.record.encoding import safe_str
from fullresult.scheduling.sender import BrokerDown
from fullresult.storage import StorageError


class CannotResend(Exception):
    """What was recorded is not enough to send the task again; the message says what is missing."""


class NotDone(Exception):
    """The action failed for one task; the message says why."""

    @property
    def is_of_broker(self) -> bool:
        """True if it comes of a broker that does not answer."""
        cause: BaseException | None = self
        while cause is not None:
            if isinstance(cause, (OperationalError, OSError, BrokerDown)):
                return True
            cause = cause.__cause__
        return False


class LeftAlone(NotDone):
    """One task is spared on purpose, and nothing failed."""

    def __init__(self, task_id: str, why: str) -> None:
        super().__init__(f"task {task_id} is left alone: {why}")
        self.why = why


@contextmanager
def sending(task_id: str) -> Iterator[None]:
    """Turn what sending this task raises into `NotDone`; a `StorageError` goes on."""
    try:
        yield
    except (StorageError, NotDone):
        raise
    except Exception as error:
        # Any other lookup that fails does so in a broker's library, which may raise anything.
        if isinstance(error, CannotResend) or type(error) is LookupError:
            raise NotDone(safe_str(error)) from error
        raise NotDone(f"task {task_id}: the broker did not take it: {safe_str(error)}") from error
