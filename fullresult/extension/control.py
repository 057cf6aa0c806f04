"""Revoking: `app.control` cancels in the storage what it is about to have workers revoke."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.utils.imports import symbol_by_name

from fullresult.record import SCHEDULED_SENT, encoding
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.storage import ScheduleStorage, StorageError

if TYPE_CHECKING:
    from fullresult.extension.parts import Parts

logger = logging.getLogger(__name__)

_PAGE = 500


def watch_control(parts: Parts) -> None:
    """Have `app.control` cancel scheduled tasks that are revoked."""
    app = parts.app
    made = vars(app).get("control")
    if made is not None:
        made.broadcast = _watched(parts, made.broadcast)
        return
    # It is not made here: that would read the configuration, which may not be there yet.
    app.control_cls = _WatchedControl(parts, app.control_cls)


class _WatchedControl:
    """Makes the `control` of an app. A pickled copy of the app makes Celery's own."""

    def __init__(self, parts: Parts, make: Any) -> None:
        self._parts = parts
        self._make = make

    def __call__(self, app: Celery) -> Any:
        control = symbol_by_name(self._make)(app=app)
        control.broadcast = _watched(self._parts, control.broadcast)
        return control

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return symbol_by_name, (self._make,)


def _watched(parts: Parts, broadcast: Callable[..., Any]) -> Callable[..., Any]:
    def watched_broadcast(
        command: str, arguments: Mapping[str, Any] | None = None, *given: Any, **options: Any
    ) -> Any:
        try:
            if command in _CANCELS and parts.settings.sweeps:
                if command == "revoke" and arguments and parts.settings.schedule_new_id:
                    arguments = {**arguments, "task_id": _all_ids(parts, arguments)}
                _CANCELS[command](parts, {**(arguments or {}), **options})
        except StorageError as error:
            # The workers are told nevertheless: one of them may have the task.
            logger.error("fullresult: a scheduled task may not be revoked: %s", error)  # noqa: TRY400
        return broadcast(command, arguments, *given, **options)

    return watched_broadcast


def _all_ids(parts: Parts, arguments: Mapping[str, Any]) -> list[str]:
    """The revoked ids, and the new ids that their tasks go on under."""
    ids = _ids(arguments)
    return list(dict.fromkeys([*ids, *(new for each in ids for new in _new_ids(parts, each))]))


def _new_ids(parts: Parts, task_id: str) -> Iterator[str]:
    """The new ids of *task_id*: it was sent under them, or is being sent."""
    key = encoding.key(task_id)
    for schedule in parts.schedule_storage.find_schedules(
        ScheduleQuery(task_ids=[key], limit=None)
    ):
        if schedule.new_task_id is not None:
            yield schedule.new_task_id
    record = parts.storage.get(key)
    if record is not None and record.state == SCHEDULED_SENT and isinstance(record.result, dict):
        yield str(record.result["new_task_id"])


def _ids(arguments: Mapping[str, Any]) -> list[str]:
    ids = arguments.get("task_id") or ()
    return [ids] if isinstance(ids, str) else [str(each) for each in ids]


def _cancel_ids(parts: Parts, arguments: Mapping[str, Any]) -> None:
    ids = list(dict.fromkeys(map(encoding.key, _ids(arguments))))
    if not ids:
        return
    # Asked once for all of them, as hardly any waits here.
    query = ScheduleQuery(task_ids=ids, claimed=False, limit=None)
    found = parts.schedule_storage.find_schedules(query)
    for task_id in dict.fromkeys(schedule.task_id for schedule in found):
        parts.schedules.cancel(task_id)


def _cancel_stamped(parts: Parts, arguments: Mapping[str, Any]) -> None:
    wanted = arguments.get("headers") or {}
    if not isinstance(wanted, Mapping):
        return
    schedules = parts.schedules
    for schedule in _waiting(parts.schedule_storage):
        if _is_stamped(schedule, wanted):
            schedules.cancel(schedule.task_id)


def _waiting(storage: ScheduleStorage) -> Iterator[Schedule]:
    query = ScheduleQuery(claimed=False, limit=_PAGE)
    while page := storage.find_schedules(query):
        yield from page
        query = replace(query, after=page[-1].cursor)


def _is_stamped(schedule: Schedule, wanted: Mapping[str, Any]) -> bool:
    """True if a worker would revoke it: a stamp has one of the values that were given for it."""
    headers = encoding.loads(schedule.headers)
    stamps = headers.get("stamps") if isinstance(headers, Mapping) else None
    if not isinstance(stamps, Mapping):
        return False
    return any(
        set(_texts(stamps[name])) & set(_texts(values))
        for name, values in wanted.items()
        if name in stamps
    )


def _texts(value: Any) -> Iterable[str]:
    values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    return map(str, values)


_CANCELS: dict[str, Callable[[Parts, Mapping[str, Any]], None]] = {
    "revoke": _cancel_ids,
    "revoke_by_stamped_headers": _cancel_stamped,
}
