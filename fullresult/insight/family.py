"""A task among its relatives: the workflow that its root began, and the re-sends of it."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from fullresult.record import TaskRecord
from fullresult.storage import Storage, TaskQuery

MOST = 300
"""Relatives that are read for one page."""
_AGAIN = 50
_DEEPEST = 30


class Kin(NamedTuple):
    """A task in the tree, or the id of a task that is not recorded."""

    task_id: str
    record: TaskRecord | None
    children: tuple[Kin, ...]
    cut: bool = False
    """True if it has children that are not shown, for it stands too deep."""


class Family(NamedTuple):
    """The relatives of one task."""

    roots: tuple[Kin, ...]
    more: bool
    """True if there are more relatives than were read."""
    again: list[TaskRecord]
    """The re-sends of this task, the oldest first."""
    group: list[TaskRecord]
    """The members of its group, itself among them, the oldest first; `MOST` at most."""

    @property
    def size(self) -> int:
        return sum(map(_size, self.roots))


def family_of(storage: Storage, record: TaskRecord) -> Family:
    """The relatives of *record*. Raises `StorageError`."""
    again = storage.find(TaskQuery(retry_of=record.task_id, order="oldest", limit=_AGAIN))
    root_id = record.root_id or record.task_id
    found = storage.find(TaskQuery(root_id=root_id, order="oldest", limit=MOST + 1))
    more = len(found) > MOST
    known = {each.task_id: each for each in found[:MOST]}
    known[record.task_id] = record
    return Family(_forest(known), more, again, _group_of(storage, record))


def _group_of(storage: Storage, record: TaskRecord) -> list[TaskRecord]:
    """Of a group that was not published by a task, each member has a root of its own."""
    if not record.group_id:
        return []
    return storage.find(TaskQuery(group_id=record.group_id, order="oldest", limit=MOST))


def _forest(known: dict[str, TaskRecord]) -> tuple[Kin, ...]:
    below: dict[str, list[str]] = defaultdict(list)
    for record in known.values():
        parent = record.parent_id
        if parent and parent != record.task_id:
            below[parent].append(record.task_id)
    # A parent that is not recorded is shown by its id, above its children.
    tops = [*(parent for parent in below if parent not in known)]
    tops += [r.task_id for r in known.values() if not r.parent_id or r.parent_id == r.task_id]
    seen: set[str] = set()
    trees = [_kin(task_id, known, below, seen, 0) for task_id in tops]
    # By forged headers a task may be its own grandparent: it is shown all the same.
    trees += [_kin(task_id, known, below, seen, 0) for task_id in known if task_id not in seen]
    return tuple(trees)


def _kin(
    task_id: str,
    known: dict[str, TaskRecord],
    below: dict[str, list[str]],
    seen: set[str],
    depth: int,
) -> Kin:
    seen.add(task_id)
    if depth >= _DEEPEST:
        return Kin(task_id, known.get(task_id), (), cut=bool(below.get(task_id)))
    children = [
        _kin(child, known, below, seen, depth + 1)
        for child in below.get(task_id, ())
        if child not in seen
    ]
    return Kin(task_id, known.get(task_id), tuple(children))


def _size(kin: Kin) -> int:
    return 1 + sum(map(_size, kin.children))
