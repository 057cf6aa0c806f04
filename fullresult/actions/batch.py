"""What somebody asked for, task by task, and why it could not be done to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kombu.exceptions import OperationalError

from fullresult.record.encoding import safe_str
from fullresult.storage import StorageError

BROKER_ERRORS = 3
"""So many in a row, and nobody waits for the broker any longer."""


class NotDone(Exception):
    """One of them could not be done; the message says why."""

    @property
    def is_of_broker(self) -> bool:
        """Whether what it came of says that the broker does not answer."""
        from fullresult.scheduling.sender import BrokerDown

        cause: BaseException | None = self
        while cause is not None:
            if isinstance(cause, (OperationalError, OSError, BrokerDown)):
                return True
            cause = cause.__cause__
        return False


@contextmanager
def sending(task_id: str) -> Iterator[None]:
    """Raises `NotDone`, saying why, where this task could not be sent; lets a `StorageError` go."""
    from fullresult.actions.resend import CannotResend

    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        # Any other lookup that fails does so in a broker's library, which may raise anything.
        if isinstance(error, CannotResend) or type(error) is LookupError:
            raise NotDone(safe_str(error)) from error
        raise NotDone(f"task {task_id}: the broker did not take it: {safe_str(error)}") from error
