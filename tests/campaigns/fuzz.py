"""The fuzzer: bytes changed at random, given to whatever reads what it did not write.

    python -m tests.campaigns.fuzz --seconds 600
    python -m tests.campaigns.fuzz --target spool --seed 7

Each target reads bytes that began as something sensible and may raise nothing but what it is
documented to. What it could not stand is printed as a Python literal, for a test. A seed gives the
same inputs again.

Long because each reader of foreign bytes has its target here, and its list of seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
import traceback
import warnings
from binascii import crc32
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from celery import Celery
from celery.bin.base import CLIContext
from celery.exceptions import ImproperlyConfigured
from click.testing import CliRunner
from kombu.message import Message as Delivery

from fullresult import FullResult, TaskRecord, plugins
from fullresult.cli.group import fullresult as commands
from fullresult.cli.record_page import page_of
from fullresult.config import Settings, without_password
from fullresult.config.redaction_rules import read_rules
from fullresult.config.settings import Limits
from fullresult.insight.document import document, dumps
from fullresult.outage import lines
from fullresult.record import encoding
from fullresult.record.merging import merge
from fullresult.record.schedule import Schedule, Unreadable
from fullresult.recording import capture
from fullresult.recording.masking import MARK
from fullresult.recording.redaction import Redactor
from fullresult.recording.running_tasks import RunningTask
from fullresult.scheduling.claim_term import Term
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.scheduling.sender import BrokerDown, Sender, Unconfirmed, Unsendable
from fullresult.storage import StorageError, TaskQuery, matching

NOW = datetime(2026, 1, 31, 14, tzinfo=timezone.utc)
SECRET = "s3cr3t"
SLOW = 5.0
"""Seconds after which an input is a find, too."""
_LIMITS = Limits(10_000, 100_000)
_TYPES = (
    *("application/json", "application/x-yaml", "application/x-msgpack"),
    *("application/x-python-serialize", "application/data", "text/plain", "no/such"),
)
_HEADERS: dict[str, Any] = {
    "lang": "py",
    "task": "shop.pay",
    "id": "one",
    "root_id": "one",
    "parent_id": None,
    "group": None,
    "retries": 0,
    "eta": "2026-01-31T14:00:00+00:00",
    "expires": "2026-01-31T15:00:00",
    "timelimit": [None, 3],
    "argsrepr": "(1,)",
    "kwargsrepr": "{'card': 'x'}",
    "origin": "gen1@host",
    "replaced_task_nesting": 0,
    "stamps": {"a": ["b"]},
}
_SIGNATURE = {"task": "shop.pay", "args": [1], "kwargs": {"card": SECRET}, "options": {"link": []}}
_BODY: list[Any] = [
    [1, "two", {"three": [4.5, None, True]}],
    {"card": SECRET, "x": {"__type__": "datetime", "__value__": "2026-01-31T14:00:00"}},
    {"callbacks": [_SIGNATURE], "errbacks": None, "chain": [_SIGNATURE], "chord": None},
]
_HOW = {
    "exchange": "",
    "routing_key": "celery",
    "declare": [{"name": "celery", "exchange": {"name": "celery", "type": "direct"}}],
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "priority": 3,
    "delivery_mode": 2,
}
_WORDS = (
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"[]", b"{}", b'""', b'"\\ud800"', b'"\\u0000"'),
    *(
        b"[" * 2000,
        b'{"a":' * 600,
        b"9" * 5000,
        b"\x00",
        b"\xff\xfe",
        "🦊".encode(),
        b"\xed\xa0\x80",
    ),
    *(
        b'{"__type__":"uuid","__value__":1}',
        b'{"__type__":"decimal"}',
        b"!!python/object:os.system ",
    ),
    *(
        b"%",
        b"%zz",
        b"@",
        b"://",
        b"?",
        b"&a=b",
        b"*",
        b"[",
        b"in 2h",
        b"9999-12-31",
        b"0001-01-01",
    ),
)


@dataclass(frozen=True)
class Target:
    """Something that reads bytes."""

    seeds: Sequence[bytes]
    read: Callable[[bytes], object]
    allowed: tuple[type[BaseException], ...] = ()
    """What it may raise."""


@dataclass(frozen=True)
class Find:
    """An input that a target could not stand."""

    target: str
    data: bytes
    problem: str


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of *seeds*, changed in some places."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        end = min(at + chance.choice((1, 1, 2, 8, 64)), len(data))
        match chance.randrange(7):
            case 0:
                data[at:end] = bytes(byte ^ 1 << chance.randrange(8) for byte in data[at:end])
            case 1:
                data[at:end] = chance.randbytes(end - at)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * chance.choice((1, 2, 50))
            case 4:
                data[at:end] = chance.choice(_WORDS)
            case 5:
                other = chance.choice(seeds)
                data[at:end] = other[chance.randrange(len(other) + 1) :]
            case _:
                del data[at:]
    return bytes(data)


def fuzz(
    targets: dict[str, Target], chance: random.Random, *, goes_on: Callable[[int], bool]
) -> Iterator[Find]:
    """Give mutations to each target in turn, for as long as *goes_on* says of their number."""
    number = 0
    while goes_on(number):
        for name, target in targets.items():
            number += 1
            data = mutated(chance, target.seeds)
            if (problem := tried(target, data)) is not None:
                yield Find(name, data, problem)


def tried(target: Target, data: bytes) -> str | None:
    """What is wrong with how *target* reads *data*; None where nothing is."""
    began = time.monotonic()
    try:
        target.read(data)
    except target.allowed:
        pass
    except Exception:  # noqa: BLE001  (that is the find)
        return traceback.format_exc()
    took = time.monotonic() - began
    return None if took < SLOW else f"it took {took:.1f} s"


# --- The targets


def targets(directory: Path, stack: ExitStack) -> dict[str, Target]:
    """All there are; *directory* is for their files, *stack* closes what they open."""

    def fuzzed(name: str) -> FullResult:
        app = Celery("fuzz", broker="memory://", set_as_current=False)
        app.conf.fullresult_storage = f"sqlite:///{directory}/{name}.db?synchronous=OFF"
        app.conf.fullresult_spool_directory = None
        stack.callback(app.close)
        full = stack.enter_context(closing(FullResult(app)))
        full.setup()
        return full

    known = [
        *(_capture, _redact, _schedule, _send, _spool, _store, _url, _config, _filters, _match),
        *(_search, _web, _passwords),
    ]
    names = [made.__name__.strip("_") for made in known]
    return {name: made(fuzzed(name)) for name, made in zip(names, known, strict=True)}


def _split(*parts: bytes) -> bytes:
    return b"\0\0".join(parts)


def _deliveries() -> list[bytes]:
    bodies = (_json(_BODY), b"", b"[1,{},{}]", b"x: [1]\n", b"\x93\x90\x80\x80")
    return [_split(_json(_HEADERS), body) for body in bodies]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _loaded(data: bytes, otherwise: Any) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return otherwise


def _delivery(data: bytes) -> Delivery:
    """The message that *data* is: its headers, two zeros, its body."""
    first, _, body = data.partition(b"\0\0")
    headers = _loaded(first, _HEADERS)
    kind = _TYPES[0] if body[:1] == b"[" else _TYPES[sum(data) % len(_TYPES)]
    return Delivery(
        body=body,
        headers=headers if isinstance(headers, dict) else _HEADERS,
        content_type=kind,
        content_encoding=("utf-8", "binary", "no-such")[len(data) % 3],
        properties={"correlation_id": "one", "priority": 3},
        delivery_info={"exchange": "", "routing_key": "celery"},
    )


def _read_all(record: TaskRecord) -> str:
    """All that anybody reads of a record."""
    return dumps(document(record)) + "\n".join(page_of(record, ()))


def _capture(full: FullResult) -> Target:
    """A message that a worker could make nothing of, captured, stored and read."""

    def read(data: bytes) -> None:
        captured = capture.capture_delivery(_delivery(data), "stamp", _LIMITS)
        record = TaskRecord("one", NOW, NOW, message=captured)
        full.storage.write([record])
        _read_all(record)
        _read_all(merge(record, full.get("one") or record))
        full.delete(all=True)

    return Target(_deliveries(), read)


def _redact(full: FullResult) -> Target:
    """The same under rules: whatever became of it, what they cover is not there."""
    redactor = Redactor(full.app, read_rules(["**.card", re.compile(SECRET)]))

    def read(data: bytes) -> None:
        captured = capture.capture_delivery(_delivery(data), "stamp", _LIMITS, redactor.call)
        assert SECRET not in repr(captured._replace(headers=None)), captured
        assert captured.headers is None or SECRET not in captured.headers, captured
        _read_all(TaskRecord("one", NOW, NOW, message=captured))

    seeds = _deliveries()
    return Target([*seeds, *(seed + SECRET.encode() for seed in seeds)], read)


def _stored(data: bytes) -> Schedule:
    headers, _, rest = data.partition(b"\0\0")
    how, _, body = rest.partition(b"\0\0")
    known = ("s", "one", "memory://", NOW, NOW, "shop.pay", "celery", body)
    return Schedule(*known, _text(headers), _text(how), "two" if len(data) % 2 else None)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _schedule_seeds() -> list[bytes]:
    kept = {**_HEADERS, "eta": None, "expires": None}
    return [
        _split(_json(_HEADERS), _json(_HOW), _json(_BODY)),
        _split(_json(kept), _json({**_HOW, "compression": "gzip"}), _json(_BODY)),
    ]


def _schedule(full: FullResult) -> Target:
    """What waits in the storage, read by a sweeper and told of."""
    events = ScheduleEvents(full.settings)

    def read(data: bytes) -> None:
        schedule = _stored(data)
        for event in (events.ended(schedule, "expired"), events.moved(schedule, NOW)):
            _read_all(event)
        for event in events.sent(schedule):
            _read_all(event)

    return Target(_schedule_seeds(), read, (Unreadable,))


def _send(full: FullResult) -> Target:
    """The same, sent."""
    sender = Sender(full.app)

    def read(data: bytes) -> None:
        sender.send(_stored(data)._replace(new_task_id=None), NOW, Term(lambda: NOW))

    return Target(_schedule_seeds(), read, (Unsendable, BrokerDown, Unconfirmed))


def _events() -> list[TaskRecord]:
    captured = capture.capture_delivery(
        _delivery(_split(_json(_HEADERS), _json(_BODY))), "1", _LIMITS
    )
    return [
        TaskRecord("one", NOW, NOW, NOW, message=captured),
        TaskRecord("one", NOW, NOW),
    ]


def _lines() -> list[bytes]:
    what: list[lines.Frame] = [
        *_events(),
        lines.Withdrawal("s"),
        lines.Count("c", "one", 2, NOW, "call", "{}"),
    ]
    return [lines.encode(frame).rstrip(b"\n") for frame in what]


def _spool(_: FullResult) -> Target:
    """A line of the spool, torn or changed."""
    return Target(_lines(), lines.decode, (lines.Unreadable,))


def _store(full: FullResult) -> Target:
    """A line of the spool whose checksum is right, whoever wrote it, stored and read."""

    def read(data: bytes) -> None:
        frame = lines.decode(b"%08x%b" % (crc32(data), data))
        if isinstance(frame, TaskRecord):
            try:
                full.storage.write([frame])
            except StorageError:
                return
            _read_all(full.get(frame.task_id) or frame)
            full.delete(all=True)

    return Target([line[8:] for line in _lines()], read, (lines.Unreadable,))


def _url(_: FullResult) -> Target:
    """A storage's URL, opened and shown."""
    known = (
        *("sqlite:///records.db", "sqlite:////srv/records.db?synchronous=FULL", "oracle://u:p@h/d"),
        *("postgresql://u:p@h:5432/d?prepare=off&sslmode=require", "postgresql://h/d?password=p"),
        *(
            "mongodb://u:p@h1,h2:27017/d?replicaSet=rs0&fullresult_prefix=x_",
            "mongodb+srv://u:p@h.x.y/d",
        ),
    )

    def read(data: bytes) -> None:
        url = data.decode("utf-8", "surrogateescape")
        without_password(url)
        app = Celery(broker=url.replace("\0", ""), set_as_current=False)
        app.conf.fullresult_storage = url
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            repr(plugins.open_storage(Settings.of(app)))

    return Target([url.encode() for url in known], read, (ImproperlyConfigured,))


def _config(_: FullResult) -> Target:
    """A configuration."""
    keys = [field.name for field in fields(Settings)]
    values: list[Any] = [
        *(
            True,
            0,
            1.5,
            "90m",
            "1h30m",
            ["a", "b.*"],
            {"FAILURE": "1d", "*": None},
            "shop.*:card.*",
        ),
        *("direct", "~/spool", "redis://u:p@h/0", "worker", "off"),
    ]

    def read(data: bytes) -> None:
        key, _, text = data.partition(b"=")
        app = Celery(set_as_current=False)
        app.conf[f"fullresult_{key.decode('utf-8', 'replace')}"] = _loaded(
            text, text.decode("latin-1")
        )
        repr(Settings.of(app))

    known = [f"{key}={json.dumps(value)}".encode() for key in keys for value in values]
    return Target(known, read, (ImproperlyConfigured,))


def _filters(full: FullResult) -> Target:
    """A command line: wrong usage is an answer, an exception is not."""
    for event in _events():
        full.storage.write([event])
    lines = (
        ("list", "--state", "FAILURE", "--name", "shop.*", "--since", "2h", "--until", "now"),
        ("list", "--kwarg", 'card={"a": 1}', "--arg", "1", "--text", "x", "--limit", "3", "--json"),
        ("list", "--after", "2026-01-31T14:00:00.000+00:00|one", "--oldest-first"),
        ("count", "--queue", "celery", "--worker", "w@h", "--root-id", "one", "--retry-of", "one"),
        ("stale", "--hours", "1"),
        ("scheduled", "--due-until", "in 2h"),
        ("show", "one", "--json"),
    )

    def read(data: bytes) -> None:
        words = data.decode("utf-8", "surrogateescape").split("\0")
        if words[0] not in {"list", "count", "stale", "scheduled", "show"}:
            return
        context = CLIContext(app=full.app, no_color=True, workdir=None)
        result = CliRunner().invoke(commands, words, obj=context)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in {0, 1, 2, 3}, result.exit_code

    return Target(["\0".join(words).encode() for words in lines], read)


def _match(full: FullResult) -> Target:
    """A query, answered in Python and by SQLite: both refuse it, or both find the same."""
    records = [merge(*_events())]
    asked: list[dict[str, Any]] = [
        {"name": "shop.*", "state": ["PENDING", "FAILURE"], "text": "one"},
        {"kwargs": {"card": SECRET}, "args": [1, "two"], "limit": 3},
        {"kwargs": {"x": {"a": [1, {"b": None}]}}, "queue": "celery", "order": "oldest"},
        {"name": "[a-z]*.p?y", "root_id": "one", "after": f"{NOW.isoformat()}|one"},
    ]

    def read(data: bytes) -> None:
        given = _loaded(data, {})
        if isinstance(given, dict) and isinstance(given.get("after", ""), str):
            query = TaskQuery(**given)
            ours = _answer(lambda: matching.find(query, records))
            theirs = _answer(lambda: full.find(query))
            assert ours == theirs or "refused" in (ours, theirs), (given, ours, theirs)

    for record in records:
        full.storage.write([record])
    return Target(list(map(_json, asked)), read, (TypeError, ValueError))


def _answer(ask: Callable[[], list[TaskRecord]]) -> list[str] | str:
    try:
        return [record.task_id for record in ask()]
    except (TypeError, ValueError, StorageError):
        return "refused"


def _search(_: FullResult) -> Target:
    """What is typed into the pages' search box."""
    from fullresult.web.search import NotUnderstood, Search

    typed = (
        'state:FAILURE -state:SUCCESS name:shop.* kwargs.order_id:42 since:2h "timeout"',
        'kwargs.card:{"a": [1]} until:2026-01-31T14:00 root:one group:g retry_of:x',
        'queue:"a b" worker:w@h some words kwargs.a.b:"text"',
    )

    def read(data: bytes) -> None:
        search = Search.read(data.decode("utf-8", "replace"))
        assert Search.read(str(search)) == search, (str(search), search)
        search.query(NOW, limit=10)

    return Target([text.encode() for text in typed], read, (NotUnderstood,))


def _web(full: FullResult) -> Target:
    """What is asked of the pages: a wrong question has an answer that is no failure."""
    from tests.kit import browsing

    for event in _events():
        full.storage.write([event])
    browser = browsing.entered(full.app)
    asked = (
        *(
            "/?q=state:FAILURE+kwargs.card:7&after=2026-01-31T14:00:00.000%2B00:00|one",
            "/stale?hours=1",
        ),
        *(
            "/stale?age=1h&after=2026-01-31T14:00:00.000%2B00:00|one",
            "/orphans?gone=1h",
            "/overview?since=1d",
        ),
        *(
            "/scheduled?q=name:shop.*&after=2026-01-31T14:00:00.000%2B00:00|s",
            "/stale-scheduled?age=1h",
        ),
        *(
            "/task?id=one&tab=x",
            "/retry?id=one",
            "/retry?q=state:FAILURE",
            "/edit?id=one",
            "/periodic",
        ),
        *(
            "/suggest?q=kwargs.&at=3",
            "/cancel?id=one",
            "/reschedule?id=one&eta=in+2h",
            "/healthz",
            "/login",
        ),
    )

    def read(data: bytes) -> None:
        path = data.decode("latin-1")
        if path.startswith("/") and not path.startswith("//"):
            answer = browser.get("/" + quote(path[1:], safe="/?&=%+|:"), follow=False)
            assert answer.status < 500, (path, answer.status)

    return Target([path.encode() for path in asked], read)


def _passwords(full: FullResult) -> Target:
    """Text in which a pattern is to be hidden, and JSON that reads the same afterwards."""
    redactor = Redactor(full.app, read_rules(["**.card", re.compile(SECRET)]))

    def read(data: bytes) -> None:
        value = _loaded(data, data.decode("latin-1"))
        kept = redactor.result("shop.pay", value)
        assert SECRET not in encoding.safe_repr(kept), kept
        text = data.decode("latin-1")
        assert (
            SECRET not in redactor.of_errors([RunningTask("shop.pay", [], {"card": value})])(text)
            or MARK in text
        )

    return Target(
        [_json(_BODY), _json({"card": 7, SECRET: [SECRET]}), b"x" + SECRET.encode()], read
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--target", action="append", help="only this one; repeatable")
    given = parser.parse_args()
    seed = random.randrange(2**32) if given.seed is None else given.seed
    print(f"--seed {seed}")  # noqa: T201
    until: float = time.monotonic() + given.seconds
    tried_in_all = 0

    def goes_on(number: int) -> bool:
        nonlocal tried_in_all
        tried_in_all = number
        return time.monotonic() < until

    found: dict[tuple[str, str], Find] = {}
    with TemporaryDirectory() as directory, ExitStack() as stack:
        known = targets(Path(directory), stack)
        chosen = {name: known[name] for name in given.target or known}
        for find in fuzz(chosen, random.Random(seed), goes_on=goes_on):
            kind = find.target, find.problem.strip().splitlines()[-1][:60]
            if kind not in found:
                found[kind] = find
                print(f"{find.target}: {find.data!r}\n{find.problem}")  # noqa: T201
    print(f"{tried_in_all:,} inputs, {len(found)} kinds of finds")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
