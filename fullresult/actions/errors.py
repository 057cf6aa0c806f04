"""The exceptions that say why something was not done: to a caller, or for one task of many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kombu.exceptions import OperationalError

from fullresult.record.encoding import safe_str
from fullresult.scheduling.sender import BrokerDown
from fullresult.storage import StorageError


class CannotResend(Exception):
    """The task cannot be sent again; the message says what is missing in its record."""


class NotDone(Exception):
    """The action failed for one task; the message says why."""

    @property
    def is_of_broker(self) -> bool:
        """True if the cause is a broker that does not answer."""
        cause: BaseException | None = self
        while cause is not None:
            if isinstance(cause, (OperationalError, OSError, BrokerDown)):
                return True
            cause = cause.__cause__
        return False


class LeftAlone(NotDone):
    """One task is spared on purpose. Nothing failed."""

    def __init__(self, task_id: str, why: str) -> None:
        super().__init__(f"task {task_id} is left alone: {why}")
        self.why = why


@contextmanager
def sending(task_id: str) -> Iterator[None]:
    """Turn what sending this task raises into `NotDone`, except a `StorageError`."""
    try:
        yield
    except (StorageError, NotDone):
        raise
    except Exception as error:
        # A subclass of LookupError comes from a broker's library, which may raise anything.
        if isinstance(error, CannotResend) or type(error) is LookupError:
            raise NotDone(safe_str(error)) from error
        raise NotDone(f"task {task_id}: the broker did not take it: {safe_str(error)}") from error
