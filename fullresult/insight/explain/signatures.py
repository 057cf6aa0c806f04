"""Celery's signatures as a message carries them: plain dicts, which anybody may have made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_DEEPEST = 50


def find(inside: Any, task_id: str, depth: int = 0) -> Mapping[str, Any] | None:
    """The signature of the task *task_id* among these links, however deep; None if it has none."""
    if depth > _DEEPEST or not isinstance(inside, (Mapping, list)):
        return None
    if isinstance(inside, Mapping) and id_of(inside) == task_id:
        return inside
    parts = inside.values() if isinstance(inside, Mapping) else inside
    found = (find(each, task_id, depth + 1) for each in parts)
    return next((each for each in found if each is not None), None)


def id_of(signature: Any) -> str | None:
    """The id that the task is to have."""
    found = options_of(signature).get("task_id")
    return found if isinstance(found, str) else None


def name_of(signature: Any) -> str:
    found = signature.get("task") if isinstance(signature, Mapping) else None
    return found if isinstance(found, str) else "a task"


def options_of(signature: Any) -> Mapping[str, Any]:
    options = signature.get("options") if isinstance(signature, Mapping) else None
    return options if isinstance(options, Mapping) else {}


def body_in(embed: Mapping[str, Any]) -> Any:
    """The body that a task is counted for: its own, or that of the last step of its chain."""
    if embed.get("chord"):
        return embed["chord"]
    chain = list_of(embed.get("chain"))
    return options_of(chain[0]).get("chord") if chain else None


def around(body: Any) -> Any:
    """The body of the chord that the chord of *body* is a member of; None if it is of none."""
    return body_in(options_of(body))


def list_of(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
