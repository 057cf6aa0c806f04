"""A Celery message captured whole, in the publisher or, for want of that, in the worker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from celery.app.task import Context
from celery.utils.saferepr import saferepr
from celery.utils.time import maybe_iso8601
from kombu import Exchange, Queue
from kombu.message import Message as Delivery
from kombu.serialization import dumps as encode
from kombu.serialization import registry

from fullresult import encoding
from fullresult.events import to_utc
from fullresult.record import Message

HIDDEN = "hidden: the publisher gave its own repr"
PROTOCOL_1 = "published by message protocol 1"
RE_ENCODED = "encoded again by the worker: its publisher was not recorded"

EMBEDS = ("callbacks", "errbacks", "chain", "chord")
_NO_EMBED = {name: None for name in EMBEDS}
_KEPT_APART = frozenset(
    {"headers", "serializer", "declare", "retry", "retry_policy", "exchange", "routing_key"}
)
_HEADERS = (
    "lang task id shadow eta expires group group_index retries timelimit root_id parent_id "
    "argsrepr kwargsrepr origin ignore_result replaced_task_nesting stamped_headers stamps"
).split()


class Limits(NamedTuple):
    """How much of one task is kept."""

    text: int
    """Characters of anything shown or searched: arguments, results, reprs, tracebacks."""
    body: int
    """Bytes of the message body kept for sending it again."""


class Payload(NamedTuple):
    """A serialised body."""

    data: bytes | str
    content_type: str
    content_encoding: str


class Call(NamedTuple):
    """One call of a producer's `publish`, about to be made."""

    body: Any
    """(args, kwargs, embed), or a protocol 1 message's dict."""
    payload: Payload | None
    """None where the body cannot be serialised."""
    how: Mapping[str, Any]
    """The other keywords of `publish`."""
    hidden: frozenset[str] = frozenset()
    """"args", "kwargs": what the publisher gave a repr of its own to hide."""


def serialise(body: Any, serializer: str | None) -> Payload:
    """What kombu's producer would make of *body*. Raises kombu's EncodeError like it."""
    content_type, content_encoding, data = encode(body, serializer=serializer)
    return Payload(data, content_type, content_encoding)


def content_type_of(serializer: str) -> str:
    """The content type that kombu's *serializer* writes."""
    return str(registry.name_to_type.get(serializer, serializer))


def serializer_of(content_type: str) -> str:
    """The name of kombu's serializer for *content_type*."""
    return str(registry.type_to_name.get(content_type, content_type))


def identity(headers: Mapping[str, Any], body: Any) -> str | None:
    """The task id of a message of either protocol."""
    return headers.get("id") or (body.get("id") if isinstance(body, dict) else None)


def capture(call: Call, stamp: str, limits: Limits) -> Message:
    """The message that *call* sends."""
    headers = call.how.get("headers") or {}
    notes: dict[str, str] = {}
    if isinstance(call.body, dict):
        notes["body"] = PROTOCOL_1
        headers, parts = call.body, _protocol_1(call.body)
    else:
        parts = call.body
    if call.hidden:
        notes["body"] = HIDDEN
    if call.payload is None:
        notes["body"] = "it could not be serialised"
    return _message(stamp, parts, call.payload, headers, call.how, None, notes, limits, call.hidden)


def capture_again(
    known: Message,
    payload: Payload,
    parts: tuple[Any, Any, Any] | None,
    how: Mapping[str, Any],
    retry_of: str,
    stamp: str,
    limits: Limits,
) -> Message:
    """The message of a re-send of *known*; *parts* where its arguments are not the known ones."""
    headers = how["headers"]
    if parts is not None:
        return _message(stamp, parts, payload, headers, how, retry_of, {}, limits)
    notes = dict(json.loads(known.notes or "{}"))
    none = (None, None, None)
    fresh = _message(stamp, none, payload, headers, how, retry_of, notes, limits)
    return fresh._replace(args=known.args, kwargs=known.kwargs, embed=known.embed)


def capture_request(request: Context, name: str, stamp: str, limits: Limits) -> Message:
    """The message of a running task, as far as its worker can tell."""
    known = vars(request)
    headers = {key: known[key] for key in _HEADERS if key in known}
    headers.update(request.headers or {})
    headers.setdefault("task", name)
    delivery = request.delivery_info or {}
    how = {key: delivery[key] for key in ("exchange", "routing_key", "priority") if key in delivery}
    parts = (request.args, request.kwargs, {part: known.get(part) for part in EMBEDS})
    notes = {"encoding": RE_ENCODED}
    hidden = _hidden_in(request)
    payload: Payload | None = None
    if hidden:
        notes["body"] = HIDDEN
    else:
        try:
            payload = serialise(parts, "json")
        except Exception as error:
            notes["body"] = encoding.safe_str(error)[:200]
    return _message(stamp, parts, payload, headers, how, None, notes, limits, hidden)


def capture_delivery(delivery: Delivery, stamp: str, limits: Limits) -> Message:
    """A message that a worker received and could not make a task of: exact, but not decoded."""
    headers = delivery.headers or {}
    how = {**(delivery.properties or {}), **(delivery.delivery_info or {})}
    payload = Payload(delivery.body, delivery.content_type, delivery.content_encoding or "utf-8")
    parts = encoding.decode_body(_bytes(payload), payload.content_type, payload.content_encoding)
    notes = {} if parts else {"args": "not decoded", "kwargs": "not decoded"}
    return _message(stamp, parts or (None, None, None), payload, headers, how, None, notes, limits)


def _hidden_in(request: Context) -> frozenset[str]:
    """The arguments whose repr in the message is not what Celery would have written."""
    pairs = (("args", "argsrepr"), ("kwargs", "kwargsrepr"))
    return frozenset(
        part
        for part, shown in pairs
        if (given := getattr(request, shown, None)) is not None
        and given not in (saferepr(getattr(request, part)), saferepr(tuple(getattr(request, part))))
    )


def _protocol_1(body: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    return body.get("args"), body.get("kwargs"), {part: body.get(part) for part in EMBEDS}


def _message(
    stamp: str,
    parts: Sequence[Any],
    payload: Payload | None,
    headers: Mapping[str, Any],
    how: Mapping[str, Any],
    retry_of: str | None,
    notes: dict[str, str],
    limits: Limits,
    hidden: frozenset[str] = frozenset(),
) -> Message:
    args, kwargs, embed = parts
    shown = {"args": args, "kwargs": kwargs}
    exchange = how.get("exchange")
    return Message(
        stamp=stamp,
        name=_key(headers.get("task")),
        args=_argument("args", shown, limits, hidden, notes),
        kwargs=_argument("kwargs", shown, limits, hidden, notes),
        embed=None if embed == _NO_EMBED else _json("embed", embed, notes),
        body=None if "body" in notes else _body(payload, limits, notes),
        content_type=payload.content_type if payload else None,
        content_encoding=payload.content_encoding if payload else None,
        headers=_json("headers", headers, notes),
        properties=_json("properties", _properties(how, headers), notes),
        exchange=_key(exchange.name if isinstance(exchange, Exchange) else exchange),
        routing_key=_key(how.get("routing_key")),
        queue=_queue(how),
        priority=_number(how.get("priority")),
        eta=_date("eta", headers, notes),
        expires=_date("expires", headers, notes),
        root_id=_key(headers.get("root_id")),
        parent_id=_key(headers.get("parent_id")),
        group_id=_key(headers.get("group")),
        retry_of=retry_of,
        notes=json.dumps(notes) if notes else None,
    )


def _argument(
    part: str,
    shown: Mapping[str, Any],
    limits: Limits,
    hidden: frozenset[str],
    notes: dict[str, str],
) -> str | None:
    if part in notes:
        return None
    if part in hidden:
        notes[part] = HIDDEN
        return None
    text, reason = encoding.searchable(shown[part], limits.text)
    if reason is not None:
        notes[part] = reason
    return text


def _body(payload: Payload | None, limits: Limits, notes: dict[str, str]) -> bytes | None:
    if payload is None:
        return None
    body = _bytes(payload)
    if len(body) > limits.body:
        notes["body"] = f"cut: {len(body)} bytes, of which fullresult_max_body keeps {limits.body}"
        return None
    return body


def _bytes(payload: Payload) -> bytes:
    data = payload.data
    return data.encode(payload.content_encoding) if isinstance(data, str) else bytes(data)


def _properties(how: Mapping[str, Any], headers: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        name: value for name, value in how.items() if value is not None and name not in _KEPT_APART
    }
    if kept.get("correlation_id") == headers.get("id"):
        kept.pop("correlation_id", None)
    if declared := [
        entity.name for entity in how.get("declare") or () if isinstance(entity, Queue)
    ]:
        kept["declare"] = declared
    return kept


def _queue(how: Mapping[str, Any]) -> str | None:
    for entity in how.get("declare") or ():
        if isinstance(entity, Queue):
            return _key(entity.name)
    return _key(how.get("routing_key")) if not how.get("exchange") else None


def _json(part: str, value: Any, notes: dict[str, str]) -> str | None:
    try:
        return encoding.clean(encoding.dumps(value))
    except encoding.Unstorable as error:
        notes[part] = str(error)
        return None


def _key(value: Any) -> str | None:
    return None if value is None else encoding.key(value)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and abs(value) < 2**31 else None


def _date(part: str, headers: Mapping[str, Any], notes: dict[str, str]) -> datetime | None:
    value = headers.get(part)
    if value is None:
        return None
    try:
        when = maybe_iso8601(value)
        # Celery reads a naive date in a message as UTC.
        return to_utc(when if when.tzinfo else when.replace(tzinfo=timezone.utc))
    except Exception:
        notes[part] = f"not a date: {encoding.safe_repr(value)[:100]}"
        return None
