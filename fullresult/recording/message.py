"""Celery messages: calls of `publish`, serialised bodies, and the values of their headers."""

from __future__ import annotations

from collections import UserList
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, NamedTuple

from celery.utils.time import maybe_iso8601
from kombu import Queue
from kombu.compression import get_decoder
from kombu.serialization import dumps as encode
from kombu.serialization import registry

from fullresult.record import encoding
from fullresult.record.dates import to_utc

HIDDEN = "hidden: the publisher gave its own repr"

EMBEDS = ("callbacks", "errbacks", "chain", "chord")
_PARTS = frozenset({"args", "kwargs", *EMBEDS})
_REPRS = {"argsrepr": "args", "kwargsrepr": "kwargs"}


class Payload(NamedTuple):
    """A serialised body."""

    data: bytes | str
    content_type: str
    content_encoding: str


class _Unencoded(str):
    """Text that a producer of kombu's hands to the channel as text: it encodes any other."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> Any:  # noqa: ARG002
        return self


class Call(NamedTuple):
    """One call of a producer's `publish`, about to be made."""

    body: Any
    """(args, kwargs, embed), or a protocol 1 message's dict."""
    payload: Payload | None
    """None where the body cannot be serialised."""
    how: Mapping[str, Any]
    """The other keywords of `publish`."""
    hidden: frozenset[str] = frozenset()
    """Of "args" and "kwargs", those that the publisher hid by a repr of its own."""
    redacted: Mapping[str, str] = MappingProxyType({})
    """The parts that differ from what is sent, each with the note that says why."""
    elsewhere: bool = False
    """True if the caller gave a connection of its own, maybe to another broker than the app's."""

    @property
    def headers(self) -> Mapping[str, Any]:
        """The message's headers; by protocol 1 the fields of its body, without the arguments."""
        if isinstance(self.body, dict):
            return {key: value for key, value in self.body.items() if key not in _PARTS}
        return self.how.get("headers") or {}

    @property
    def parts(self) -> Sequence[Any]:
        """(args, kwargs, embed), by any protocol."""
        if isinstance(self.body, dict):
            embed = {part: self.body.get(part) for part in EMBEDS}
            return self.body.get("args"), self.body.get("kwargs"), embed
        return self.body or (None, None, None)


def serialise(body: Any, serializer: str | None) -> Payload:
    """*body* as kombu's producer would serialise it. Raises kombu's `EncodeError`."""
    content_type, content_encoding, data = encode(body, serializer=serializer)
    return Payload(data, content_type, content_encoding)


def as_published(payload: Payload, compression: str | None, producer: Any) -> bytes | str:
    """The form of *payload* that has *producer* send the same bytes as if it had serialised them.

    With `body_encoding` off, a channel writes text and bytes differently: text must stay text.
    """
    # Not the channel's own attribute: to ask for the channel is to connect.
    options = getattr(producer.connection, "transport_options", None) or {}
    if options.get("body_encoding", True) or compression or producer.compression:
        return payload.data
    if payload.content_encoding != "utf-8":
        return payload.data
    try:
        return _Unencoded(body_bytes(payload).decode())
    except UnicodeError:
        return payload.data


def content_type_of(serializer: str) -> str:
    """The content type that kombu's *serializer* writes."""
    return str(registry.name_to_type.get(serializer, serializer))


def is_json(serializer: str) -> bool:
    """True if kombu's *serializer* writes JSON."""
    return content_type_of(serializer) == "application/json"


def decompresses(compression: str) -> bool:
    """True if kombu can decompress what *compression* made, here."""
    try:
        get_decoder(compression)
    except KeyError:
        return False
    return True


def serializer_of(content_type: str) -> str:
    """The name of kombu's serializer for *content_type*."""
    return str(registry.type_to_name.get(content_type, content_type))


def hidden_by(options: Mapping[str, Any]) -> frozenset[str]:
    """The arguments that *options* of `send_task` hide by a repr of their own."""
    return frozenset(part for name, part in _REPRS.items() if options.get(name) is not None)


def identity(headers: Mapping[str, Any], body: Any) -> str | None:
    """The task id of a message of either protocol."""
    return headers.get("id") or (body.get("id") if isinstance(body, dict) else None)


def hides_arguments(embed: Any) -> bool:
    """True if a signature anywhere in *embed* hides its arguments by a repr of its own."""
    waiting, seen = [embed], set()
    while waiting:
        item = waiting.pop()
        # A circle, or methods that raise, must not stop the recording.
        if id(item) in seen:
            continue
        if isinstance(item, dict):
            options = dict.get(item, "options")
            if "task" in item and isinstance(options, dict) and _gives_repr(options):
                return True
            seen.add(id(item))
            waiting.extend(dict.values(item))
        elif isinstance(item, (list, tuple, UserList)):  # the last is how Celery keeps a generator
            seen.add(id(item))
            waiting.extend(item)
    return False


def _gives_repr(options: dict[str, Any]) -> bool:
    return any(dict.get(options, name) is not None for name in ("argsrepr", "kwargsrepr"))


def body_bytes(payload: Payload) -> bytes:
    """A body as bytes, as the record keeps it."""
    data = payload.data
    if not isinstance(data, str):
        return bytes(data)
    try:
        return data.encode(payload.content_encoding)
    except LookupError:  # "binary", or a codec that only another language knows
        return data.encode()


def queue_of(how: Mapping[str, Any]) -> str | None:
    """The queue that `Producer.publish(**how)` publishes to; None for an exchange without one."""
    for entity in how.get("declare") or ():
        if isinstance(entity, Queue):
            return text_or_none(entity.name)
    return text_or_none(how.get("routing_key")) if not how.get("exchange") else None


def text_or_none(value: Any) -> str | None:
    return None if value is None else encoding.key(value)


def date_in(part: str, headers: Mapping[str, Any], notes: dict[str, str]) -> datetime | None:
    """The date in a header, in UTC; None if there is none, or if *notes* says it is no date."""
    value = headers.get(part)
    if value is None:
        return None
    try:
        when = maybe_iso8601(value)
        # Celery reads a naive date in a message as UTC.
        return to_utc(when if when.tzinfo else when.replace(tzinfo=timezone.utc))
    except Exception:  # noqa: BLE001  (a message may say anything)
        notes[part] = f"not a date: {encoding.safe_repr(value)[:100]}"
        return None
