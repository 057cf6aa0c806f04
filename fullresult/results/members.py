"""The names by which a storage knows the members of a chord."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from celery.app.task import Context
from celery.result import GroupResult

from fullresult.record import TaskRecord, encoding

SIZE, RUN = "chord_size", "chord_run"
"""Keys in the body of a chord, which goes with each member: what they know of the chord.

The size is there if it was known before the first member was sent; the run, from the second on.
"""
_ADDED = "+"


class Member(NamedTuple):
    """One member of one run of a chord.

    A task id can be in a header twice, each time with its own place, and a chord that is applied
    again has the same ids in its next run.
    """

    run: int
    place: int | None
    """Where it stands in the header."""
    task_id: str
    """As it is recorded."""

    @property
    def name(self) -> str:
        place = "" if self.place is None else self.place
        return f"{self.run}:{place}:{self.task_id}"


def member_of(request: Context) -> Member:
    """The member that *request* is of."""
    place = request.group_index
    known = place if isinstance(place, int) else None
    return Member(run_of(request.chord), known, encoding.key(str(request.id)))


def run_of(body: Mapping[str, Any]) -> Any:
    """The number of the run of its chord that *body* ends."""
    return body.get(RUN, 1)


def tell(body: Any, key: str, value: int | None) -> None:
    """Have *body*, which goes with each member, say *value*, or nothing of it."""
    body.pop(key, None)
    if value is not None:
        body[key] = value


def keep_told(callback: Any, body: Mapping[str, Any]) -> Any:
    """*callback*, which Celery made of *body*, with what members know of the chord.

    Celery leaves it out of what it makes of a group.
    """
    callback.update({key: body[key] for key in (SIZE, RUN) if key in body})
    return callback


class Told(NamedTuple):
    """What the record of a member tells of it."""

    member: Member
    size: int | None
    """The number of members of its chord; None if it does not know."""


def told_by(record: TaskRecord) -> Told | None:
    """None if it is not that of a member, or has two messages and it is in doubt which one ran."""
    body = record.embed.get("chord")
    if not isinstance(body, Mapping) or record.arguments_in_doubt:
        return None
    if "group_index" not in record.headers:  # by another name it would be counted twice
        return None
    place, run, size = record.headers.get("group_index"), run_of(body), body.get(SIZE)
    if not _is_number(run):
        return None
    member = Member(run, place if isinstance(place, int) else None, record.task_id)
    return Told(member, size if _is_number(size) else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def name_of_added(task_id: str) -> str:
    """The name by which a task that was added is waited for. It is none of a member."""
    return _ADDED + encoding.key(task_id)


def in_order(names: Iterable[str], run: int) -> list[str]:
    """The task ids of the members of a run, in the order of the header."""
    members = (named(name) for name in names if not name.startswith(_ADDED))
    return [member.task_id for member in sorted(members, key=_order) if member.run == run]


def ids_of(names: Iterable[str], run: int) -> set[str]:
    """The task ids of the members of a run."""
    members = (named(name) for name in names if not name.startswith(_ADDED))
    return {member.task_id for member in members if member.run == run}


def named(name: str) -> Member:
    """The member of this `Member.name`."""
    run, place, task_id = name.split(":", 2)
    return Member(int(run), int(place) if place else None, task_id)


def _order(member: Member) -> tuple[float, str]:
    return float("inf") if member.place is None else member.place, member.task_id


def is_nested(results: Iterable[Any]) -> bool:
    """True if a header has groups in it: its results have the same shape."""
    return any(isinstance(each, GroupResult) for each in results)


def ids_in(header: GroupResult) -> list[str]:
    """The task ids of all members of *header*, those of groups in it too, from left to right."""
    ids: list[str] = []
    for each in header.results:
        ids += ids_in(each) if isinstance(each, GroupResult) else [each.id]
    return ids


def shaped(header: GroupResult, returned: Iterable[Any]) -> list[Any]:
    """The values *returned*, in the order of `ids_in`, put into the shape of *header*."""
    values = iter(returned)

    def fill(group: GroupResult) -> list[Any]:
        return [
            fill(each) if isinstance(each, GroupResult) else next(values) for each in group.results
        ]

    return fill(header)
