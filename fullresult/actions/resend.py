"""Sending a recorded task again: the same message, under a new id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from celery.utils import uuid
from kombu import Queue
from kombu.common import Broadcast

from fullresult.actions.resent_message import (
    ARGUMENTS,
    HEADER,
    LINKS,
    hidden_arguments,
    new_headers,
    new_parts,
    put_dates,
    route_of,
    whole_message,
)
from fullresult.record import Message, TaskRecord, encoding
from fullresult.recording import message
from fullresult.recording.message import Call, Payload
from fullresult.recording.recorder import Recorder
from fullresult.scheduling.diverter import Diverter
from fullresult.scheduling.schedule_maker import NotDivertible

logger = logging.getLogger(__name__)

_HOW = frozenset(
    {"priority", "compression", "delivery_mode", "reply_to"}
    | {"exchange", "routing_key", "retry", "retry_policy"}
)
_OPTIONS = frozenset(
    {"task_id", "queue", "headers", "serializer", "countdown", "eta", "expires"}
    | {"time_limit", "soft_time_limit", "keep_group", "producer"}
    | {*_HOW, *HEADER, *LINKS}
)


class Resender:
    """Sends recorded tasks of one app to its broker. Writes no audit log: `Deeds` does."""

    def __init__(self, app: Celery, recorder: Recorder, diverter: Diverter | None = None) -> None:
        self._app = app
        self._diverter = diverter
        self._recorder = recorder

    def resend(
        self,
        record: TaskRecord,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        rest: Sequence[Mapping[str, Any]] | None = None,
    ) -> AsyncResult[Any]:
        """Send *record*'s message under a new id; see `FullResult.resend`.

        With *rest*, these are the later steps of its chain.
        """
        known, call = self.call(record, args, kwargs, options, rest)
        task_id = call.headers["id"]
        if not self._divert(record, known, call, options):
            self._publish(record.task_id, known, call, options)
        if (again := record.sent_again(task_id, datetime.now(timezone.utc))) is not None:
            _log_errors(partial(self._recorder.writer.write, again), task_id)
        result: AsyncResult[Any] = self._app.AsyncResult(task_id)
        return result

    def call(
        self,
        record: TaskRecord,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        rest: Sequence[Mapping[str, Any]] | None = None,
    ) -> tuple[Message, Call]:
        """The recorded message, and the one that a re-send publishes. Raises as `resend` does."""
        if unknown := sorted(options.keys() - _OPTIONS):
            raise TypeError(f"resend() does not know the option {unknown[0]!r}")
        options = _with_rest(options, rest)
        known = whole_message(record, options)
        task_id = str(options.get("task_id") or uuid())
        hidden = hidden_arguments(record, options)
        how = self._how(record, options)
        how.setdefault("correlation_id", task_id)
        how["headers"] = new_headers(record, task_id, options)
        self._show(how["headers"], args, kwargs, hidden)
        put_dates(record, how, options)
        parts = new_parts(record, known, args, kwargs, options)
        return known, Call(parts, self._payload(known, parts, options), how, hidden)

    def _how(self, record: TaskRecord, options: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of `Producer.publish`, except headers and dates."""
        how = record.properties
        how["exchange"], how["routing_key"] = route_of(record)
        how["declare"] = self._declared(how.pop("declare", ()), how["exchange"])
        if options.get("queue") is not None:
            how.update(self._to_queue(options["queue"]))
        how["retry"] = self._app.conf.task_publish_retry
        how.update({name: options[name] for name in _HOW & options.keys()})
        how["retry_policy"] = {
            **self._app.conf.task_publish_retry_policy,
            **(options.get("retry_policy") or {}),
        }
        return how

    def _declared(self, names: Sequence[str], exchange: str) -> list[Queue]:
        """The queues to declare: those of the original, which may be gone.

        One that this app does not know is declared as Celery would if it were asked for by name;
        not so if it is bound to an exchange of its own, for how is not recorded.
        """
        queues, create = self._app.amqp.queues, self._app.conf.task_create_missing_queues
        return [queues[name] for name in names if name in queues or (create and not exchange)]

    def _to_queue(self, name: str | Queue) -> dict[str, Any]:
        """The keywords that Celery makes of the option `queue`. Raises its QueueNotFound."""
        queue = self._app.amqp.router.expand_destination({"queue": name})["queue"]
        declare = [] if isinstance(queue, Broadcast) else [queue]
        if queue.exchange is None or queue.exchange.type == "direct":
            return {"exchange": "", "routing_key": queue.name, "declare": declare}
        default = self._app.conf.task_default_routing_key
        return {
            "exchange": queue.exchange.name,
            "routing_key": queue.routing_key or default,
            "declare": declare,
        }

    def _show(
        self,
        headers: dict[str, Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        hidden: frozenset[str],
    ) -> None:
        """Put Celery's reprs of new arguments into the headers. Raises its TypeError."""
        if args is None and kwargs is None:
            return
        fresh = self._app.amqp.as_task_v2(headers["id"], headers.get("task"), args, kwargs).headers
        for part, given in zip(ARGUMENTS, (args, kwargs), strict=True):
            if given is not None and part not in hidden:
                headers[f"{part}repr"] = fresh[f"{part}repr"]

    def _payload(
        self, known: Message, parts: tuple[Any, Any, Any] | None, options: Mapping[str, Any]
    ) -> Payload:
        """*parts* serialised, or the recorded body. Raises kombu's EncodeError."""
        if parts is None:
            assert known.body is not None
            return Payload(known.body, str(known.content_type), str(known.content_encoding))
        serializer = options.get("serializer") or (
            message.serializer_of(known.content_type)
            if known.content_type
            else self._app.conf.task_serializer
        )
        return message.serialise(parts, serializer)

    def _divert(
        self, record: TaskRecord, known: Message, call: Call, options: Mapping[str, Any]
    ) -> bool:
        """Store *call* if it is to run later, as any other task. True if that is done.

        One whose body cannot be decoded goes to the broker with its ETA.
        """
        if self._diverter is None or not (options.get("countdown") or options.get("eta")):
            return False
        body = call.body or encoding.decode_body(
            known.body, known.content_type, known.content_encoding
        )
        if body is None:
            return False
        diverter, name = self._diverter, str(call.headers.get("task"))
        due = diverter.diverts(name, (name, *body[:2]), {"queue": record.queue, **options})
        if due is None:
            return False
        how = {**call.how, "headers": {**call.headers, "eta": None}}
        try:
            diverter.keep_again(call._replace(body=body, how=how), due, (record.task_id, known))
        except NotDivertible as why:
            diverter.refused(name, why)
            return False
        return True

    def _publish(
        self, retry_of: str, known: Message, call: Call, options: Mapping[str, Any]
    ) -> None:
        assert call.payload is not None
        task_id = call.headers["id"]
        finish = self._recorder.publishing_again(retry_of, known, call)
        try:
            with (
                self._app.producer_or_acquire(options.get("producer")) as producer,
                producer.connection._reraise_as_library_errors(),  # noqa: SLF001  (as Celery)
            ):
                producer.publish(
                    message.as_published(call.payload, call.how.get("compression"), producer),
                    content_type=call.payload.content_type,
                    content_encoding=call.payload.content_encoding,
                    **call.how,
                )
        except BaseException as error:
            _log_errors(finish, task_id)
            _log_errors(partial(self._recorder.unsent, call.headers, error), task_id)
            raise
        _log_errors(finish, task_id)


def check(
    record: TaskRecord,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    rest: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Raises `CannotResend` if sending *record* again would. Sends nothing."""
    new_parts(record, whole_message(record, {}), args, kwargs, _with_rest({}, rest))


def _with_rest(
    options: Mapping[str, Any], rest: Sequence[Mapping[str, Any]] | None
) -> Mapping[str, Any]:
    """A message has the last step first."""
    return options if rest is None else {**options, "chain": [*reversed(rest)]}


def _log_errors(do: Callable[[], None], task_id: str) -> None:
    """Call *do*. Its error must not look like one of the broker's: the caller would send twice."""
    try:
        do()
    except Exception:
        logger.exception("fullresult: task %s is not recorded", task_id)
