"""A replay: a batch of re-sends that goes on by itself, and the tasks that it took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, NamedTuple
from uuid import NAMESPACE_OID, uuid5

from fullresult.record import encoding
from fullresult.record.query import TaskQuery
from fullresult.record.schedule import Schedule
from fullresult.record.task import TaskRecord

CANARY, RUNNING, PAUSED, STOPPED = "CANARY", "RUNNING", "PAUSED", "STOPPED"
CANCELLED, DONE, UNDONE = "CANCELLED", "DONE", "UNDONE"
OF_CANARY = "canary: "
"""The reason begins so if the canary itself had it wait, stop, or go on."""
ACTIVE = (CANARY, RUNNING)
"""The states in which a replay takes more tasks."""
REPLAY_OVER = (CANCELLED, DONE, UNDONE)
HELD = (PAUSED, STOPPED)
"""The states that it may be resumed from."""

_DATE = "\x00date"


@dataclass(frozen=True)
class Replay:
    """A replay as a storage keeps it. A change of it is a new value with the next `version`."""

    replay_id: str
    namespace: str
    state: str
    date_created: datetime
    version: int = 1
    query: Mapping[str, Any] = field(default_factory=dict)
    """The filter with its times frozen, as `frozen` made it."""
    rate: float = 20.0
    """Tasks a second."""
    canary: int = 0
    """The number of tasks after which it waits for their ends; 0: for none."""
    canary_wait: float = 600.0
    """Seconds after which it is paused if they have not all ended."""
    ratio: float | None = None
    """It stops when more than this part of what has ended failed; None: never."""
    minimum: int = 1
    """The number of ends from which the ratio counts."""
    queue: str | None = None
    name: str | None = None
    actor: str = ""
    reason: str = ""
    """Why it is in its state, and who put it there."""
    cursor: str | None = None
    """Where the walk through what the filter matches has come to."""
    exhausted: bool = False
    """True if the walk has come to its end."""
    taken: int = 0
    """The number of tasks that were taken to be sent."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """The number of tasks that were not, by the reason."""
    next_due: datetime | None = None
    """When the next one is due, unless that is past."""
    canary_since: datetime | None = None
    """When the last of the canary was taken."""
    watched_from: int = 0
    """The position of the first task whose end counts: of those before it, a person knew."""
    ended: Mapping[str, int] = field(default_factory=dict)
    """By `cancel` and `undo`, the position before which a part that ran out of time left tasks."""
    may_run: int = 0
    """The number of tasks that an undo could not revoke, as not all workers confirmed it."""

    @property
    def about(self) -> str:
        """All but what a storage keeps in fields of its own, as JSON."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps({k: _as_json(v) for k, v in known.items() if k not in _OWN})

    @classmethod
    def of(
        cls, replay_id: str, namespace: str, state: str, created: datetime, version: int, about: str
    ) -> Replay:
        """The replay of a storage's fields. Fields of newer versions are left out."""
        told = {k: _from_json(v) for k, v in json.loads(about).items()}
        known = {each.name: told[each.name] for each in fields(cls) if each.name in told}
        return cls(replay_id, namespace, state, created, version, **known)

    @property
    def tasks(self) -> TaskQuery:
        """The filter, from where the walk has come to. Raises `ValueError` if it is unreadable."""
        return thawed(self.query, after=self.cursor)

    @property
    def filters(self) -> dict[str, Any]:
        """The filter as it is kept, with its dates as such; also one of a newer version."""
        return {name: _from_json(value) for name, value in self.query.items()}

    def new_id(self, task_id: str) -> str:
        """The id under which this replay sends a task: always the same."""
        return str(uuid5(self._names, task_id))

    def schedule_id(self, task_id: str) -> str:
        return uuid5(self._names, f"schedule {task_id}").hex

    @property
    def _names(self) -> Any:
        return uuid5(NAMESPACE_OID, f"fullresult replay {self.replay_id}")


_OWN = frozenset({"replay_id", "namespace", "state", "date_created", "version"})


class Taking(NamedTuple):
    """A task that a replay takes: the schedule that sends it again, and the events of both."""

    task_id: str
    """The old one's."""
    position: int
    """Its place among those that the replay took, from 0."""
    schedule: Schedule
    events: tuple[TaskRecord, ...]
    """The first is the new task's."""


class ReplayCounts(NamedTuple):
    """What became of the tasks that a replay took last."""

    counted: int
    waiting: int
    """Those that no sweeper has claimed."""
    claimed: int
    ended: dict[str, int]
    """The number of the others that have ended, by state."""


class Replayed(NamedTuple):
    """A task that a replay took."""

    task_id: str
    position: int
    new_id: str
    schedule_id: str


def frozen(query: TaskQuery, until: datetime) -> dict[str, Any]:
    """*query* as JSON values, of nothing created at *until* or later; its page is left out."""
    query = query.created_before(until)
    return {
        each.name: _as_json(getattr(query, each.name))
        for each in fields(query)
        if each.name not in _PAGE and getattr(query, each.name) != each.default
    }


_PAGE = frozenset({"limit", "after", "order"})


def thawed(query: Mapping[str, Any], after: str | None = None, limit: int = 100) -> TaskQuery:
    """The query of `frozen`, the oldest first. Raises `ValueError` if there is more in it.

    A filter of a newer version must not be read as one that matches more.
    """
    known = {each.name for each in fields(TaskQuery)}
    if unknown := sorted(set(query) - known):
        raise ValueError(f"a newer version made this filter: {unknown[0]}")
    given = {name: _from_json(value) for name, value in query.items()}
    return TaskQuery(**given, order="oldest", after=after, limit=limit)


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return {_DATE: value.astimezone(timezone.utc).isoformat()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    if value is not None and not isinstance(value, (str, int, float, bool, list, Mapping)):
        return encoding.safe_str(value)
    # Places of arguments may be numbers, which keys of JSON are not.
    return {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {_DATE}:
        return datetime.fromisoformat(value[_DATE])
    return value
