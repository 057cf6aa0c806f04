"""The fields of a form that says how a task is called: arguments, queue, ETA, priority."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fullresult.insight.dates import moment
from fullresult.record import encoding

if TYPE_CHECKING:
    from datetime import datetime

    from celery import Celery

_HIGHEST_PRIORITY = 255
_DIGITS = len(str(_HIGHEST_PRIORITY))


def json_of(text: str, kind: type, name: str, problems: dict[str, str]) -> Any:
    """The list or object that *text* is; None if it is none, as *problems* then says of *name*."""
    try:
        value = encoding.loads_strict(text)
    except (ValueError, RecursionError) as error:
        problems[name] = f"This is no JSON: {error}"
        return None
    if isinstance(value, kind):
        return value
    problems[name] = (
        "It must be a list, such as [1, 2]."
        if kind is list
        else 'It must be an object, such as {"order_id": 7}.'
    )
    return None


def options_of(
    app: Celery, values: dict[str, str], now: datetime, problems: dict[str, str]
) -> dict[str, Any]:
    """The queue, ETA and priority of a form; what is wrong with them is put into *problems*."""
    options: dict[str, Any] = {}
    if queue := values["queue"].strip():
        options["queue"] = queue
        if not app.conf.task_create_missing_queues and queue not in app.amqp.queues:
            problems["queue"] = "The app has no queue of this name."
    if eta := values["eta"].strip():
        try:
            options["eta"] = moment(eta, now)
        except ValueError as error:
            problems["eta"] = str(error)
    if priority := values["priority"].strip():
        if priority.isdecimal() and len(priority) <= _DIGITS and int(priority) <= _HIGHEST_PRIORITY:
            options["priority"] = int(priority)
        else:
            problems["priority"] = f"A whole number from 0 to {_HIGHEST_PRIORITY}."
    return options


def signature_of(app: Celery, name: str | None) -> str | None:
    """The signature of the task; None if its code is not at hand."""
    task = app.tasks.get(name)
    if task is None:
        return None
    try:
        return str(inspect.signature(task.run))
    except (TypeError, ValueError):
        return None


def queues_of(app: Celery) -> list[str]:
    """The queues to choose from: those of the app that can be typed."""
    return sorted(filter(str.isprintable, app.amqp.queues))
