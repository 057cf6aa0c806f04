"""What workers and the broker say now: the answers, and who asks for them.

Questions are asked elsewhere, for nothing here can reach the broker.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

COMMAND = "fullresult_explain"
"""The name of the inspect command."""


class Running(NamedTuple):
    """A task that a worker runs."""

    task_id: str
    name: str
    since: float
    """Seconds since 1970, by the worker's clock; 0: not known."""


@dataclass(frozen=True)
class Answer:
    """What one worker says."""

    worker: str
    """Its node name."""
    worker_id: str = ""
    at: float = 0.0
    """Seconds since 1970, by its clock."""
    queues: tuple[str, ...] = ()
    pool: str = ""
    processes: int | None = None
    running: tuple[Running, ...] = ()
    running_count: int = 0
    reserved_count: int = 0
    """Tasks that it has taken and not begun."""
    eta_count: int = 0
    """Tasks that it holds until their ETA."""
    held: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By id, how it has a task: `as` is `running`, `reserved`, `eta` or `limited`."""
    revoked: frozenset[str] = frozenset()
    """The ids that it will drop."""

    @classmethod
    def of(cls, worker: str, said: Mapping[str, Any]) -> Answer:
        """The answer that *worker* sent."""
        given = {name: value for name, value in said.items() if name in cls.__dataclass_fields__}
        given["queues"] = tuple(given.get("queues", ()))
        given["running"] = tuple(Running(*each) for each in given.get("running", ()))
        given["revoked"] = frozenset(given.get("revoked", ()))
        return cls(worker, **{k: v for k, v in given.items() if k != "worker"})


class WorkersNow(NamedTuple):
    """The answers of workers."""

    answers: tuple[Answer, ...]
    strangers: tuple[str, ...] = ()
    """The workers that answered that they do not know the question: they lack `FullResult`."""
    problem: str | None = None
    """Why none could be asked."""


class QueueNow(NamedTuple):
    """What the broker says of a queue. None: this broker does not say."""

    name: str
    exists: bool | None = None
    ready: int | None = None
    """Messages that no worker has taken."""
    consumers: int | None = None
    oldest_id: str | None = None
    """The id of the task that has waited longest."""
    found: bool | None = None
    """True if the task that was looked for is in the queue; None if not all was looked at."""
    ahead: int | None = None
    """The number of messages before it."""
    taken_at: float | None = None
    """When a worker took it from the broker, which has not heard of it since."""
    again_at: float | None = None
    """When the broker will deliver it again."""
    problem: str | None = None
    """Why the broker could not be asked."""


class Now(NamedTuple):
    """What was answered in time."""

    workers: WorkersNow
    queues: tuple[QueueNow, ...]


class Live(Protocol):
    """Asks workers and the broker, and changes nothing. Raises nothing."""

    def ask(
        self,
        ids: Collection[str],
        expected: Collection[str],
        queues: Collection[str],
        *,
        seek: str | None = None,
    ) -> Now:
        """Ask every worker about the tasks *ids*, and the broker about *queues*.

        Waits until all *expected* workers have answered, or about a second. *seek* is a task to
        look for in the queues.
        """
        ...

    def queues(self, names: Collection[str]) -> tuple[QueueNow, ...]:
        """Ask the broker alone about the queues *names*."""
        ...
