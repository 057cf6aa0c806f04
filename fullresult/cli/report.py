"""The same done to many tasks, one after the other, whatever becomes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from fullresult.actions.batch import BROKER_ERRORS, NotDone
from fullresult.cli.audited import Log
from fullresult.cli.errors import Failure
from fullresult.cli.progress import progress
from fullresult.cli.terminal import say
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of
from fullresult.record.encoding import safe_str

T = TypeVar("T")


class Verb(NamedTuple):
    """How to speak of what is done: `Sending`, `sent`."""

    doing: str
    done: str


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
                    if self.broker_errors >= BROKER_ERRORS:
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
            self.broker_errors += error.is_of_broker
            self.failures.append(safe_str(error))
        else:
            self.broker_errors = 0
            self.done[new] = line

    def report(self) -> None:
        """Raises `Failure` where not all was done."""
        for reason in self.failures:
            say(one_line(reason), err=True)
        done = f"{self.verb.done} {len(self.done):,}"
        if self.broker_errors >= BROKER_ERRORS:
            raise Failure(f"the broker does not answer; {done}, and gave up")
        if self.failures:
            raise Failure(f"{done}; {count_of(len(self.failures))} could not be {self.verb.done}")
