"""What workers and the broker say now: the answers, and who asks for them.

Questions are asked elsewhere, for nothing here can reach the broker.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import Any, NamedTuple, Protocol

COMMAND = "fullresult_explain"
"""The name of the inspect command."""
PAUSING = "fullresult_pausing"
"""The name of the command by which workers hear at once of a pause, and of its end."""


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
    spooled: int = 0
    """Files of events of its host that are not written to the storage yet."""
    held: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By id, how it has a task: `as` is `running`, `reserved`, `eta` or `limited`."""
    revoked: frozenset[str] = frozenset()
    """The ids that it will drop."""

    @classmethod
    def of(cls, worker: str, said: Mapping[str, Any]) -> Answer:
        """The answer that *worker* sent. What is not of the type it should have is left out."""
        return cls(
            worker=worker,
            worker_id=_text(said.get("worker_id")),
            at=_seconds(said.get("at")),
            queues=tuple(filter(None, map(_text, _items(said.get("queues"))))),
            pool=_text(said.get("pool")),
            processes=_count(said.get("processes")) or None,
            running=tuple(filter(None, map(_running, _items(said.get("running"))))),
            running_count=_count(said.get("running_count")),
            reserved_count=_count(said.get("reserved_count")),
            eta_count=_count(said.get("eta_count")),
            spooled=_count(said.get("spooled")),
            held=_held(said.get("held")),
            revoked=frozenset(filter(None, map(_text, _items(said.get("revoked"))))),
        )


_ITEMS = 10_000
"""Items of a list that are taken from an answer."""
_LATEST = 253_402_000_000.0
"""Seconds since 1970 at the end of the year 9999."""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _items(value: object) -> Sequence[Any]:
    return value[:_ITEMS] if isinstance(value, (list, tuple)) else ()


def _seconds(value: object) -> float:
    """A time; 0 for what is none."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < _LATEST else 0.0  # type: ignore[operator,arg-type]


def _count(value: object) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 <= value < _LATEST else 0  # type: ignore[operator,return-value]


def _running(value: object) -> Running | None:
    task_id, name, since = (*_items(value), None, None, None)[:3]
    known = isinstance(task_id, str) and isinstance(name, str)
    return Running(task_id, name, _seconds(since)) if known else None


def _held(value: object) -> dict[str, Mapping[str, Any]]:
    given = value if isinstance(value, Mapping) else {}
    read = {key: _has(has) for key, has in islice(given.items(), _ITEMS) if isinstance(key, str)}
    return {key: has for key, has in read.items() if has is not None}


def _has(value: object) -> dict[str, Any] | None:
    """How a worker has a task; None if that is not one of the ways that are known."""
    given = value if isinstance(value, Mapping) else {}
    how = _text(given.get("as"))
    if how not in ("running", "reserved", "eta", "limited"):
        return None
    known = {"as": how, "since": _seconds(given.get("since")), "ahead": _count(given.get("ahead"))}
    return {**known, "eta": _date(given.get("eta")), "rate": _text(given.get("rate"))}


def _date(value: object) -> datetime | None:
    try:
        read = datetime.fromisoformat(_text(value).replace("Z", "+00:00"))
        return read.astimezone(timezone.utc) if read.tzinfo else read.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        return None


class WorkersNow(NamedTuple):
    """The answers of workers."""

    answers: tuple[Answer, ...]
    strangers: tuple[str, ...] = ()
    """The workers that answered that they do not know the question: they lack `FullResult`."""
    problem: str | None = None
    """Why none could be asked."""
    failed: tuple[str, ...] = ()
    """The workers that know the question, and answered with an error."""


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
    looked: int | None = None
    """The number of messages that were looked through for it, the first to be taken first."""
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

        Waits until all *expected* workers have answered, or about a second; a node name that
        several share is there as often. *seek* is a task to look for in the queues.
        """
        ...

    def queues(self, names: Collection[str]) -> tuple[QueueNow, ...]:
        """Ask the broker alone about the queues *names*."""
        ...
