"""A worker's card: what it says of itself, so that it can be asked about when it is gone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple

Registered = Mapping[str, Mapping[str, Any]]
"""The tasks that a worker knows by name, each with those options that are not Celery's defaults."""


class WorkerCard(NamedTuple):
    """The card of one life of a worker, as a storage keeps it."""

    worker_id: str
    date_written: datetime
    """When its content last changed."""
    names_id: str
    """Names the list of the tasks that it knows, which workers of one code share."""
    text: str
    """The `Card` as JSON."""

    @property
    def card(self) -> Card:
        return Card.of(self.text)


@dataclass(frozen=True)
class Card:
    """What a worker says of itself. A value that it did not know is empty or None."""

    queues: tuple[str, ...] = ()
    """The queues it consumes now."""
    pool: str = ""
    """`prefork`, `solo`, `threads`, `gevent`, …"""
    processes: int | None = None
    """The number of tasks that it runs at once."""
    prefetch: int | None = None
    """The number of messages that it takes at most, running ones among them; 0: no bound."""
    acks_late: bool = False
    """`task_acks_late`. A task's own option is in the list of names."""
    accept_content: tuple[str, ...] = ()
    time_limit: float | None = None
    """`task_time_limit` or `--time-limit`, or else the soft one, in seconds."""
    visibility_timeout: float | None = None
    """Seconds after which the broker delivers again what is not acknowledged; None: never."""
    namespace: str = ""
    """Its broker, as `fullresult_namespace` names it."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of `python`, `celery`, `kombu` and `fullresult`."""
    host: str = ""
    pid: int | None = None
    release: str | None = None
    """`fullresult_release`."""
    sweeps: bool = False
    """True if it sends scheduled tasks."""
    clock_ahead: float = 0.0
    """Seconds by which its clock is ahead of the storage's."""

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> Card:
        """The card in *text*. What a newer version added is left out; no JSON is an empty card."""
        try:
            found = json.loads(text)
        except ValueError:
            return cls()
        known = {each.name for each in fields(cls)}
        given = {name: value for name, value in found.items() if name in known}
        for name in ("queues", "accept_content"):
            given[name] = tuple(given.get(name) or ())
        return cls(**given)


def names_text(registered: Registered) -> str:
    """*registered* as JSON: the same text for the same tasks."""
    return json.dumps(registered, sort_keys=True, separators=(",", ":"))


def names_id_of(text: str) -> str:
    """The id of a list of names with this text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
