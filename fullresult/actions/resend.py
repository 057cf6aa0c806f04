"""A recorded task back on the broker: the same message, under a new id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from celery.utils import uuid
from celery.utils.time import maybe_iso8601
from kombu import Queue
from kombu.common import Broadcast
from kombu.utils.functional import maybe_list

from fullresult.record import REDACTED, Message, TaskRecord, encoding
from fullresult.recording import masking, message
from fullresult.recording.message import EMBEDS, HIDDEN, PROTOCOL_1, Call, Payload
from fullresult.recording.recorder import Recorder

logger = logging.getLogger(__name__)

_ARGUMENTS = ("args", "kwargs")
_LINKS = {"link": "callbacks", "link_error": "errbacks"}
_HEADER = frozenset({"shadow", "argsrepr", "kwargsrepr", "ignore_result"})
_HOW = frozenset(
    {"priority", "compression", "delivery_mode", "reply_to"}
    | {"exchange", "routing_key", "retry", "retry_policy"}
)
_OPTIONS = frozenset(
    {"task_id", "queue", "headers", "serializer", "countdown", "eta", "expires"}
    | {"time_limit", "soft_time_limit", "keep_group", "producer"}
    | {*_HOW, *_HEADER, *_LINKS}
)
_MEMBERSHIP = frozenset({"chord", "group_id", "group_index"})

# Celery sends an ETA to a quorum queue through this exchange, the delay in the first 28 words of
# the routing key; the other exchange is where such a message comes out.
_DELAYED, _DELIVERED, _DELAY_WORDS = "celery_delayed_27", "celery_delayed_delivery", 28


class CannotResend(Exception):
    """What was recorded is not enough to send the task again; the message says what is missing."""


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
        known = _whole(record, options)
        task_id = str(options.get("task_id") or uuid())
        hidden = _hidden(record, options)
        how = self._how(record, options)
        how.setdefault("correlation_id", task_id)
        how["headers"] = _headers(record, task_id, options)
        self._show(how["headers"], args, kwargs, hidden)
        _date(record, how, options)
        parts = _parts(record, known, args, kwargs, options)
        payload = self._payload(known, parts, options)
        self._publish(record.task_id, known, Call(parts, payload, how, hidden), options)
        result: AsyncResult[Any] = self._app.AsyncResult(task_id)
        return result

    def _how(self, record: TaskRecord, options: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of `Producer.publish`, but headers and dates."""
        how = record.properties
        how["exchange"], how["routing_key"] = _route(record)
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
        """The queues declared for the original, in case they are gone.

        One that this app does not know is declared as Celery would if it were asked for by name;
        not so if it is bound to an exchange of its own, for how is not recorded.
        """
        queues, create = self._app.amqp.queues, self._app.conf.task_create_missing_queues
        return [queues[name] for name in names if name in queues or (create and not exchange)]

    def _to_queue(self, name: str | Queue) -> dict[str, Any]:
        """What Celery makes of the option `queue`. Raises its QueueNotFound."""
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
        for part, given in zip(_ARGUMENTS, (args, kwargs), strict=True):
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
) -> None:
    """Raises `CannotResend` where sending *record* again would, before anything is sent."""
    _parts(record, _whole(record, {}), args, kwargs, {})


def _log_errors(do: Callable[[], None], task_id: str) -> None:
    """`do()`, whose failure must not pass for one of the broker's: the caller would send twice."""
    try:
        do()
    except Exception:
        logger.exception("fullresult: task %s is not recorded", task_id)


def _whole(record: TaskRecord, options: Mapping[str, Any]) -> Message:
    """The record's message. Raises `CannotResend` where no arguments could make it whole."""
    if record.message is None:
        raise CannotResend(f"task {record.task_id}: its message was not recorded")
    if record.notes.get("body") == PROTOCOL_1:
        raise CannotResend(f"task {record.task_id} was {PROTOCOL_1}, which cannot be sent again")
    if lacking := sorted(_redacted_headers(record) - _given_headers(options)):
        raise CannotResend(
            f"task {record.task_id}: its header {lacking[0]} is redacted; "
            f"give headers={{{lacking[0]!r}: …}}"
        )
    for part in ("headers", "properties"):
        if part in record.notes and not _is_redacted(record, part):
            raise CannotResend(f"task {record.task_id}: its {part}: {record.notes[part]}")
    return record.message


def _is_redacted(record: TaskRecord, part: str) -> bool:
    return record.notes.get(part, "").startswith(REDACTED)


def _redacted_headers(record: TaskRecord) -> set[str]:
    """The headers of which something was hidden, but those that arguments make."""
    if not _is_redacted(record, "headers"):
        return set()
    hidden = {name for name, value in record.headers.items() if masking.holds_mark(value)}
    return hidden - {"argsrepr", "kwargsrepr"}


def _given_headers(options: Mapping[str, Any]) -> set[str]:
    headers = options.get("headers") or {}
    known = {name for name, value in headers.items() if not masking.holds_mark(value)}
    return known | (_HEADER & options.keys())


def _hidden(record: TaskRecord, options: Mapping[str, Any]) -> frozenset[str]:
    """The arguments that the original's publisher hid, or the re-send's hides."""
    return frozenset(
        part
        for part in _ARGUMENTS
        if record.notes.get(part) == HIDDEN or options.get(f"{part}repr") is not None
    )


def _route(record: TaskRecord) -> tuple[str, str | None]:
    """The exchange and routing key, of an ETA sent to a quorum queue those after its delay."""
    exchange, key = record.exchange or "", record.routing_key
    if exchange != _DELAYED or key is None:
        return exchange, key
    words = key.split(".")
    return _DELIVERED, ".".join(["0"] * _DELAY_WORDS + words[_DELAY_WORDS:])


def _headers(record: TaskRecord, task_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded headers with what names the task, or its place in a canvas, put right."""
    headers = record.headers
    old_id, headers["id"] = headers.get("id"), task_id
    if headers.get("root_id") == old_id:
        headers["root_id"] = task_id
    if headers.get("parent_id") == old_id:
        # The message of a retry, which is its own parent. A new task is at its first attempt.
        headers["parent_id"], headers["retries"] = None, 0
    if not options.get("keep_group"):
        _put(headers, "group", None)
        _put(headers, "group_index", None)
    headers.update({name: options[name] for name in _HEADER & options.keys()})
    headers.update(options.get("headers") or {})
    if "time_limit" in options or "soft_time_limit" in options:
        hard, soft = headers.get("timelimit") or (None, None)
        headers["timelimit"] = [
            options.get("time_limit", hard),
            options.get("soft_time_limit", soft),
        ]
    return headers


def _put(headers: dict[str, Any], name: str, value: Any) -> None:
    """Set a header. One that the message never had is not added only to say None."""
    if value is not None or name in headers:
        headers[name] = value


def _date(record: TaskRecord, how: dict[str, Any], options: Mapping[str, Any]) -> None:
    """A re-send runs now, and lives as long as its original was to: put that into *how*."""
    now = datetime.now(timezone.utc)
    eta = options.get("eta")
    if options.get("countdown"):
        eta = now + timedelta(seconds=options["countdown"])
    _put(how["headers"], "eta", _isoformat(eta))
    if "expires" not in options:
        _put(how["headers"], "expires", _isoformat(_expires_anew(record, now)))
        return
    expires = options["expires"]
    if isinstance(expires, (int, float)):
        expires = now + timedelta(seconds=expires)
    _put(how["headers"], "expires", _isoformat(expires))
    how.pop("expiration", None)
    if expires is not None:
        left = datetime.fromisoformat(how["headers"]["expires"]) - now
        how["expiration"] = max(left.total_seconds(), 0)


def _isoformat(when: datetime | str | None) -> str | None:
    if when is None:
        return None
    read: datetime = maybe_iso8601(when)
    # Celery, too, reads a naive date as UTC.
    return (read if read.tzinfo else read.replace(tzinfo=timezone.utc)).isoformat()


def _expires_anew(record: TaskRecord, now: datetime) -> datetime | None:
    if record.expires is None:
        return None
    try:
        return now + (record.expires - (record.date_published or record.date_created))
    except OverflowError:  # it was to expire at the end of time
        return record.expires


def _parts(
    record: TaskRecord,
    known: Message,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> tuple[Any, Any, Any] | None:
    """(args, kwargs, embed) to serialise anew; None where the recorded body will do."""
    decoded = encoding.decode_body(known.body, known.content_type, known.content_encoding)
    embed = _embed(record, decoded)
    keep = bool(options.get("keep_group"))
    wanted = embed if keep else _alone(embed)
    wanted = {
        **wanted,
        **{
            embedded: maybe_list(options[link])
            for link, embedded in _LINKS.items()
            if link in options
        },
    }
    # A body that is never decoded keeps its chord, which does not count a task without a group.
    sent = wanted if decoded is not None else {**wanted, "chord": embed["chord"]}
    changed = args is not None or kwargs is not None or "serializer" in options or sent != embed
    unread = _unread_links(record, embed, options) if decoded is None else None
    if unread is not None and (changed or known.body is None):
        raise CannotResend(f"task {record.task_id}: its links are not known: {unread}")
    if unread is not None and not keep:
        raise CannotResend(
            f"task {record.task_id}: whether it is in a chord is not known: {unread}; "
            "give keep_group=True to send it all the same"
        )
    if known.body is not None and not changed:
        return None
    for part, given in zip(_ARGUMENTS, (args, kwargs), strict=True):
        if given is not None and _is_redacted(record, part) and masking.holds_mark(given):
            raise CannotResend(
                f"task {record.task_id}: {part} still has {masking.MARK} in the place of a value "
                f"that was not kept ({record.notes[part]}); put that in"
            )
    return (
        _argument(record, known, decoded, 0) if args is None else args,
        _argument(record, known, decoded, 1) if kwargs is None else kwargs,
        wanted,
    )


def _unread_links(
    record: TaskRecord, embed: Mapping[str, Any], options: Mapping[str, Any]
) -> str | None:
    """Why links are not known; None where all are, or *options* say those that are not."""
    if not _is_redacted(record, "embed") or not record.embed:
        return record.notes.get("embed")
    given = {embedded for link, embedded in _LINKS.items() if link in options}
    if not options.get("keep_group"):
        given.add("chord")  # which it leaves
    lacking = [part for part in EMBEDS if part not in given and masking.holds_mark(embed[part])]
    if not lacking:
        return None
    ways = [f"{link}=…" for link, embedded in _LINKS.items() if embedded in lacking]
    give = f"; give {', '.join(ways)}" if len(ways) == len(lacking) else ""
    return f"{REDACTED}: {', '.join(lacking)}{give}"


def _embed(record: TaskRecord, decoded: Sequence[Any] | None) -> dict[str, Any]:
    if decoded is not None:
        return dict(decoded[2] or {})
    return {**dict.fromkeys(EMBEDS), **record.embed}


def _alone(embed: Mapping[str, Any]) -> dict[str, Any]:
    """*embed* in no chord or group, and neither those that come later in its chain."""
    alone = dict(embed)
    if alone.get("chord"):
        alone["chord"] = None
    if alone.get("chain"):
        alone["chain"] = [_outside(signature) for signature in alone["chain"]]
    return alone


def _outside(signature: Mapping[str, Any]) -> dict[str, Any]:
    options = signature.get("options") or {}
    kept = {k: v for k, v in options.items() if k not in _MEMBERSHIP or v is None}
    return {**signature, "options": kept}


def _argument(record: TaskRecord, known: Message, decoded: Sequence[Any] | None, index: int) -> Any:
    """A recorded argument: of the body or, for want of one, what is kept for searching."""
    if decoded is not None:
        return decoded[index]
    part = _ARGUMENTS[index]
    text = (known.args, known.kwargs)[index]
    redacted = _is_redacted(record, part)
    if text is not None and known.content_type == "application/json" and not redacted:
        return encoding.loads(text)
    why = record.notes.get(part) or record.notes.get("body")
    why = why or f"its body, of type {known.content_type}, is never decoded"
    raise CannotResend(f"task {record.task_id}: {part} unknown ({why}); give {part}=…")
