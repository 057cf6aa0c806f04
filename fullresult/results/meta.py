"""A record as Celery's result API shows it: the meta of a result backend."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from celery import states
from celery.exceptions import BackendGetMetaError

from fullresult.record import (
    IGNORED,
    NOT_RUN,
    PENDING,
    RETRY,
    SCHEDULED,
    SCHEDULED_SENT,
    STARTED,
    UNSENT,
    Stored,
    TaskRecord,
)
from fullresult.record.stamps import CUSTOM_STATE, RANK, rank_in
from fullresult.recording.outcomes import MOST_CHILDREN, first_children

Meta = dict[str, Any]

_VALUES = frozenset({None, "json", "text"})
"""The forms of a result that are the value; the others are texts for people."""
_WAITING = frozenset({PENDING, SCHEDULED, SCHEDULED_SENT, UNSENT})


class NotKept(Meta):
    """The meta of a task whose result was not kept as a value; an error stands in its place.

    It is false, so that `AsyncResult.get()` asks the backend, which raises the error. It does not
    raise by itself: the results that follow in a chain look at it as well.
    """

    def __init__(self, known: Meta) -> None:
        task_id = known["task_id"]
        why = (
            f"task {task_id} ended as {known['status']}, but its result was not kept as a value: "
            f"its record has a text of it for people"
        )
        super().__init__(known, result=BackendGetMetaError(why, task_id=task_id))

    def __bool__(self) -> bool:
        return False


def state_of(record: TaskRecord) -> str:
    """The state in Celery's words: what waits is PENDING, or RETRY once it has run.

    What never ran because another task failed is FAILURE.
    """
    if record.state == NOT_RUN:
        return str(states.FAILURE)
    if record.state not in _WAITING:
        return record.state
    return RETRY if record.retries else PENDING


def goes_on_as(record: TaskRecord) -> str | None:
    """The id under which the task runs, if that is another one."""
    if record.state != SCHEDULED_SENT or not isinstance(record.result, Mapping):
        return None
    new_id = record.result.get("new_task_id")
    return new_id if isinstance(new_id, str) else None


def stored_of(record: TaskRecord) -> Stored | None:
    """The value stored for the state that is shown; None for a value stored before it."""
    stored, outcome = record.stored, record.outcome
    if stored is None or outcome is None:
        return None
    if stored.stamp == outcome.stamp:
        return stored
    rank = rank_in(stored.stamp)
    waits_again = outcome.state in _WAITING and rank == RANK[RETRY]
    gave_up = outcome.state == IGNORED and rank == CUSTOM_STATE
    return stored if waits_again or gave_up else None


def has_result(record: TaskRecord, state: str) -> bool:
    """False if `result_of` would answer with a text in place of the value."""
    told_otherwise = state in states.EXCEPTION_STATES or state in (STARTED, PENDING, RETRY)
    return told_otherwise or record.result_form in _VALUES


def result_of(record: TaskRecord, state: str) -> Any:
    """The result where the backend was not given one: as the record tells it."""
    if state in states.EXCEPTION_STATES:
        return _exception(record)
    if state == STARTED:
        return {"hostname": record.worker}
    return record.result if state not in (PENDING, RETRY) else None


def _exception(record: TaskRecord) -> Meta:
    """As Celery's JSON has it. The arguments are not known, but for what they read like."""
    kind, message = record.exception_type, record.exception_message
    if kind is None and record.executions:
        last = record.executions[-1]
        kind, message = last.exception_type, last.exception_message
    module, _, name = (kind or "Exception").rpartition(".")
    return {
        "exc_type": name,
        "exc_module": module or "builtins",
        "exc_message": [] if message is None else [message],
    }


def details_of(record: TaskRecord, *, extended: bool) -> Meta:
    """The rest of Celery's meta; with the arguments if *extended* (`result_extended`)."""
    details: Meta = {
        "traceback": record.traceback,
        "date_done": record.date_done,
        "name": record.name,
        "worker": record.worker,
        "retries": record.retries,
        "queue": record.queue,
    }
    if record.group_id:
        details["group_id"] = record.group_id
    if record.parent_id:
        details["parent_id"] = record.parent_id
    if extended:
        details |= {"args": record.args, "kwargs": record.kwargs, **record.stamps}
        details["stamped_headers"] = sorted(record.stamps)
    return details


def children_of(record: TaskRecord) -> list[Any] | None:
    """The tasks it published, as Celery's tuples."""
    if record.outcome is None or record.outcome.children is None:
        return None
    known = json.loads(record.outcome.children)
    return [_tuple(child) for child in known if not isinstance(child, int)]


def bounded_children(children: Collection[Any]) -> Collection[Any]:
    """*children*, Celery's tuples, without parents and but for the first if they are very many.

    The parent of a chord's body has all members of its header.
    """
    if sum(map(_size, children)) <= MOST_CHILDREN:
        return children
    first, _ = first_children(children, lambda child: child[1], _without_parent)
    return first


def _size(child: Any) -> int:
    (_, parent), members = child
    return 1 + (_size(parent) if parent else 0) + sum(map(_size, members or ()))


def _without_parent(child: Any, members: list[Any] | None) -> Any:
    return (child[0][0], None), members


def _tuple(child: Any) -> Any:
    if isinstance(child, str):
        return [[child, None], None]
    group_id, members = child
    return [[group_id, None], [_tuple(member) for member in members]]
