"""A recorded task back on the broker: the same message, under a new id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from celery.utils import uuid
from celery.utils.saferepr import saferepr
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.utils.functional import maybe_list

from fullresult import encoding, message
from fullresult.message import PROTOCOL_1, Payload
from fullresult.record import Message, TaskRecord
from fullresult.recorder import Recorder

_HOW = frozenset(
    {"priority", "compression", "delivery_mode", "reply_to", "exchange", "routing_key"}
)
_HEADER = frozenset({"shadow", "argsrepr", "kwargsrepr", "ignore_result"})
_LINKS = {"link": "callbacks", "link_error": "errbacks"}
_OPTIONS = frozenset(
    {"task_id", "queue", "headers", "serializer", "countdown", "eta", "expires"}
    | {"time_limit", "soft_time_limit", "keep_group", "producer"}
    | {*_HOW, *_HEADER, *_LINKS}
)


class CannotResend(Exception):
    """What was recorded of the task is not enough to send it again; the message says what is missing."""


class Resender:
    """Puts recorded tasks of one app on its broker."""

    def __init__(self, app: Celery, recorder: Recorder) -> None:
        self._app = app
        self._recorder = recorder

    def resend(
        self,
        record: TaskRecord,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> AsyncResult[Any]:
        """Send *record*'s message under a new id; see `FullResult.resend`."""
        if unknown := sorted(options.keys() - _OPTIONS):
            raise TypeError(f"resend() does not know the option {unknown[0]!r}")
        known = _whole(record)
        task_id = str(options.get("task_id") or uuid())
        headers = self._headers(record, task_id, options)
        payload, parts = self._body(record, known, headers, args, kwargs, options)
        how = self._how(record, options)
        how["headers"], how["correlation_id"] = headers, task_id
        self._date(record, headers, how, options)
        self._publish(record.task_id, known, payload, parts, how, options.get("producer"))
        result: AsyncResult[Any] = self._app.AsyncResult(task_id)
        return result

    def _headers(
        self, record: TaskRecord, task_id: str, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        headers = record.headers
        old_id = headers.get("id")
        headers["id"] = task_id
        if headers.get("root_id") in (None, old_id):
            headers["root_id"] = task_id
        if headers.get("parent_id") == old_id:
            headers["parent_id"] = None
        if not options.get("keep_group"):
            headers["group"] = headers["group_index"] = None
        headers.update({name: options[name] for name in _HEADER & options.keys()})
        headers.update(options.get("headers") or {})
        if "time_limit" in options or "soft_time_limit" in options:
            hard, soft = headers.get("timelimit") or (None, None)
            headers["timelimit"] = [
                options.get("time_limit", hard),
                options.get("soft_time_limit", soft),
            ]
        return headers

    def _body(
        self,
        record: TaskRecord,
        known: Message,
        headers: dict[str, Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> tuple[Payload, tuple[Any, Any, Any] | None]:
        """The serialised body, and its parts if they are not the recorded ones."""
        leaves_chord = bool(record.embed.get("chord")) and not options.get("keep_group")
        changes = leaves_chord or any(name in options for name in (*_LINKS, "serializer"))
        content_type = str(known.content_type)
        if known.body is not None and args is None and kwargs is None and not changes:
            return Payload(known.body, content_type, str(known.content_encoding)), None
        parts = _parts(record, known, args, kwargs)
        embed = dict(parts[2] or {})
        if leaves_chord:
            embed["chord"] = None
        for option, name in _LINKS.items():
            if option in options:
                embed[name] = maybe_list(options[option])
        if args is not None:
            headers["argsrepr"] = saferepr(args, self._app.amqp.argsrepr_maxsize)
        if kwargs is not None:
            headers["kwargsrepr"] = saferepr(kwargs, self._app.amqp.kwargsrepr_maxsize)
        whole = (parts[0], parts[1], embed)
        serializer = options.get("serializer") or message.serializer_of(content_type)
        return message.serialise(whole, serializer), whole

    def _how(self, record: TaskRecord, options: Mapping[str, Any]) -> dict[str, Any]:
        how = record.properties
        queues = self._app.amqp.queues
        how["exchange"], how["routing_key"] = record.exchange or "", record.routing_key
        how["declare"] = [queues[name] for name in how.pop("declare", ()) if name in queues]
        if "queue" in options:
            queue = queues[options["queue"]]
            direct = queue.exchange.type == "direct"
            how["exchange"] = "" if direct else queue.exchange.name
            how["routing_key"] = queue.name if direct else queue.routing_key
            how["declare"] = [queue]
        how.update({name: options[name] for name in _HOW & options.keys()})
        how["retry"] = self._app.conf.task_publish_retry
        how["retry_policy"] = dict(self._app.conf.task_publish_retry_policy)
        return how

    def _date(
        self,
        record: TaskRecord,
        headers: dict[str, Any],
        how: dict[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        """A re-send runs now, and lives as long as its original was to live."""
        now = datetime.now(timezone.utc)
        eta, expires = options.get("eta"), options.get("expires")
        if options.get("countdown"):
            eta = now + timedelta(seconds=options["countdown"])
        headers["eta"] = self._isoformat(eta)
        if "expires" not in options and record.expires:
            expires = record.expires - (record.date_published or record.date_created) + now
        elif isinstance(expires, (int, float)):
            expires = now + timedelta(seconds=expires)
        headers["expires"] = self._isoformat(expires)
        if "expires" in options:
            how.pop("expiration", None)
            if expires is not None:
                left = datetime.fromisoformat(headers["expires"]) - now
                how["expiration"] = max(left.total_seconds(), 0)

    def _isoformat(self, when: Any) -> str | None:
        if when is None:
            return None
        aware: datetime = maybe_make_aware(maybe_iso8601(when), tz=self._app.timezone)
        return aware.isoformat()

    def _publish(
        self,
        retry_of: str,
        known: Message,
        payload: Payload,
        parts: tuple[Any, Any, Any] | None,
        how: dict[str, Any],
        producer: Any,
    ) -> None:
        self._recorder.publishing_again(retry_of, known, payload, parts, how)
        try:
            with self._app.producer_or_acquire(producer) as acquired:
                acquired.publish(
                    payload.data,
                    content_type=payload.content_type,
                    content_encoding=payload.content_encoding,
                    **how,
                )
        except BaseException as error:
            self._recorder.unsent(how["headers"], error)
            raise


def _whole(record: TaskRecord) -> Message:
    """The record's message. Raises `CannotResend` where no arguments could make it whole."""
    if record.message is None:
        raise CannotResend(f"task {record.task_id}: its message was not recorded")
    if record.notes.get("body") == PROTOCOL_1:
        raise CannotResend(f"task {record.task_id} was {PROTOCOL_1}, which cannot be sent again")
    for part in ("headers", "properties"):
        if part in record.notes:
            raise CannotResend(f"task {record.task_id}: {part} {record.notes[part]}")
    return record.message


def _parts(
    record: TaskRecord,
    known: Message,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
) -> tuple[Any, Any, Any]:
    """(args, kwargs, embed) to serialise anew, the given ones in place of the recorded."""
    decoded = encoding.decode_body(known.body, known.content_type, known.content_encoding)
    if decoded is not None:
        return (
            decoded[0] if args is None else args,
            decoded[1] if kwargs is None else kwargs,
            decoded[2],
        )
    if "embed" in record.notes:
        raise CannotResend(f"task {record.task_id}: its links: {record.notes['embed']}")
    return (
        _argument(record, known, "args", args),
        _argument(record, known, "kwargs", kwargs),
        {**{name: None for name in message.EMBEDS}, **record.embed},
    )


def _argument(record: TaskRecord, known: Message, part: str, given: Any) -> Any:
    if given is not None:
        return given
    text: str | None = getattr(known, part)
    if text is not None and known.content_type == "application/json":
        return encoding.loads(text)
    reason = record.notes.get(part) or record.notes.get("body")
    reason = reason or f"only a body of type {known.content_type} was kept, which is never decoded"
    raise CannotResend(f"task {record.task_id}: {part} unknown ({reason}); give {part}=…")
