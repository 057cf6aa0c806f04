"""What `fullresult_web_hide_args` leaves out of lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fullresult.insight.scheduled_calls import calls_of

if TYPE_CHECKING:
    from fullresult.record.schedule import Schedule
    from fullresult.web.api.operation import Call

_NOTE = "hidden by fullresult_web_hide_args"
_ARGUMENTS = ("args", "kwargs")
_REPRS = ("argsrepr", "kwargsrepr")


def listed(call: Call, task: dict[str, Any]) -> dict[str, Any]:
    """The document *task* as a list has it: perhaps without its arguments, and those of links."""
    if not call.full.settings.web_hide_args:
        return task
    headers = {name: value for name, value in task["headers"].items() if name not in _REPRS}
    notes = {**task["notes"], **dict.fromkeys(_ARGUMENTS, _NOTE)}
    nothing = dict.fromkeys((*_ARGUMENTS, *_REPRS))
    return {**task, **nothing, "embed": {}, "headers": headers, "notes": notes}


def calls_listed(call: Call, schedules: Sequence[Schedule]) -> dict[str, str]:
    """The calls of scheduled tasks as a list has them, by id."""
    hidden = call.full.settings.web_hide_args
    return {} if hidden else calls_of(call.full.storage, schedules)


def listed_entry(call: Call, entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of beat's plan as a list has it."""
    if not call.full.settings.web_hide_args:
        return entry
    last = entry["last_run"]
    hidden = {**entry, **dict.fromkeys(_ARGUMENTS)}
    return {**hidden, "last_run": None if last is None else listed(call, last)}
