"""The message of a re-send: the recorded one with a new id, new dates, and no group or chord."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from celery.utils.time import maybe_iso8601
from kombu.utils.functional import maybe_list

from fullresult.actions.errors import CannotResend
from fullresult.record import PROTOCOL_1, REDACTED, Message, TaskRecord, encoding
from fullresult.recording import masking
from fullresult.recording.message import EMBEDS, HIDDEN

ARGUMENTS = ("args", "kwargs")
LINKS = {"link": "callbacks", "link_error": "errbacks"}
HEADER = frozenset({"shadow", "argsrepr", "kwargsrepr", "ignore_result"})
_MEMBERSHIP = frozenset({"chord", "group_id", "group_index"})

# Celery sends an ETA to a quorum queue through this exchange, the delay in the first 28 words of
# the routing key; the other exchange is where such a message comes out.
_DELAYED, _DELIVERED, _DELAY_WORDS = "celery_delayed_27", "celery_delayed_delivery", 28


def whole_message(record: TaskRecord, options: Mapping[str, Any]) -> Message:
    """The message that the record shows: of the run that its outcome is of, if there are two.

    Raises `CannotResend` if new arguments could not make it whole.
    """
    known = record.sent
    if known is None:
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
    return known


def _is_redacted(record: TaskRecord, part: str) -> bool:
    return record.notes.get(part, "").startswith(REDACTED)


def _redacted_headers(record: TaskRecord) -> set[str]:
    """The redacted headers, except those that are made of the arguments."""
    if not _is_redacted(record, "headers"):
        return set()
    hidden = {name for name, value in record.headers.items() if masking.holds_mark(value)}
    return hidden - {"argsrepr", "kwargsrepr"}


def _given_headers(options: Mapping[str, Any]) -> set[str]:
    headers = options.get("headers") or {}
    known = {name for name, value in headers.items() if not masking.holds_mark(value)}
    return known | (HEADER & options.keys())


def hidden_arguments(record: TaskRecord, options: Mapping[str, Any]) -> frozenset[str]:
    """The arguments, of `ARGUMENTS`, that the first publisher or the re-send hides."""
    return frozenset(
        part
        for part in ARGUMENTS
        if record.notes.get(part) == HIDDEN or options.get(f"{part}repr") is not None
    )


def route_of(record: TaskRecord) -> tuple[str, str | None]:
    """The exchange and routing key. Of an ETA to a quorum queue, those after its delay."""
    exchange, key = record.exchange or "", record.routing_key
    if exchange != _DELAYED or key is None:
        return exchange, key
    words = key.split(".")
    return _DELIVERED, ".".join(["0"] * _DELAY_WORDS + words[_DELAY_WORDS:])


def new_headers(record: TaskRecord, task_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded headers with the new id, out of its group unless `keep_group` is given."""
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
    headers.update({name: options[name] for name in HEADER & options.keys()})
    headers.update(options.get("headers") or {})
    if "time_limit" in options or "soft_time_limit" in options:
        hard, soft = headers.get("timelimit") or (None, None)
        headers["timelimit"] = [
            options.get("time_limit", hard),
            options.get("soft_time_limit", soft),
        ]
    return headers


def _put(headers: dict[str, Any], name: str, value: Any) -> None:
    """Set a header. None is not put into a message that never had it."""
    if value is not None or name in headers:
        headers[name] = value


def put_dates(record: TaskRecord, how: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Put dates into *how*: the re-send runs now, and expires after the time its original had."""
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


def new_parts(
    record: TaskRecord,
    known: Message,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> tuple[Any, Any, Any] | None:
    """(args, kwargs, embed) to serialise; None if the recorded body is sent as it is."""
    decoded = encoding.decode_body(known.body, known.content_type, known.content_encoding)
    embed = _embed(record, decoded)
    keep = bool(options.get("keep_group"))
    wanted = embed if keep else _alone(embed)
    wanted = {
        **wanted,
        **{
            embedded: maybe_list(options[link])
            for link, embedded in LINKS.items()
            if link in options
        },
    }
    if "chain" in options:
        wanted["chain"] = options["chain"]
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
    for part, given in zip(ARGUMENTS, (args, kwargs), strict=True):
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
    """The reason why links are unknown; None if all are recorded or given in *options*."""
    if not _is_redacted(record, "embed") or not record.embed:
        return record.notes.get("embed")
    given = {embedded for link, embedded in LINKS.items() if link in options}
    if not options.get("keep_group"):
        given.add("chord")  # which it leaves
    lacking = [part for part in EMBEDS if part not in given and masking.holds_mark(embed[part])]
    if not lacking:
        return None
    ways = [f"{link}=…" for link, embedded in LINKS.items() if embedded in lacking]
    give = f"; give {', '.join(ways)}" if len(ways) == len(lacking) else ""
    return f"{REDACTED}: {', '.join(lacking)}{give}"


def _embed(record: TaskRecord, decoded: Sequence[Any] | None) -> dict[str, Any]:
    if decoded is not None:
        return dict(decoded[2] or {})
    return {**dict.fromkeys(EMBEDS), **record.embed}


def _alone(embed: Mapping[str, Any]) -> dict[str, Any]:
    """*embed* without its chord, and with the rest of its chain in no chord or group."""
    alone = dict(embed)
    if alone.get("chord"):
        alone["chord"] = None
    if isinstance(alone.get("chain"), list):
        alone["chain"] = [_outside(signature) for signature in alone["chain"]]
    return alone


def _outside(signature: Any) -> Any:
    """*signature* in no chord or group. What is none stays: its worker says what is wrong."""
    if not isinstance(signature, Mapping):
        return signature
    options = signature.get("options")
    if not isinstance(options, Mapping):
        return dict(signature)
    kept = {k: v for k, v in options.items() if k not in _MEMBERSHIP or v is None}
    return {**signature, "options": kept}


def _argument(record: TaskRecord, known: Message, decoded: Sequence[Any] | None, index: int) -> Any:
    """A recorded argument: from the body or, without a body, from the searchable text."""
    if decoded is not None:
        return decoded[index]
    part = ARGUMENTS[index]
    text = (known.args, known.kwargs)[index]
    redacted = _is_redacted(record, part)
    if text is not None and known.content_type == "application/json" and not redacted:
        return encoding.loads(text)
    why = record.notes.get(part) or record.notes.get("body")
    why = why or f"its body, of type {known.content_type}, is never decoded"
    raise CannotResend(f"task {record.task_id}: {part} unknown ({why}); give {part}=…")
