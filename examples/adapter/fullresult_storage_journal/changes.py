"""A change, which is one line of a journal, and the state that all lines add up to."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from fullresult.record import (
    Entry,
    Message,
    Outcome,
    OwnMessage,
    Schedule,
    Start,
    Stored,
    TaskRecord,
    merge,
)

_PARTS: dict[str, Callable[..., Any]] = {
    "outcome": Outcome,
    "message": Message,
    "start": Start,
    "stored": Stored,
    "own": OwnMessage,
}


class Change(NamedTuple):
    """Everything that is done at once: all of it or nothing."""

    events: Sequence[TaskRecord] = ()
    """To be merged into the records."""
    deleted: Collection[str] = ()
    """The ids of records to delete."""
    kept: Collection[Schedule] = ()
    """New schedules, or new versions of those with the same ids."""
    closed: Collection[str] = ()
    """The ids of schedules to delete."""
    withdrawn: Collection[str] = ()
    """The ids of schedules that must not be kept from now on."""
    swept: Sequence[tuple[str, datetime]] = ()
    """Namespaces, each with the time at which a sweeper of it was at work."""


@dataclass
class State:
    """The sum of all lines of a journal up to a position in it."""

    journal: str
    """The name of the journal it was read from."""
    position: int
    lines: int = 0
    records: dict[str, TaskRecord] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    sweeps: dict[str, datetime] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        for event in change.events:
            known = self.records.get(event.task_id)
            self.records[event.task_id] = event if known is None else merge(known, event)
        for task_id in change.deleted:
            self.records.pop(task_id, None)
        for schedule_id in (*change.closed, *change.withdrawn):
            self.schedules.pop(schedule_id, None)
        self.schedules.update((schedule.schedule_id, schedule) for schedule in change.kept)
        self.withdrawn.update(change.withdrawn)
        self.sweeps.update(change.swept)
        self.lines += 1

    @property
    def size(self) -> int:
        """The number of lines that `changes` takes."""
        return len(self.records) + len(self.schedules) + len(self.withdrawn) + len(self.sweeps)

    def changes(self) -> Iterator[Change]:
        """The shortest journal that adds up to this state."""
        yield from (Change(events=[record]) for record in self.records.values())
        yield from (Change(kept=[schedule]) for schedule in self.schedules.values())
        yield from (Change(withdrawn=[schedule_id]) for schedule_id in self.withdrawn)
        yield from (Change(swept=[sweep]) for sweep in self.sweeps.items())


def dumps(change: Change) -> str:
    """*change* as JSON text, in ASCII and without line breaks."""
    told = {
        **change._asdict(),
        "events": [_record_fields(event) for event in change.events],
        "kept": [_fields(schedule) for schedule in change.kept],
    }
    known = {name: list(value) for name, value in told.items() if value}
    return json.dumps(known, default=_tagged, separators=(",", ":"))


def loads(text: str | bytes) -> Change:
    told = json.loads(text, object_hook=_untagged)
    told["events"] = [_record(fields) for fields in told.get("events", ())]
    told["kept"] = [_named(Schedule, fields) for fields in told.get("kept", ())]
    return Change(**told)


def _record_fields(record: TaskRecord) -> dict[str, Any]:
    told = {name: value for name, value in vars(record).items() if value is not None}
    parts = {name: _fields(told[name]) for name in _PARTS if name in told}
    return told | parts | {"entries": [_fields(entry) for entry in record.entries]}


def _fields(part: Any) -> dict[str, Any]:
    return {name: value for name, value in part._asdict().items() if value is not None}


def _record(fields: dict[str, Any]) -> TaskRecord:
    parts = {name: _named(kind, fields[name]) for name, kind in _PARTS.items() if name in fields}
    entries = tuple(_named(Entry, entry) for entry in fields["entries"])
    return TaskRecord(**{**fields, **parts, "entries": entries})


def _named(kind: Any, fields: dict[str, Any]) -> Any:
    """The named tuple of these fields; a field that the line does not have is None."""
    return kind(**{name: fields.get(name) for name in kind._fields})


def _tagged(value: object) -> dict[str, str]:
    """Dates and bytes, for JSON. All other values in a change are text, numbers and None."""
    if isinstance(value, datetime):
        return {"date": value.isoformat(timespec="milliseconds")}
    if isinstance(value, bytes):
        return {"bytes": b64encode(value).decode()}
    raise TypeError(f"a journal cannot hold {value!r}")


def _untagged(fields: dict[str, Any]) -> Any:
    if fields.keys() == {"date"}:
        return datetime.fromisoformat(fields["date"])
    if fields.keys() == {"bytes"}:
        return b64decode(fields["bytes"])
    return fields
