"""The fields of a `TaskQuery` as keywords, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict


class TaskFilters(TypedDict, total=False):
    """Which tasks: each as the field of `TaskQuery` with its name."""

    state: str | Collection[str] | None
    task_ids: Collection[str] | None
    name: str | None
    queue: str | None
    worker: str | None
    root_id: str | None
    group_id: str | None
    retry_of: str | None
    fingerprint: str | None
    exception: str | None
    unresolved: bool | None
    since: datetime | None
    until: datetime | None
    text: str | None
    args: Sequence[Any] | None
    args_at: Mapping[int | str, Any] | None
    kwargs: Mapping[str, Any] | None
    moved_before: datetime | None
    open: bool | None
    not_state: Collection[str]
    order: Literal["newest", "oldest"]


class PageOfTasks(TaskFilters, total=False):
    """The same, and which page of them."""

    limit: int | None
    after: str | None
