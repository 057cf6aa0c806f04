"""Signatures as messages have them, plain dicts: their tasks, their ids, where they belong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from fullresult.record import TaskRecord
from fullresult.record.headers import RETRY_OF

Signature = dict[str, Any]
_MEMBERSHIP = frozenset({"chord", "group_id", "group_index", "root_id", "parent_id"})
_OF_RUN = frozenset({"chord_size", "chord_run"})
"""Keys of a body: what a run of the chord knew of itself."""
_IDS = frozenset({"task_id", "group_id"})
_DEEPEST = 100


class TooDeep(ValueError):
    """The signatures are nested more deeply than a canvas of Celery's."""


class Membership(NamedTuple):
    """The chord that a task, or the chain that it is a step of, is a member of."""

    group_id: str
    place: int | None
    """Its place in the header."""
    body: Signature
    last_id: str
    """The task whose result is the member's: the last step of the chain, or the task itself."""


def options_of(signature: Mapping[str, Any]) -> Mapping[str, Any]:
    options = signature.get("options")
    return options if isinstance(options, Mapping) else {}


def steps_of(record: TaskRecord) -> list[Signature]:
    """The later steps of its chain, in their order. A message has the last one first."""
    chain = record.embed.get("chain")
    if not isinstance(chain, list):
        return []
    return [dict(each) for each in reversed(chain) if isinstance(each, Mapping)]


def membership_of(record: TaskRecord) -> Membership | None:
    """The chord that *record*, or the last step of its chain, is a member of; None for none."""
    body, steps = record.embed.get("chord"), steps_of(record)
    if isinstance(body, Mapping) and record.headers.get("group"):
        index = record.headers.get("group_index")
        return _membership(record.headers["group"], index, body, record.task_id)
    options = options_of(steps[-1]) if steps else {}
    body, group_id = options.get("chord"), options.get("group_id")
    if not isinstance(body, Mapping) or not group_id:
        return None
    last_id = str(options.get("task_id") or "")
    return _membership(group_id, options.get("group_index"), body, last_id)


def _membership(group_id: Any, index: Any, body: Mapping[str, Any], last_id: str) -> Membership:
    is_place = isinstance(index, int) and not isinstance(index, bool) and index >= 0
    place = index if is_place else None
    return Membership(str(group_id), place, dict(body), last_id)


def membership_of_body(body: Signature) -> Membership | None:
    """The chord that the *body* of another, or the last step of its chain, is a member of."""
    options = options_of(_last_of(body))
    outer, group_id = options.get("chord"), options.get("group_id")
    if not isinstance(outer, Mapping) or not group_id:
        return None
    last_id = str(options.get("task_id") or "")
    return _membership(group_id, options.get("group_index"), outer, last_id)


def _last_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The last step of *body*, if it is a chain; else *body*."""
    kwargs = body.get("kwargs")
    inner = _list(kwargs.get("tasks")) if isinstance(kwargs, Mapping) else []
    after = _list(options_of(body).get("chain"))
    if after:
        found = after[0]
    elif body.get("subtask_type") == "chain" and inner:
        found = inner[-1]
    else:
        return body
    return found if isinstance(found, Mapping) else body


def steps_after(body: Mapping[str, Any]) -> int:
    """How many steps come after the first task of *body*."""
    kwargs = body.get("kwargs")
    is_chain = body.get("subtask_type") == "chain" and isinstance(kwargs, Mapping)
    inner = _list(kwargs.get("tasks")) if is_chain and isinstance(kwargs, Mapping) else []
    return len(_list(options_of(body).get("chain"))) + len(inner[1:])


def outermost(body: Signature) -> Signature:
    """The body of the outermost chord around the one that ends with *body*."""
    while (outer := membership_of_body(body)) is not None:
        body = outer.body
    return body


def size_of(body: Mapping[str, Any]) -> int | None:
    """The number of members of its chord; None if it does not know."""
    size = body.get("chord_size")
    return size if isinstance(size, int) and not isinstance(size, bool) else None


def is_group(signature: Mapping[str, Any]) -> bool:
    return signature.get("subtask_type") == "group"


def tasks_in(signature: Any, depth: int = 0) -> Iterator[tuple[str, str, int]]:
    """The (id, name, depth) of each task that *signature* would publish, as far as it has an id.

    Errbacks, links and the body of a chord that it is itself a member of are none of them.
    """
    for task, below in _plain(signature, depth):
        yield str(options_of(task)["task_id"]), str(task.get("task")), below


def _plain(signature: Any, depth: int) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The signatures of single tasks in *signature* that have an id, each with its depth."""
    if depth > _DEEPEST:
        raise TooDeep("a signature is nested more than 100 levels deep")
    if not isinstance(signature, Mapping):
        return
    options, kwargs = options_of(signature), signature.get("kwargs")
    kind, inner = signature.get("subtask_type"), kwargs if isinstance(kwargs, Mapping) else {}
    if kind in ("chain", "group"):
        for task in _list(inner.get("tasks")):
            yield from _plain(task, depth + (kind == "group"))
    elif kind == "chord":
        header = inner.get("header")
        tasks = header if isinstance(header, list) else [header]
        for task in tasks:
            yield from _plain(task, depth + 1)
        yield from _plain(inner.get("body"), depth)
    elif options.get("task_id"):
        yield signature, depth
    for task in reversed(_list(options.get("chain"))):
        yield from _plain(task, depth)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def first_id_of(signature: Signature) -> str | None:
    """The id of the first task that *signature* would publish, or of that whose place it takes."""
    for task, _ in _plain(signature, 0):
        headers = options_of(task).get("headers")
        old = headers.get(RETRY_OF) if isinstance(headers, Mapping) else None
        return str(old or options_of(task)["task_id"])
    return None


def alone(signature: Signature) -> Signature:
    """*signature* as a member of nothing."""
    options = {k: v for k, v in options_of(signature).items() if k not in _MEMBERSHIP}
    return {**signature, "options": options}


def body_alone(body: Signature) -> Signature:
    """The *body* of a chord, of no other chord, and without what a run of its own knew of itself.

    If it is a chain, its last step is in no other chord either.
    """
    options = {k: v for k, v in options_of(body).items() if k not in ("root_id", "parent_id")}
    found = {**{k: v for k, v in body.items() if k not in _OF_RUN}, "options": options}
    if membership_of_body(body) is None:
        return found
    kwargs, after = body.get("kwargs"), _list(options.get("chain"))
    if after:
        options["chain"] = [alone(dict(after[0])), *after[1:]]
    elif body.get("subtask_type") == "chain" and isinstance(kwargs, Mapping):
        tasks = _list(kwargs.get("tasks"))
        found["kwargs"] = {**kwargs, "tasks": [*tasks[:-1], alone(dict(tasks[-1]))]}
    return alone(found)


def with_its_steps(body: Signature) -> Signature:
    """*body* as a chain, if other steps come after it: as a member of a chord it would lose them.

    Those are in its options, as Celery's worker puts them there.
    """
    options = options_of(body)
    after, kwargs = _list(options.get("chain")), body.get("kwargs")
    if not after:
        return body
    first = {**body, "options": {k: v for k, v in options.items() if k != "chain"}}
    is_chain = body.get("subtask_type") == "chain" and isinstance(kwargs, Mapping)
    inner = _list(kwargs.get("tasks")) if is_chain and isinstance(kwargs, Mapping) else [first]
    return {
        "task": "celery.chain",
        "args": [],
        "kwargs": {"tasks": [*inner, *reversed(after)]},
        "options": {},
        "subtask_type": "chain",
        "immutable": False,
    }


def renewed(
    value: Any, new_id: Callable[[str], str], depth: int = 0, *, marked: bool = False
) -> Any:
    """*value*, signatures, with *new_id* of each id of a task or group that they would publish.

    If *marked*, each task names in its headers the one whose place it takes. Arguments of tasks
    stay as they are.
    """
    if depth > _DEEPEST:
        raise TooDeep("a signature is nested more than 100 levels deep")

    def below(item: Any) -> Any:
        return renewed(item, new_id, depth + 1, marked=marked)

    if isinstance(value, (list, tuple)):
        return [below(item) for item in value]
    if not isinstance(value, Mapping) or "subtask_type" not in value:
        return value
    found = {key: item for key, item in value.items() if key not in _OF_RUN}
    if value.get("subtask_type") in ("chain", "group", "chord"):
        kwargs = value.get("kwargs")
        if isinstance(kwargs, Mapping):
            found["kwargs"] = {k: below(v) for k, v in kwargs.items()}
    options = {k: below(v) for k, v in options_of(value).items()}
    old = options.get("task_id")
    for name in _IDS & options.keys():
        if isinstance(options[name], str):
            options[name] = new_id(options[name])
    if marked and old and value.get("subtask_type") is None:
        headers = options.get("headers")
        known = headers if isinstance(headers, Mapping) else {}
        options["headers"] = {**known, RETRY_OF: known.get(RETRY_OF, str(old))}
    return {**found, "options": options}
