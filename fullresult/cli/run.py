"""The same done to many tasks, one after the other, whatever becomes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from kombu.exceptions import OperationalError

from fullresult.cli.audited import Log
from fullresult.cli.errors import Failure
from fullresult.cli.progress import progress
from fullresult.cli.terminal import one_line, say
from fullresult.cli.words import count_of
from fullresult.encoding import safe_str
from fullresult.storage import StorageError

T = TypeVar("T")

_BROKER_ERRORS = 3
"""So many in a row, and nobody waits for the broker any longer."""


class Verb(NamedTuple):
    """How to speak of what is done: `Sending`, `sent`."""

    doing: str
    done: str


class NotDone(Exception):
    """One of them could not be done; the message says why."""


@contextmanager
def sending(task_id: str) -> Iterator[None]:
    """Raises `NotDone`, saying why, where this task could not be sent; lets a `StorageError` go."""
    from fullresult.resend import CannotResend

    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        # Any other lookup that fails does so in a broker's library, which may raise anything.
        if isinstance(error, CannotResend) or type(error) is LookupError:
            raise NotDone(safe_str(error)) from error
        raise NotDone(f"task {task_id}: the broker did not take it: {safe_str(error)}") from error


@dataclass
class Run:
    """What was done, and what was not."""

    verb: Verb
    log: Log
    done: dict[str, str] = field(default_factory=dict)
    """What to print of each, by the id it ended with."""
    failures: list[str] = field(default_factory=list)
    broker_errors: int = 0
    """In a row."""

    def each(self, items: Iterable[T], number: int, do: Callable[[T], tuple[str, str]]) -> None:
        """*do* each of the *number* of *items*; it answers an id and what to print of it.

        Where it raises `NotDone` the others go on.
        """
        if not number:
            return
        try:
            with progress(number, self.verb.doing) as advance:
                for item in items:
                    self._do(item, do)
                    if self.broker_errors >= _BROKER_ERRORS:
                        break
                    advance(1)
        finally:
            # Also those done before somebody lost patience.
            for line in self.done.values():
                say(line)
            self.log.flush()

    def _do(self, item: T, do: Callable[[T], tuple[str, str]]) -> None:
        try:
            new, line = do(item)
        except NotDone as error:
            self.broker_errors += _is_of_broker(error)
            self.failures.append(safe_str(error))
        else:
            self.broker_errors = 0
            self.done[new] = line

    def report(self) -> None:
        """Raises `Failure` where not all was done."""
        for reason in self.failures:
            say(one_line(reason), err=True)
        done = f"{self.verb.done} {len(self.done):,}"
        if self.broker_errors >= _BROKER_ERRORS:
            raise Failure(f"the broker does not answer; {done}, and gave up")
        if self.failures:
            raise Failure(f"{done}; {count_of(len(self.failures))} could not be {self.verb.done}")


def _is_of_broker(error: BaseException) -> bool:
    """Whether it, or what it came of, says that the broker does not answer."""
    from fullresult.sending import BrokerDown

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OperationalError, OSError, BrokerDown)):
            return True
        cause = cause.__cause__
    return False
