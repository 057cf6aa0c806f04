"""Events and records for tests: whole, and short to write."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal
from typing import Any

from fullresult.record import (
    FINISHED,
    PENDING,
    SCHEDULED,
    SUCCESS,
    Entry,
    Message,
    Outcome,
    OwnMessage,
    Start,
    Stored,
    TaskRecord,
)
from fullresult.record.resent import mark
from fullresult.record.schedule import Schedule
from fullresult.record.stamps import Attempt, Moment
from fullresult.record.states import is_open

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc)
EXPIRY = datetime(2999, 1, 31, 12, 0, tzinfo=timezone.utc)
"""Far ahead, because some databases delete expired records by themselves."""

_JSON = ("args", "kwargs")


def after(milliseconds: int) -> datetime:
    """That many milliseconds after noon."""
    return NOON + timedelta(milliseconds=milliseconds)


def expiry(milliseconds: int) -> datetime:
    """That many milliseconds after noon of the day on which samples expire."""
    return EXPIRY + timedelta(milliseconds=milliseconds)


def moment(at: datetime = NOON, tag: str = "") -> Moment:
    """The moment *at* of the process *tag*."""
    microseconds = (at - EPOCH) // timedelta(microseconds=1)
    return Moment(at, f"{microseconds:014x}{tag:0>8}")


def stamp(
    state: str = PENDING,
    at: datetime = NOON,
    *,
    nesting: int = 0,
    retries: int = 0,
    tag: str = "",
) -> str:
    return Attempt(nesting, retries).stamp(state, moment(at, tag))


def outcome(state: str = SUCCESS, at: datetime = NOON, **known: Any) -> Outcome:
    """An outcome whose stamp follows from *state*, *at* and `retries`."""
    retries = known.get("retries", 0)
    values: dict[str, Any] = dict.fromkeys(Outcome._fields)
    values |= {
        "stamp": stamp(state, at, retries=retries),
        "state": state,
        "open": is_open(state),
        "retries": retries,
        "date_done": at if state in FINISHED else None,
        "stale_from": at,
    }
    return Outcome(**values | known)


def message(at: datetime = NOON, **known: Any) -> Message:
    """A message published at *at*; *args* and *kwargs* are values, not text."""
    values: dict[str, Any] = dict.fromkeys(Message._fields)
    values |= {"stamp": stamp(PENDING, at), "name": "shop.pay"}
    known |= {name: json.dumps(known[name]) for name in _JSON if known.get(name) is not None}
    return Message(**values | known)


def start(at: datetime = NOON, worker: str | None = "w1@host", *, tag: str = "") -> Start:
    return Start(stamp("STARTED", at, tag=tag), worker, at)


def stored(body: bytes = b"{}", state: str = SUCCESS, at: datetime = NOON) -> Stored:
    return Stored(stamp(state, at), body, "application/json", "utf-8")


def entry(state: str = "FAILURE", at: datetime = NOON, **known: Any) -> Entry:
    retries = known.get("retries", 0)
    values: dict[str, Any] = dict.fromkeys(Entry._fields)
    values |= {"stamp": stamp(state, at, retries=retries), "retries": retries, "state": state}
    return Entry(**values | known)


def event(task_id: str, at: datetime = NOON, **known: Any) -> TaskRecord:
    """An event of *task_id* with the parts *known*."""
    return TaskRecord(task_id, at, at, **known)


def task(
    task_id: str,
    at: datetime = NOON,
    *,
    state: str = SUCCESS,
    entries: tuple[Entry, ...] = (),
    **known: Any,
) -> TaskRecord:
    """A whole record; *known* are fields of its outcome and of its message."""
    told = {name: value for name, value in known.items() if name in Outcome._fields}
    sent = {name: value for name, value in known.items() if name not in Outcome._fields}
    return TaskRecord(
        task_id,
        at,
        at,
        at,
        outcome=outcome(state, at, **told),
        message=message(at, **sent),
        entries=entries,
    )


def schedule(schedule_id: str, due: datetime = NOON, **known: Any) -> Schedule:
    """An unclaimed schedule of a task with another id."""
    values: dict[str, Any] = {
        "schedule_id": schedule_id,
        "task_id": f"task {schedule_id}",
        "namespace": "shop",
        "due": due,
        "date_scheduled": EPOCH,
        "name": "shop.pay",
        "queue": "celery",
        "body": b"[[], {}, {}]",
        "headers": "{}",
        "how": "{}",
    }
    return Schedule(**values | known)


def scheduled(schedule: Schedule, **known: Any) -> TaskRecord:
    """The event that comes with *schedule*; *known* are fields of its outcome and message."""
    named = {"name": schedule.name, "queue": schedule.queue}
    return task(schedule.task_id, state=SCHEDULED, **named | known)


def became(task_id: str, state: str, at: datetime = NOON, **known: Any) -> TaskRecord:
    """The event that *task_id* is now in *state*; *known* are fields of its outcome."""
    return event(task_id, at, outcome=outcome(state, at, **known))


def plain(record: TaskRecord) -> TaskRecord:
    """*record* with its JSON in one spelling: databases write numbers and keys their own way."""
    known: dict[str, Any] = {}
    if record.message:
        spelt: dict[str, Any] = {name: _spelt(getattr(record.message, name)) for name in _JSON}
        known["message"] = record.message._replace(**spelt)
    if record.outcome:
        known["outcome"] = record.outcome._replace(result=_spelt(record.outcome.result))
    return replace(record, **known)


def _spelt(text: str | None) -> str | None:
    if text is None:
        return None
    value = json.loads(text, parse_float=_number, parse_int=_number)
    return json.dumps(value, sort_keys=True, default=str)


def _number(text: str) -> Decimal:
    return Decimal(text).normalize(Context(prec=1_000)) + 0


def dates(record: TaskRecord) -> list[datetime]:
    """Every date anywhere in *record*."""
    parts = [record.outcome, record.message, record.start, *record.entries]
    values = [getattr(record, field.name) for field in fields(record)]
    values += [value for part in parts if part for value in part]
    return [value for value in values if isinstance(value, datetime)]


RICH_OUTCOME = Outcome(
    stamp=stamp("FAILURE", NOON, retries=3, tag="a1"),
    state="FAILURE",
    open=False,
    retries=3,
    worker="Wörker-1@höst",
    date_started=after(1),
    date_done=after(2),
    stale_from=after(3),
    runtime=0.1234567890123,
    result='{"$set": {"a.b": [1, 2.5, null, true]}, "": "é\\u4e2d \\ud83d\\ude00"}',
    result_text="NaN and \t tabs,\n lines, 'quotes\", \\ and 🎉",
    result_form="json",
    exception_type="shop.errors.Überlauf",
    exception_message="$money > 100 %; DROP TABLE fullresult_task; --",
    traceback="Traceback (most recent call last):\n  File …\n",
    children='["a", ["g", ["b", "c"]]]',
    expire_at=expiry(1),
    fingerprint="1-0123456789abcdef",
)
"""An outcome with every field set."""

RICH_MESSAGE = Message(
    stamp=stamp("PENDING", NOON, tag="a1"),
    name="магазин.задачи.оплатить",
    args='[1, "two", {"three": 3.5}, null, true, 12345678901234567890]',
    kwargs='{"$inc": {"a.b.c": 1}, "": null, "é": "\\u4e2d", "q\\"uote": "it\'s"}',
    embed='{"callbacks": null, "errbacks": null, "chain": null, "chord": null}',
    body=bytes(range(256)),
    content_type="application/json",
    content_encoding="utf-8",
    headers='{"id": "x", "argsrepr": "(1,)", "stamps": {"a$.b": ["c"]}}',
    properties='{"delivery_mode": 2, "priority": 7}',
    exchange="",
    routing_key="clé.de.routage",
    queue="очередь",
    priority=7,
    eta=after(60_000),
    expires=LATEST,
    root_id="root $.%_",
    parent_id="parent",
    group_id="group",
    retry_of="old",
    notes='{"args": "cut: 17 characters"}',
)
"""A message with every field set."""

RICH_STORED = Stored(
    stamp=stamp("FAILURE", NOON, retries=3, tag="a1"),
    body=bytes(range(256)),
    content_type="application/x-python-serialize",
    content_encoding="binary",
)
"""A stored value with no part that is plain text."""

RICH_ENTRY = Entry(
    stamp=stamp("RETRY", NOON, retries=2, tag="a1"),
    retries=2,
    state="RETRY",
    worker="Wörker-1@höst",
    date_started=EPOCH,
    date_done=LATEST,
    exception_type="ValueError",
    exception_message="lines\nand 'quotes\" and \\ and 中 🎉",
    traceback="Traceback …",
)
"""An entry with every field set."""


def rich(task_id: str) -> TaskRecord:
    """A record with every field set."""
    return TaskRecord(
        task_id=task_id,
        date_created=NOON,
        date_updated=after(5),
        date_published=after(4),
        outcome=RICH_OUTCOME,
        message=RICH_MESSAGE,
        start=Start(stamp("STARTED", after(1), tag="a1"), "Wörker-0@höst", after(1)),
        stored=RICH_STORED,
        entries=(RICH_ENTRY,),
        resent=mark(RICH_OUTCOME.stamp, after(6), "neu $.%_"),
        published_again=stamp("PENDING", after(1), tag="b2"),
        own=OwnMessage.of(RICH_MESSAGE, RICH_OUTCOME.stamp),
    )


RICH_SCHEDULE = Schedule(
    schedule_id="id $.%_",
    task_id="задача '1'",
    namespace="bröker://höst/1?a=%20",
    due=after(1),
    date_scheduled=after(-1),
    name="магазин.задачи.оплатить",
    queue="очередь",
    body=bytes(range(256)),
    headers='{"id": "x", "argsrepr": "(1,)", "stamps": {"a$.b": ["c"]}, "é": "\\u0000 \\ud83d"}',
    how='{"routing_key": "clé", "declare": [{"name": "очередь", "n": 1e400}],  "a": 1, "a": 2}',
    new_task_id="new",
)
"""A schedule with every field set that it may have before it is claimed."""
