"""A worker's card: what it says of itself, so that it can be asked about when it is gone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
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
    paused: tuple[str, ...] = ()
    """The queues it was told to consume and does not, because they are paused."""
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
        """The card in *text*. What is no card of this version is left out, value by value."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return cls()
        given = found if isinstance(found, dict) else {}
        read = {name: _READ[name](given[name]) for name in _READ if name in given}
        return cls(**{name: value for name, value in read.items() if value is not None})


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...] | None:
    return tuple(e for e in value if isinstance(e, str)) if isinstance(value, list) else None


def _mapping(value: object) -> dict[str, str] | None:
    given = value.items() if isinstance(value, dict) else None
    return None if given is None else {k: v for k, v in given if isinstance(v, str)}


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: object) -> float | None:
    """A number; None also for one that is as good as endless."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < _ENDLESS else None  # type: ignore[arg-type]


_ENDLESS = 1e10
"""Seconds: three centuries."""
_READ: Mapping[str, Callable[[object], Any]] = {
    "queues": _texts,
    "paused": _texts,
    "pool": _text,
    "processes": _whole,
    "prefetch": _whole,
    "acks_late": _flag,
    "accept_content": _texts,
    "time_limit": _seconds,
    "visibility_timeout": _seconds,
    "namespace": _text,
    "versions": _mapping,
    "host": _text,
    "pid": _whole,
    "release": _text,
    "sweeps": _flag,
    "clock_ahead": _seconds,
}
"""How each value of a card is read."""


def names_text(registered: Registered) -> str:
    """*registered* as JSON: the same text for the same tasks."""
    return json.dumps(registered, sort_keys=True, separators=(",", ":"))


def names_id_of(text: str) -> str:
    """The id of a list of names with this text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def options_in(text: str) -> dict[str, dict[str, Any]]:
    """The options of each task in a list of names; none for what is no such list."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    given = found.items() if isinstance(found, dict) else ()
    return {name: options for name, options in given if isinstance(options, dict)}
