"""Results of groups: kept as the result backend keeps them, where that is ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from celery import Celery
from celery.result import AsyncResult, GroupResult

from fullresult.results.backend import FullResultBackend


class Group(NamedTuple):
    """A group that was saved."""

    group_id: str
    members: list[Any]
    """Ids, and groups as [group id, [ids]]."""


def save(app: Celery, groups: Iterable[Group]) -> int:
    """Save *groups* in the app's result backend, if that is ours. Returns how many."""
    backend = app.backend
    if not isinstance(backend, FullResultBackend):
        return 0
    number = 0
    for group in groups:
        backend.save_group(group.group_id, _result(app, group))
        number += 1
    return number


def _result(app: Celery, group: Group) -> Any:
    members = [_member(app, member) for member in group.members]
    return GroupResult(group.group_id, members, app=app)


def _member(app: Celery, member: Any) -> Any:
    if isinstance(member, str):
        return AsyncResult(member, app=app)
    return _result(app, Group(member[0], member[1]))
