"""Makes the schedule of a message: all of it that is sent later, or the reason why it cannot be."""

from __future__ import annotations

import itertools
import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kombu import Queue

from fullresult.config import Settings
from fullresult.record import encoding
from fullresult.record.dates import to_utc
from fullresult.record.schedule import Schedule
from fullresult.recording import message
from fullresult.recording.message import Call, Payload
from fullresult.scheduling import original_ids

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder

_NOT_STORED = frozenset(
    {"headers", "serializer", "retry", "retry_policy", "timeout", "confirm_timeout"}
)
"""Keywords of `Producer.publish` that do not belong to the message."""
_counter = itertools.count()
_DELAYS = "celery_delayed_"
"""The exchanges to which Celery publishes what has an ETA, where a queue is a quorum queue."""
_MOST_QUEUES = 1000


class NotDivertible(Exception):
    """The message cannot wait in the storage and goes to the broker; the text says why."""


class ScheduleMaker:
    """Makes the schedules of one app."""

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self._settings = settings
        self._recorder = recorder
        self._definitions: dict[int, tuple[Any, dict[str, Any]]] = {}

    def schedule(self, call: Call, due: datetime, *, may_rename: bool = True) -> Schedule:
        """The schedule of *call*'s message, due at *due*. Raises `NotDivertible`.

        With *may_rename*, it may be sent under another id (`fullresult_schedule_new_id`).
        """
        headers, payload = dict(call.headers), call.payload
        assert payload is not None
        self._check(call, payload)
        headers["eta"] = None
        how = {
            name: value
            for name, value in call.how.items()
            # No priority at all is not kombu's default of 0.
            if (value is not None or name == "priority") and name not in _NOT_STORED
        }
        how["declare"] = [self._definition(entity) for entity in how.get("declare") or ()]
        exchange = how.get("exchange")
        how["exchange"] = getattr(exchange, "name", exchange) or ""
        how["content_type"] = payload.content_type
        how["content_encoding"] = payload.content_encoding
        task_id = encoding.key(headers["id"])
        plain = may_rename and _is_plain(call) and self._recorder.records(str(headers["task"]))
        new_id = plain and self._settings.schedule_new_id and not self._recorder.redacts(call)
        return Schedule(
            schedule_id=_new_id(),
            task_id=task_id,
            namespace=self._settings.namespace,
            due=due,
            date_scheduled=to_utc(datetime.now(timezone.utc)),
            name=encoding.key(headers["task"]),
            queue=message.queue_of(call.how),
            body=message.body_bytes(payload),
            headers=_json("headers", headers),
            how=_json("properties", how),
            new_task_id=str(uuid4()) if new_id else None,
        )

    def _definition(self, entity: Any) -> dict[str, Any]:
        """The definition of a queue, made once: it takes longer than the rest of a schedule."""
        known, definition = self._definitions.get(id(entity), (None, {}))
        if known is not entity:
            definition = _definition(entity)
            if len(self._definitions) >= _MOST_QUEUES:
                self._definitions.clear()
            self._definitions[id(entity)] = entity, definition
        return definition

    def _check(self, call: Call, payload: Payload) -> None:
        """Raise `NotDivertible` if the broker delays it, or the record may not keep all of it."""
        exchange = call.how.get("exchange")
        if str(getattr(exchange, "name", exchange)).startswith(_DELAYS):
            raise NotDivertible("the app's own send_task has RabbitMQ delay it")
        if self._settings.schedule_redacted:
            return
        if call.body is None:
            # It is sent as it was recorded, whole.
            self._check_size(payload)
            return
        if message.hides_arguments(call.parts[2]):
            raise NotDivertible("a link of it has its arguments hidden by a repr of their own")
        if self._recorder.redacts(call):
            raise NotDivertible("fullresult_redact hides some of its message")
        self._check_size(payload)

    def _check_size(self, payload: Payload) -> None:
        size = len(payload.data)
        if size > self._settings.max_body:
            raise NotDivertible(
                f"its body of {size} is larger than fullresult_max_body = {self._settings.max_body}"
            )


def _is_plain(call: Call) -> bool:
    """True if only the caller uses this id (no group, chord, chain, retry or replacement).

    Then the task may get a new id when it is sent.
    """
    if call.hidden:
        return False  # the sweeper makes the new record from the message, which would show all
    headers, embed = call.headers, call.parts[2] or {}
    member = headers.get("group") or embed.get("chord")
    in_chain = embed.get("chain") is not None  # the last task of a chain has an empty one
    if member or in_chain or original_ids.is_awaited(str(headers["id"])):
        return False
    again = headers.get("retries") or headers.get("replaced_task_nesting")
    return not again


def _definition(entity: Any) -> dict[str, Any]:
    if not isinstance(entity, Queue):
        raise NotDivertible(f"it declares what is no queue: {encoding.safe_repr(entity)}")
    return dict(entity.as_dict(recurse=True))


def _json(part: str, value: Any) -> str:
    try:
        return encoding.dumps(value)
    except encoding.Unstorable as error:
        raise NotDivertible(f"its {part} cannot be stored: {error}") from None


def _new_id() -> str:
    """An id that sorts by the time at which it was made, within one process."""
    # Microseconds, then a counter for those that are equal. What is due at once goes in this order.
    return f"{time.time_ns() // 1000:014x}{next(_counter) & 0xFFFFFF:06x}{os.urandom(6).hex()}"
