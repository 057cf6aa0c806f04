"""Signatures in signatures: which tasks begin one, which end it, whom it tells of an error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from celery.app.task import Context
from kombu.utils.uuid import uuid

Errback = tuple[Any, Any, Any]
"""Task, arguments and keyword arguments: two that are equal do the same."""


def first_ids(signature: Mapping[str, Any]) -> Iterator[str]:
    """The ids of the tasks that are published when *signature* is sent."""
    kind = signature.get("subtask_type")
    if kind == "chain":
        yield from first_ids(_tasks(signature)[0])
    elif kind == "group":
        for task in _tasks(signature):
            yield from first_ids(task)
    elif kind == "chord":
        for task in _header(signature):
            yield from first_ids(task)
    elif task_id := _options(signature).get("task_id"):
        yield task_id


def without(signature: Any, sent: Collection[str]) -> Any:
    """The same *signature*; of a group, only the tasks that do not begin with one of *sent*."""
    if signature.get("subtask_type") == "group":
        left = [task for task in _tasks(signature) if not {*first_ids(task)} <= {*sent}]
        signature["kwargs"]["tasks"] = left
    return signature


def ends(signature: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The signatures of the tasks whose ends are the end of *signature*."""
    kind = signature.get("subtask_type")
    if kind == "chain":
        yield from ends(_tasks(signature)[-1])
    elif kind == "group":
        for task in _tasks(signature):
            yield from ends(task)
    elif kind == "chord" and signature["kwargs"].get("body"):
        yield from ends(signature["kwargs"]["body"])
    else:
        yield signature


def end_ids(signature: Mapping[str, Any]) -> list[str]:
    """The ids of `ends`, as far as they are known."""
    ids = (_options(end).get("task_id") for end in ends(signature))
    return [task_id for task_id in ids if task_id]


def give_id(signature: Any) -> None:
    """Name a chain by its end, if it has no id: Celery before 5.7 stores an error under None."""
    if not signature.id:
        signature.options["task_id"] = [uuid(), *end_ids(signature)][-1]


def members_ending(signature: Mapping[str, Any]) -> Iterator[Context]:
    """A request for each of `ends` that is a member of a chord."""
    for end in ends(signature):
        options = _options(end)
        if options.get("chord") and options.get("group_id") and options.get("task_id"):
            request = Context(options)
            request.id, request.group = options["task_id"], options["group_id"]
            yield request


def is_group(request: Context) -> bool:
    """True for what Celery makes up of a group in a chain that failed before it."""
    # Celery hands over stand-ins for requests, too, which have neither.
    name, kwargs = getattr(request, "task", None), getattr(request, "kwargs", None)
    return name == "celery.group" and bool((kwargs or {}).get("tasks"))


def group_of(request: Context) -> Mapping[str, Any]:
    """The group that *request*, for which `is_group` holds, was made up of."""
    return {"subtask_type": "group", "kwargs": request.kwargs}


def errbacks_of(signature: Mapping[str, Any]) -> list[Errback]:
    """All that are called when *signature*, the body of a chord, fails with its header."""
    return [_errback(each) for task in _told(signature) for each in _linked(task)]


def leave_out(signature: Mapping[str, Any], errbacks: Collection[Errback]) -> None:
    """Have *signature* call none of *errbacks*."""
    for task in _told(signature):
        if linked := _linked(task):
            _options(task)["link_error"] = [
                each for each in linked if _errback(each) not in errbacks
            ]


def _told(signature: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Those whose errbacks Celery calls: of a group it is the tasks', too."""
    if signature.get("subtask_type") != "group":
        return [signature]
    return [signature, *_tasks(signature)]


def _linked(signature: Mapping[str, Any]) -> list[Any]:
    linked = _options(signature).get("link_error") or []
    return linked if isinstance(linked, list) else [linked]


def _errback(signature: Mapping[str, Any]) -> Errback:
    return signature["task"], [*(signature.get("args") or ())], signature.get("kwargs") or {}


def _options(signature: Mapping[str, Any]) -> Any:
    return signature.get("options") or {}


def _tasks(signature: Mapping[str, Any]) -> list[Any]:
    return [*signature["kwargs"]["tasks"]]


def _header(signature: Mapping[str, Any]) -> list[Any]:
    header = signature["kwargs"]["header"]
    return _tasks(header) if isinstance(header, Mapping) else [*header]
