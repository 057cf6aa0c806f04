"""The recorded form of a message: of a publish, a delivery, a request or a payload."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery.app.task import Context
from celery.utils.saferepr import saferepr
from kombu import Exchange, Queue
from kombu.message import Message as Delivery

from fullresult.config.settings import Limits
from fullresult.record import PROTOCOL_1, Message, encoding
from fullresult.record.interruptions import spare
from fullresult.recording.body_parts import arguments_in_body
from fullresult.recording.given_repr import tells_all
from fullresult.recording.message import (
    EMBEDS,
    HIDDEN,
    Call,
    Payload,
    body_bytes,
    content_type_of,
    date_in,
    hides_arguments,
    queue_of,
    serialise,
    text_or_none,
)

IGNORED = "not kept: fullresult_ignore names the task"
RE_ENCODED = "encoded again by the worker: its publisher was not recorded"
NOT_SERIALISABLE = "it could not be serialised"
NOT_EXACT = "JSON changes its arguments, and its publisher was not recorded"
_NO_EMBED = dict.fromkeys(EMBEDS)
_KEPT_APART = frozenset(
    {"headers", "serializer", "declare", "retry", "retry_policy", "exchange", "routing_key"}
)
_OF_BODY = ("args", "kwargs", "embed", "encoding")
"""The notes that are about the body, and true of any message with the same body."""
_SENT_WITH = frozenset({"correlation_id", "reply_to", "delivery_mode", "priority"})
"""Properties of a received message that mean the same to `Producer.publish`."""
_CUT_REPR = 1000
"""Celery cuts a repr at about 1,024 characters."""
_LONGEST_REPR = 16 * 1024
"""Celery takes quadratic time for a longer one: 4 s for 0.9 MB."""
_LINKS = 64 * 1024
"""Characters of links that are kept without their body, however little of a body is."""
_BRACKETS = str.maketrans("()", "[]")
CELERYS_HEADERS = (
    *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries"),
    *("timelimit", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result"),
    *("replaced_task_nesting", "stamped_headers", "stamps"),
)
Redact = Callable[[Call], Call]
"""Answers a call as it may be recorded."""


def capture(call: Call, stamp: str, limits: Limits, redact: Redact | None = None) -> Message:
    """The message that *call* sends."""
    notes: dict[str, str] = {}
    if isinstance(call.body, dict):
        notes["body"] = PROTOCOL_1
    elif call.payload is None:
        notes["body"] = NOT_SERIALISABLE
    elif call.hidden:
        notes["body"] = HIDDEN
    return _message(stamp, call, notes, limits, redact, is_ours=True)


def capture_known(
    call: Call,
    known: Mapping[str, str],
    stamp: str,
    limits: Limits,
    redact: Redact | None = None,
) -> Message:
    """A message as another program kept it; the notes *known* say what is missing."""
    return _message(stamp, call, dict(known), limits, redact)


def without_content(known: Message, why: str = IGNORED) -> Message:
    """*known* of a task that is not to be recorded: only its name and where it goes."""
    lost: dict[str, Any] = dict.fromkeys(
        ("args", "kwargs", "embed", "body", "headers", "properties")
    )
    return known._replace(**lost, notes=json.dumps(dict.fromkeys(lost, why)))


def capture_again(
    known: Message, call: Call, stamp: str, limits: Limits, redact: Redact | None = None
) -> Message:
    """The message of a re-send of *known*. A *call* without a body sends the known one."""
    if call.body is not None:
        return capture(call, stamp, limits, redact)
    if redact is not None:
        # The rules may be newer than the record.
        shown = call._replace(body=_shown(known))
        if redact(shown).redacted:
            return capture(shown, stamp, limits, redact)
    fresh = capture(call, stamp, limits)
    of_body = {part: why for part, why in _notes(known).items() if part in _OF_BODY}
    notes = {**of_body, **_notes(fresh)}
    return fresh._replace(
        args=None if "args" in call.hidden else known.args,
        kwargs=None if "kwargs" in call.hidden else known.kwargs,
        embed=known.embed,
        notes=json.dumps(notes) if notes else None,
    )


def _shown(known: Message) -> Sequence[Any] | None:
    """The arguments of *known*; None if they cannot be read."""
    parts = encoding.decode_body(known.body, known.content_type, known.content_encoding)
    if parts is not None:
        return parts  # type: ignore[no-any-return]
    if known.args is None or known.kwargs is None or "embed" in _notes(known):
        return None
    return tuple(None if each is None else encoding.loads(each) for each in known[2:5])


def capture_request(
    request: Context, name: str, stamp: str, limits: Limits, redact: Redact | None = None
) -> Message:
    """The message of a running task, as its worker sees it."""
    known = vars(request)
    headers = {key: known[key] for key in CELERYS_HEADERS if key in known}
    headers.update(request.headers or {})
    headers.setdefault("task", name)
    how: dict[str, Any] = {"headers": headers}
    how.update({key: known.get(key) for key in ("compression", "correlation_id", "reply_to")})
    delivery = request.delivery_info or {}
    how.update({key: delivery.get(key) for key in ("exchange", "routing_key", "priority")})
    parts = (request.args, request.kwargs, {part: known.get(part) for part in EMBEDS})
    notes = {"encoding": RE_ENCODED}
    hidden = hidden_in(request)
    payload: Payload | None = None
    if hidden:
        notes["body"] = HIDDEN
    else:
        try:
            payload = _serialise_exactly(parts)
        except Exception as error:  # noqa: BLE001  (the arguments' own methods may raise anything)
            spare(error)
            notes["body"] = encoding.safe_str(error)[:200]
    call = Call(parts, payload, how, hidden)
    return _message(stamp, call, notes, limits, redact, is_ours=True)


def _serialise_exactly(parts: tuple[Any, Any, Any]) -> Payload:
    """*parts* as JSON. Raises kombu's errors, and `ValueError` if JSON would change them."""
    payload = serialise(parts, "json")
    args, kwargs, _ = encoding.loads(str(payload.data))
    # The repr of builtins shows every difference: tuples, keys that are not text, NaN.
    if repr((args, kwargs)) != repr((list(parts[0]), dict(parts[1]))):
        raise ValueError(NOT_EXACT)
    return payload


def capture_delivery(
    delivery: Delivery, stamp: str, limits: Limits, redact: Redact | None = None
) -> Message:
    """A message that a worker received and could not make a task of."""
    headers = dict(delivery.headers or {})
    how = {k: v for k, v in (delivery.properties or {}).items() if k in _SENT_WITH}
    how.update({k: (delivery.delivery_info or {}).get(k) for k in ("exchange", "routing_key")})
    # kombu has decompressed the body already, and writes this header only when it compresses.
    how["compression"] = headers.pop("compression", None)
    payload = Payload(delivery.body, delivery.content_type, delivery.content_encoding or "utf-8")
    return capture_payload(payload, headers, how, stamp, limits, redact)


def capture_payload(
    payload: Payload,
    headers: Mapping[str, Any],
    how: Mapping[str, Any],
    stamp: str,
    limits: Limits,
    redact: Redact | None = None,
) -> Message:
    """A message given as its serialised body, which is decoded if that is safe."""
    data = body_bytes(payload)
    parts = encoding.decode_body(data, payload.content_type, payload.content_encoding)
    notes = {} if parts else {"args": "not decoded", "kwargs": "not decoded"}
    call = Call(parts, payload, {**how, "headers": headers})
    return _message(stamp, call, notes, limits, redact)


def hidden_in(request: Context) -> frozenset[str]:
    """The arguments that the repr in the message does not tell.

    It tells them if it is the one that Celery writes, or if each value can be read in it.
    """
    return frozenset(
        part
        for part in ("args", "kwargs")
        if (given := _repr_in(request, part)) is not None
        and not _is_repr(given, getattr(request, part))
        and not tells_all(given, getattr(request, part))
    )


def _repr_in(request: Context, part: str) -> str | None:
    given = getattr(request, f"{part}repr", None)
    if given == "" and getattr(request, "lang", "py") != "py":
        return None  # of a language whose Celery gives none
    return None if given is None else str(given)


def _is_repr(given: str, value: Any) -> bool:
    """True if *given* may be Celery's repr of *value*. A list now may have been a tuple then."""
    if len(given) > _LONGEST_REPR:
        whole = encoding.safe_repr(value)
    else:
        whole = saferepr(value, max(len(given), _CUT_REPR) + _CUT_REPR)
    ours, theirs = (text.translate(_BRACKETS).replace(",]", "]") for text in (whole, given))
    if len(given) >= _CUT_REPR and "..." in theirs:
        return ours.startswith(theirs.partition("...")[0].rstrip(", "))
    return ours == theirs


def _notes(known: Message) -> dict[str, str]:
    return dict(json.loads(known.notes)) if known.notes else {}


def _message(
    stamp: str,
    call: Call,
    notes: dict[str, str],
    limits: Limits,
    redact: Redact | None = None,
    *,
    is_ours: bool = False,
) -> Message:
    """The message of *call*, whose body was serialised here if it *is_ours*."""
    given = call
    if redact is not None:
        call = redact(call)
    encoded = arguments_in_body(call) if is_ours and call is given else {}
    args, kwargs, embed = call.parts
    shown = {"args": args, "kwargs": kwargs}
    headers, how, payload = call.headers, call.how, call.payload
    exchange = how.get("exchange")
    embeds = not (embed is None or embed == _NO_EMBED)
    if embeds and hides_arguments(embed):
        notes["embed"] = HIDDEN
        notes.setdefault("body", HIDDEN)
    if "body" in call.redacted:
        notes["body"] = call.redacted["body"]
    content_type = _content_type(call)
    body = None if "body" in notes else _body(payload, limits, notes)
    if body is not None and encoding.is_readable(content_type):
        embeds = False  # the body has them: a chain's links are most of what is kept of it
    return Message(
        stamp=stamp,
        name=text_or_none(headers.get("task")),
        args=_argument("args", shown, encoded, limits, call.hidden, notes),
        kwargs=_argument("kwargs", shown, encoded, limits, call.hidden, notes),
        embed=_links(embed, limits, notes) if embeds and "embed" not in notes else None,
        body=body,
        content_type=content_type,
        content_encoding=text_or_none(payload.content_encoding) if payload else None,
        headers=_json("headers", headers, notes),
        properties=_json("properties", _properties(how, headers), notes),
        exchange=text_or_none(exchange.name if isinstance(exchange, Exchange) else exchange),
        routing_key=text_or_none(how.get("routing_key")),
        queue=queue_of(how),
        priority=_number(how.get("priority")),
        eta=date_in("eta", headers, notes),
        expires=date_in("expires", headers, notes),
        root_id=text_or_none(headers.get("root_id")),
        parent_id=text_or_none(headers.get("parent_id")),
        group_id=text_or_none(headers.get("group")),
        retry_of=None,
        # Evaluated last: the fields above add to the notes.
        notes=json.dumps({**notes, **call.redacted}) if notes or call.redacted else None,
    )


def _content_type(call: Call) -> str | None:
    """The content type of the body, also of one that could not be serialised."""
    if call.payload is not None:
        return text_or_none(call.payload.content_type)
    serializer = call.how.get("serializer")
    return None if serializer is None else text_or_none(content_type_of(serializer))


def _argument(
    part: str,
    shown: Mapping[str, Any],
    encoded: Mapping[str, str],
    limits: Limits,
    hidden: frozenset[str],
    notes: dict[str, str],
) -> str | None:
    if part in notes:
        return None
    if part in hidden:
        notes[part] = HIDDEN
        return None
    if part in encoded:
        text, reason = encoding.searchable_text(encoded[part], limits.text)
    else:
        text, reason = encoding.searchable(shown[part], limits.text)
    if reason is not None:
        notes[part] = reason
    return text


def _links(embed: Any, limits: Limits, notes: dict[str, str]) -> str | None:
    text = _json("embed", embed, notes)
    most = max(limits.body, _LINKS)
    if text is not None and len(text) > most:
        notes["embed"] = f"cut: {len(text)} characters, of which {most} are kept at most"
        return None
    return text


def _body(payload: Payload | None, limits: Limits, notes: dict[str, str]) -> bytes | None:
    if payload is None:
        return None
    body = body_bytes(payload)
    if len(body) > limits.body:
        notes["body"] = f"cut: {len(body)} bytes, of which fullresult_max_body keeps {limits.body}"
        return None
    return body


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


def _json(part: str, value: Any, notes: dict[str, str]) -> str | None:
    try:
        return encoding.dumps(value)
    except encoding.Unstorable as error:
        notes[part] = str(error)
        return None


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and abs(value) < 2**31 else None
