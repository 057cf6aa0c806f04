"""Odd values everywhere a task has values: each ends in a complete record or in a clear error.

Long because a running worker of its own, which is dear, serves all sections.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import Celery, _state, chain, chord, group
from celery.contrib.testing.worker import start_worker
from kombu.exceptions import EncodeError

from fullresult import CannotResend, FullResult, TaskRecord
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

ODD = {
    "a NUL": "a\x00b",
    "a lone surrogate": "a\ud800b",
    "an emoji": "🦊" * 3,
    "right to left": "שלום\u202e",
    "quotes": "'\"\\`${}%s%(x)s{0}",
    "newlines": "a\r\nb\u2028c",
    "SQL": "'); DROP TABLE fullresult_task; --",
    "nothing": "",
    "a BOM": "\ufeff",
}
IDS = {
    "1 character": "7",
    "255 odd ones": ("🦊'\"%\\\n\t;é" * 26)[:255],
    "5,000 characters": "é" * 5000,
    "5,000 of four bytes": "🦊" * 5000,
    **{name: text for name, text in ODD.items() if text},
}
BIG = 10**10_000


class Shown:
    """A value whose repr or str misbehaves as told."""

    def __init__(self, show: Callable[[], str]) -> None:
        self.show = show

    def __repr__(self) -> str:
        return self.show()


class MessyError(Exception):
    """Neither its str nor its repr works, and it cannot be pickled."""

    def __init__(self, one: object, two: object) -> None:
        self.unpicklable = lambda: (one, two)

    def __str__(self) -> str:
        raise RuntimeError("no str today")

    __repr__ = __str__


class MessyDict(dict[str, int]):
    def items(self) -> Any:
        raise LookupError("no items today")


def boom() -> str:
    raise ValueError("boom")


def nested(levels: int) -> Any:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep(levels: int) -> None:
    if levels:
        deep(levels - 1)
    raise ValueError("at the bottom")


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Celery]:
    """An app with a worker, one for all tests of a storage: it takes seconds to stop."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('running')}/records.db"
        else:
            server = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(servers.postgresql_database(server))
        app = stack.enter_context(shop(url))
        stack.enter_context(worker(app))
        yield app


@contextmanager
def shop(storage_url: str, **settings: Any) -> Iterator[Celery]:
    """An app that records, with a broker in memory and a queue of its own."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        task_default_queue=uuid4().hex,
        accept_content=["json", "pickle", "yaml", "msgpack"],
        fullresult_storage=storage_url,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_transport_options={"polling_interval": 0.02},
        **settings,
    )
    for name in ("echo", *(f"shop.{task_id}" for task_id in IDS.values())):
        app.task(name=name)(echo)
    app.task(name="call")(call)
    app.task(name="mess")(mess)
    app.task(name="big")(big)
    with closing(FullResult(app)), closing(app):
        yield app


@pytest.fixture
def app(storage_url: str) -> Iterator[Celery]:
    with shop(storage_url) as app:
        yield app


def echo(*args: Any, **kwargs: Any) -> Any:
    return [args, kwargs]


def big() -> int:
    return BIG


def mess() -> None:
    raise MessyError(1, 2)


def call(do: Callable[[], Any]) -> Any:
    return do()


@contextmanager
def worker(app: Celery) -> Iterator[None]:
    """A worker in a thread of this process."""
    before = _state.default_app, _state._tls.current_app
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        with start_worker(app, perform_ping_check=False, shutdown_timeout=30):
            yield
    finally:
        _state.default_app, _state._tls.current_app = before
        root.setLevel(level)
        root.handlers[:] = handlers


def get(app: Celery, task_id: str) -> TaskRecord:
    record = app.fullresult.get(task_id)
    assert record is not None
    return record  # type: ignore[no-any-return]


def ended(app: Celery, task_id: str, state: str = "SUCCESS") -> TaskRecord:
    """The record, once it is in *state* and whole: a message nobody published is told last."""
    deadline = time.monotonic() + 30
    while not (
        (record := app.fullresult.get(task_id)) and record.message and record.state == state
    ):
        assert time.monotonic() < deadline, record
        time.sleep(0.02)
    return record  # type: ignore[no-any-return]


def returned(app: Celery, value: Any) -> TaskRecord:
    """The record of a task that returned *value*."""
    return get(app, app.tasks["call"].apply([lambda: value]).id)


def raised(app: Celery, do: Callable[[], Any]) -> TaskRecord:
    return get(app, app.tasks["call"].apply([do]).id)


def by_hand(app: Celery, headers: Mapping[str, Any], body: Any, **properties: Any) -> None:
    """Publish a message as a program in another language would."""
    # Not on a connection of its own: to close one of this broker upsets a worker that opens one.
    with app.producer_or_acquire() as producer:
        producer.publish(
            body, routing_key=app.conf.task_default_queue, headers=headers, **properties
        )


# --- Arguments


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_text_in_arguments(app: Celery, text: str) -> None:
    """As values, as keys, as keyword names: the record has what was sent."""
    kwargs = {f"k{text}": {text: [text]}}

    task_id = app.send_task("echo", [text], kwargs).id

    record = get(app, task_id)
    assert (record.args, record.kwargs, record.state) == ([text], kwargs, "PENDING")
    again = get(app, app.fullresult.resend(task_id).id)
    assert (again.args, again.kwargs) == ([text], kwargs)


@pytest.mark.parametrize("name", ["a NUL", "a lone surrogate"])
def test_text_that_no_json_column_takes_is_not_searched(app: Celery, name: str) -> None:
    """The record is whole all the same, and says why it cannot be found by this argument."""
    task_id = app.send_task("echo", [ODD[name]], {"plain": 1}).id

    record = get(app, task_id)

    assert record.notes == {"args": name + " character" * (name == "a NUL")}
    assert app.fullresult.find(args=["a"]) == []
    assert [r.task_id for r in app.fullresult.find(kwargs={"plain": 1})] == [task_id]


def test_not_a_number_and_infinity(app: Celery) -> None:
    values = [float("nan"), float("inf"), -float("inf")]

    record = get(app, app.send_task("echo", values, {"x": 1}).id)

    assert repr(record.args) == "[nan, inf, -inf]"
    assert record.notes == {"args": "NaN or Infinity"}


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**300, 1e308, 5e-324, -0.0])
def test_large_numbers(app: Celery, number: float) -> None:
    """Integers of any size, found by their value too."""
    task_id = app.send_task("echo", [number], {"n": number}).id

    record = get(app, task_id)

    assert repr((record.args, record.kwargs)) == repr(([number], {"n": number}))
    assert record.notes == {}


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="no limit of digits")
def test_an_integer_too_long_for_json_is_the_callers_error(app: Celery) -> None:
    """Celery cannot even show it; the error comes before there is a message."""
    with pytest.raises(ValueError, match="4300"):
        app.send_task("echo", [BIG])

    assert app.fullresult.count() == 0


def test_an_integer_too_long_for_json_in_a_pickle(app: Celery) -> None:
    """Given a repr of its own, it is sent: recorded, but neither shown nor searched."""
    task_id = app.send_task("echo", [[[[BIG]]]], serializer="pickle").id

    record = get(app, task_id)

    assert record.args is None
    assert record.notes["args"].startswith("not JSON: Exceeds the limit")
    assert app.fullresult.resend(task_id).id


def test_600_levels_of_nesting(app: Celery) -> None:
    """Deeper than databases take: whole, but not searched."""
    value = nested(600)

    record = get(app, app.send_task("echo", [value]).id)

    assert record.args == [value]
    assert record.notes == {"args": "nested more than 500 levels"}


def test_1000_levels_of_nesting(app: Celery) -> None:
    """Either the serializer takes them, or the caller has the error and the record says UNSENT."""
    for serializer in ("json", "pickle", "msgpack"):
        try:
            app.send_task("echo", [nested(1000)], task_id=serializer, serializer=serializer)
        except (EncodeError, ValueError, RecursionError):
            expected = "UNSENT"
        else:
            expected = "PENDING"

        record = get(app, serializer)
        assert (record.state, record.name) == (expected, "echo")
        assert record.notes["args"].startswith("nested")


def test_brackets_in_text_are_no_nesting(app: Celery) -> None:
    text = "[{" * 1000 + '"\\'

    record = get(app, app.send_task("echo", [text, [[]] * 1000]).id)

    assert (record.args[0], record.notes) == (text, {})


def test_arguments_of_5_megabytes(running: Celery) -> None:
    """Whole in the record, and sent again whole; too long to be searched."""
    text = "x[" * 2_500_000

    task_id = running.send_task("echo", [text]).id
    record = ended(running, task_id)
    again = ended(running, running.fullresult.resend(task_id).id)

    assert record.args == again.args == [text]
    assert record.notes == {"args": "cut: 5000004 characters"}
    assert record.result_form == "cut"
    assert len(record.result) < 1024 * 1024 + 100


def test_arguments_longer_than_what_is_kept(app: Celery) -> None:
    """17 MB of body are more than `fullresult_max_body`: cut, said so, and not sent again."""
    record = get(app, app.send_task("echo", ["x" * 17 * 1024 * 1024]).id)

    assert record.args is None
    assert record.notes["body"].startswith("cut: 178")
    with pytest.raises(CannotResend, match="args unknown"):
        app.fullresult.resend(record)


@pytest.mark.parametrize("key", ["$where", "a.b", "$", ".", "a[0]", '"', "", "a b", "ключ", "*"])
def test_odd_keys_in_keyword_arguments(app: Celery, key: str) -> None:
    """Kept, and found by."""
    task_id = app.send_task("echo", kwargs={key: {key: 1}}).id
    app.send_task("echo", kwargs={"other": {"other": 1}})

    found = app.fullresult.find(kwargs={key: {key: 1}})

    assert [(r.task_id, r.kwargs) for r in found] == [(task_id, {key: {key: 1}})]


@pytest.mark.parametrize(
    "value",
    [{"__type__": "bytes", "__value__": 5}, {"__type__": "no such", "__value__": 1}],
    ids=["broken", "unknown"],
)
def test_what_only_looks_like_a_type_of_kombus(app: Celery, value: Any) -> None:
    """Not read back by kombu: it stays the dict it was."""
    record = get(app, app.send_task("echo", [value]).id)

    assert record.args == [value]


@pytest.mark.parametrize("value", [MessyDict(a=1), circle()], ids=["messy dict", "circle"])
def test_arguments_that_cannot_be_serialised(app: Celery, value: Any) -> None:
    with pytest.raises((EncodeError, LookupError, ValueError)):
        app.send_task("echo", [1], {"odd": value}, task_id="odd", kwargsrepr="odd")

    record = get(app, "odd")
    assert (record.state, record.args) == ("UNSENT", [1])


# --- Ids, names, headers


@pytest.mark.parametrize("task_id", IDS.values(), ids=IDS.keys())
def test_odd_ids_and_names(running: Celery, task_id: str) -> None:
    """A task of an odd id, name, group, parent and root, recorded by publisher and worker."""
    name = f"shop.{task_id}"
    lineage = {"root_id": f"root{task_id}", "parent_id": task_id * 2, "group_id": f"g{task_id}"}

    running.send_task(name, [1], task_id=task_id, shadow=task_id, **lineage)

    full, record = running.fullresult, ended(running, task_id)
    assert (record.args, record.result, len(record.executions)) == ([1], [[1], {}], 1)
    assert full.get(record.task_id) == record
    assert [r.task_id for r in full.find(group_id=record.group_id)] == [record.task_id]
    assert get(running, full.resend(task_id).id).retry_of == record.task_id
    if "*" not in name and "?" not in name:
        assert record.task_id in [r.task_id for r in full.find(name=record.name)]


def test_long_ids_that_begin_alike_stay_apart(app: Celery) -> None:
    for end in "ab":
        app.send_task("echo", [end], task_id="x" * 5000 + end)

    assert get(app, "x" * 5000 + "a").args == ["a"]
    assert get(app, "x" * 5000 + "b").args == ["b"]


class Text(str, Enum):
    QUEUE = "high"
    NAME = "echo"
    ID = "id-1"


class Number(int, Enum):
    PRIORITY = 7


def test_enums_are_recorded_by_their_values(app: Celery) -> None:
    """As they are sent, and not as a driver or `str` would write them."""
    how = {"task_id": Text.ID, "queue": Text.QUEUE, "priority": Number.PRIORITY}
    app.send_task(Text.NAME, [1], root_id=Text.ID, parent_id=Text.ID, group_id=Text.ID, **how)

    (record,) = app.fullresult.find(queue="high", name="echo", group_id="id-1")

    assert (record.task_id, record.priority, record.root_id) == ("id-1", 7, "id-1")
    assert (record.parent_id, record.args) == ("id-1", [1])


def test_a_name_in_unicode_is_found_by_a_glob(app: Celery) -> None:
    task_id = app.send_task("магазин.отправить").id

    assert [r.task_id for r in app.fullresult.find(name="магазин.*")] == [task_id]


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_text_in_headers(app: Celery, text: str) -> None:
    task_id = app.send_task("echo", headers={f"x{text}": [text]}, shadow=text).id

    record = get(app, task_id)

    assert record.headers[f"x{text}"] == [text]
    assert record.headers["shadow"] == text


# --- Dates

NAIVE = datetime(2100, 1, 2, 3, 4, 5)  # noqa: DTZ001  (that is the test)
AWARE = NAIVE.replace(tzinfo=timezone.utc)
END = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (NAIVE, AWARE),
        (NAIVE.isoformat(), AWARE),
        (AWARE.isoformat(), AWARE),
        ("2100-01-02T03:04:05Z", AWARE),
        ("2100-01-02T05:04:05+02:00", AWARE),
        (datetime.max.replace(tzinfo=timezone.utc), END),
        (datetime.max, END),  # noqa: DTZ901
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-9))), END),
    ],
    ids=["naive", "ISO", "ISO aware", "ISO Z", "ISO offset", "9999", "9999 naive", "9999 west"],
)
def test_odd_dates(app: Celery, given: Any, expected: datetime) -> None:
    """Naive ones are UTC, as to Celery's worker; the end of time is its last millisecond."""
    task_id = app.send_task("echo", eta=given).id
    expiring = app.amqp.as_task_v2("x", "echo", expires=given)
    by_hand(app, expiring.headers, expiring.body)

    record = get(app, task_id)

    assert (record.eta, record.notes) == (expected, {})
    assert app.fullresult.get_stale_tasks(timedelta(milliseconds=1)) == []


@pytest.mark.parametrize("given", [AWARE, AWARE.isoformat(), END, 3600, 0.5])
def test_odd_expiry(app: Celery, given: Any) -> None:
    task_id = app.send_task("echo", expires=given).id

    record = get(app, task_id)

    assert record.expires is not None
    assert record.notes == {}
    if not isinstance(given, (int, float)):
        assert record.expires == (AWARE if given != END else END)
    assert get(app, app.fullresult.resend(task_id).id).expires is not None


# --- Results


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"x": [1, None]}, {"x": [1, None]}),
        (None, None),
        ((1, 2), [1, 2]),
        (AWARE, AWARE),
        ("é", "é"),
        (2**70, 2**70),
    ],
)
def test_a_result_is_json_as_kombu_writes_it(app: Celery, value: Any, kept: Any) -> None:
    record = returned(app, value)

    assert (record.result_form, record.result) == ("json", kept)


def test_a_result_can_be_queried_in_the_database(app: Celery, storage_url: str) -> None:
    task_id = returned(app, {"x": "seven", "y": {"z": [1, 2]}}).task_id

    asked = "SELECT task_id FROM fullresult_task WHERE result->>'x' = 'seven'"

    assert select(storage_url, asked) == [(task_id,)]


def select(storage_url: str, sql: Any) -> list[tuple[Any, ...]]:
    if storage_url.startswith("sqlite"):
        import sqlite3

        with closing(sqlite3.connect(storage_url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(sql).fetchall()
    import psycopg

    with psycopg.connect(storage_url) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("inf"), float("inf")),
        (["a\x00b"], ["a\x00b"]),
        ({"k": "\ud800"}, {"k": "\ud800"}),
        (nested(600), nested(600)),
    ],
    ids=["infinity", "NUL", "surrogate", "600 levels"],
)
def test_json_that_databases_refuse_is_kept_as_text(app: Celery, value: Any, kept: Any) -> None:
    record = returned(app, value)

    assert (record.result_form, record.result) == ("text", kept)


def test_not_a_number_as_a_result(app: Celery) -> None:
    record = returned(app, {"x": float("nan")})

    assert (record.result_form, repr(record.result)) == ("text", "{'x': nan}")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({1, 2}, "{1, 2}"),
        (circle(), "[[...]]"),
        ([[[[MessyDict(a=1)]]]], "[[[[{'a': 1}]]]]"),
        (Shown(boom), "<Shown: repr() raised ValueError>"),
        (Shown(lambda: 5), "<Shown: repr() raised TypeError>"),  # type: ignore[arg-type,return-value]
        (Shown(lambda: "a\x00\ud800b"), "a\\x00\\ud800b"),
    ],
    ids=["set", "circle", "messy dict", "raising", "no text", "odd text"],
)
def test_what_json_cannot_hold_is_kept_as_its_repr(app: Celery, value: Any, shown: str) -> None:
    record = returned(app, value)

    assert (record.state, record.result_form, record.result) == ("SUCCESS", "repr", shown)


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="no limit of digits")
@pytest.mark.filterwarnings("ignore:Exception raised outside body:RuntimeWarning")
def test_an_integer_too_long_as_a_result(running: Celery) -> None:
    """Deep in a result it has no repr; as the result Celery itself fails, and says at what."""
    deep_down = returned(running, [[[[BIG]]]])
    itself = ended(running, running.send_task("big").id, "FAILURE")
    # Celery warns after the record is written, and beyond this test that would end the worker.
    ended(running, running.send_task("echo").id)

    assert (deep_down.state, deep_down.result_form) == ("SUCCESS", "repr")
    assert deep_down.result == "<list: repr() raised ValueError>"
    assert itself.exception_type == "ValueError"
    assert "Exceeds the limit" in (itself.exception_message or "")


def test_a_long_result_is_cut_and_says_so(storage_url: str) -> None:
    with shop(storage_url, fullresult_max_text=100) as app:
        record = returned(app, "x" * 1000)
        of_repr = returned(app, {"x" * 1000})

    assert record.result_form == "cut"
    assert record.result.startswith('"xxx')
    assert "[cut: 902 characters]" in record.result
    assert (of_repr.result_form, "[cut: " in of_repr.result) == ("repr", True)


def test_a_result_serializer_other_than_json_keeps_reprs(storage_url: str) -> None:
    """Unless `fullresult_use_json` asks for JSON where it can be."""
    with shop(storage_url, result_serializer="pickle") as app:
        plain = returned(app, {"x": 1})
    with shop(storage_url, result_serializer="pickle", fullresult_use_json=True) as app:
        asked, impossible = returned(app, {"x": 1}), returned(app, {1, 2})

    assert (plain.result_form, plain.result) == ("repr", "{'x': 1}")
    assert (asked.result_form, asked.result) == ("json", {"x": 1})
    assert (impossible.result_form, impossible.result) == ("repr", "{1, 2}")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({1, 2}, "{1, 2}"),
        (Shown(boom), "<Shown: str() raised ValueError>"),
        (Shown(lambda: "a\x00\ud800b"), "a\\x00\\ud800b"),
    ],
    ids=["set", "raising", "odd text"],
)
def test_force_json_wraps_what_json_cannot_hold(storage_url: str, value: Any, shown: str) -> None:
    with shop(storage_url, fullresult_force_json=True) as app:
        record, plain = returned(app, value), returned(app, {"x": 1})

    assert (record.result_form, record.result) == ("forced", {"value": shown, "forced_json": True})
    assert (plain.result_form, plain.result) == ("json", {"x": 1})


# --- Exceptions


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_text_in_an_exception(app: Celery, text: str) -> None:
    def fail() -> None:
        raise ValueError(text)

    record = raised(app, fail)

    shown = text.replace("\x00", "\\x00").replace("\ud800", "\\ud800")
    assert (record.state, record.exception_type) == ("FAILURE", "ValueError")
    assert record.exception_message == shown
    assert "raise ValueError(text)" in (record.traceback or "")
    assert record.executions[0].exception_message == shown


def test_an_exception_that_cannot_be_shown_or_pickled(app: Celery) -> None:
    record = raised(app, mess)

    assert record.state == "FAILURE"
    assert (record.exception_type or "").endswith("MessyError")
    assert record.exception_message
    assert "raise MessyError(1, 2)" in (record.traceback or "")


def test_an_exception_that_cannot_be_pickled_in_a_worker(running: Celery) -> None:
    record = ended(running, running.send_task("mess").id, "FAILURE")

    assert (record.exception_type or "").endswith("MessyError")
    assert "raise MessyError(1, 2)" in (record.traceback or "")


def test_a_traceback_of_10000_frames(app: Celery) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(30_000)
    try:
        record = raised(app, lambda: deep(10_000))
    finally:
        sys.setrecursionlimit(limit)

    assert (record.state, record.exception_message) == ("FAILURE", "at the bottom")
    assert (record.traceback or "").rstrip().endswith("ValueError: at the bottom")


def test_a_long_message_and_traceback_are_cut(storage_url: str) -> None:
    def fail() -> None:
        raise ValueError("x" * 1000)

    with shop(storage_url, fullresult_max_text=100) as app:
        record = raised(app, fail)

    assert "[cut: 900 characters]" in (record.exception_message or "")
    assert "[cut: " in (record.traceback or "")


# --- Secrets


def test_arguments_whose_repr_was_overridden_are_not_kept(running: Celery) -> None:
    """Neither by the publisher nor by the worker, and a re-send needs them given."""
    hidden = {"argsrepr": "('****',)", "kwargsrepr": "{'pin': '****'}", "ignore_result": True}
    task_id = running.send_task("echo", ["card 4111"], {"pin": "0000"}, **hidden).id

    record = ended(running, task_id)

    assert (record.argsrepr, record.kwargsrepr) == ("('****',)", "{'pin': '****'}")
    assert (record.args, record.kwargs) == (None, None)
    assert set(record.notes) == {"args", "kwargs", "body"}
    assert "card 4111" not in repr(vars(record))
    assert "0000'" not in repr(vars(record))
    with pytest.raises(CannotResend, match=r"args unknown \(hidden"):
        running.fullresult.resend(task_id)


def secret(app: Celery) -> Any:
    return app.signature("pay", args=["s3cret"]).set(argsrepr="('***',)")


@pytest.mark.parametrize(
    "publish",
    [
        lambda app: chain(app.signature("echo"), secret(app)).apply_async(),
        lambda app: chain(app.signature("echo"), group(secret(app), app=app)).apply_async(),
        lambda app: chord([app.signature("echo")], secret(app), app=app).apply_async(),
        lambda app: app.send_task("echo", link=secret(app)),
        lambda app: app.send_task("echo", link_error=[app.signature("cry", link=secret(app))]),
        lambda app: app.send_task("echo", link=secret(app), serializer="pickle"),
    ],
    ids=["chain", "group in a chain", "chord", "link", "link of an errback", "pickle"],
)
def test_hidden_arguments_do_not_stand_in_the_record_of_the_task_before(
    app: Celery, publish: Callable[[Celery], Any]
) -> None:
    app.conf.update(result_backend="cache+memory://")
    publish(app)

    (record,) = app.fullresult.find(name="echo")

    assert "s3cret" not in repr(vars(record))
    assert set(record.notes) == {"embed", "body"}
    for how in ({}, {"args": [1], "kwargs": {}}, {"link": None}, {"keep_group": True}):
        with pytest.raises(CannotResend, match="its links are not known: hidden"):
            app.fullresult.resend(record, **how)


def test_a_worker_alone_keeps_no_hidden_arguments_of_links(running: Celery) -> None:
    task_id = uuid4().hex
    message = running.amqp.as_task_v2(task_id, "echo", [1], callbacks=[secret(running)])
    by_hand(running, message.headers, message.body)

    record = ended(running, task_id)

    assert "s3cret" not in repr((record.message, record.notes))
    assert set(record.notes) == {"encoding", "embed", "body"}


@pytest.mark.parametrize("shown", ["('****',)", "...", "(...)", "", "x" * 1100])
def test_a_worker_alone_keeps_no_hidden_arguments_either(running: Celery, shown: str) -> None:
    """Where the publisher is not recorded, a repr that is not Celery's tells what to hide."""
    task_id = uuid4().hex
    hidden = {"argsrepr": shown, "ignore_result": True}
    message = running.amqp.as_task_v2(task_id, "echo", ["card 4111"], **hidden)
    by_hand(running, message.headers, message.body)

    record = ended(running, task_id)

    assert (record.args, record.argsrepr) == (None, shown)
    assert "card 4111" not in repr(vars(record))


@pytest.mark.parametrize(
    "args",
    [[1, (2, 3), "é"], ["x" * 5000, 1], [list(range(5000))], [nested(9)], [AWARE, b"\xff"], []],
    ids=["tuple", "long text", "long list", "nested", "kombu's types", "none"],
)
def test_a_worker_alone_keeps_what_was_not_hidden(running: Celery, args: list[Any]) -> None:
    """However Celery cut their repr."""
    task_id = uuid4().hex
    message = running.amqp.as_task_v2(task_id, "echo", args, {"n": args})
    by_hand(running, message.headers, message.body)

    record = ended(running, task_id)

    expected = json.loads(json.dumps(args)) if args[:1] == [1] else args
    assert (record.args, record.kwargs) == (expected, {"n": expected})
    assert record.date_published is None
    assert record.notes == {
        "encoding": "encoded again by the worker: its publisher was not recorded"
    }
    again = get(running, running.fullresult.resend(task_id).id)
    assert (again.args, again.retry_of) == (expected, task_id)


def test_what_json_would_change_is_not_sent_again_by_its_look(running: Celery) -> None:
    """A worker that was sent a pickle cannot tell its bytes, and JSON has no tuples."""
    task_id = uuid4().hex
    message = running.amqp.as_task_v2(task_id, "echo", [(1, 2)], {"k": {3: 4}})
    by_hand(running, message.headers, message.body, serializer="pickle")

    record = ended(running, task_id)

    assert record.args == [[1, 2]]
    with pytest.raises(CannotResend, match=r"args unknown \(JSON changes.*give args="):
        running.fullresult.resend(task_id)


# --- Messages by others


def test_the_least_message_there_is(running: Celery) -> None:
    """Only an id and a name in its headers: recorded in full, and sent again with no more."""
    task_id = uuid4().hex
    by_hand(running, {"id": task_id, "task": "echo"}, [[1], {"a": 2}, {}])

    record = ended(running, task_id)
    again = ended(running, running.fullresult.resend(task_id).id)

    for one in (record, again):
        assert (one.name, one.args, one.kwargs) == ("echo", [1], {"a": 2})
        assert (one.result, one.origin, one.argsrepr) == ([[1], {"a": 2}], None, None)
        assert one.queue == running.conf.task_default_queue
    assert again.retry_of == task_id
    assert again.headers.keys() == record.headers.keys()


@pytest.mark.parametrize(
    "odd",
    [
        {"retries": "3"},
        {"retries": None, "timelimit": None, "root_id": None},
        {"lang": "rust", "origin": None, "argsrepr": None, "kwargsrepr": None},
        {"argsrepr": "[1]", "kwargsrepr": "map[]", "lang": "go"},
        {"priority": "high", "group": 7, "parent_id": 8, "shadow": 9},
        {"replaced_task_nesting": -1, "stamps": [], "custom": {"a": [1]}},
        {"eta": "2020-01-01T00:00:00Z", "expires": "2100-01-01T00:00:00+00:00"},
    ],
    ids=" ".join,
)
def test_headers_of_other_languages(running: Celery, odd: dict[str, Any]) -> None:
    task_id = uuid4().hex
    by_hand(running, {"id": task_id, "task": "echo", **odd}, [[1], {}, None])

    record = ended(running, task_id)

    assert (record.name, record.result, len(record.executions)) == ("echo", [[1], {}], 1)
    resent = running.fullresult.resend(task_id, args=[1], kwargs={})
    assert ended(running, resent.id).args == [1]


@pytest.mark.parametrize("name", ["no.such.task", "no\x00such\ud800task"])
def test_a_message_for_a_task_that_is_not_there(running: Celery, name: str) -> None:
    """Recorded as it came, and sent again as it came: compressed, and with its properties."""
    headers = {"id": uuid4().hex, "task": name, "tenant": "acme"}
    how = {"compression": "zlib", "expiration": 60, "priority": 3}
    by_hand(running, headers, [[1], {"a": 2}, {}], **how)

    record = ended(running, headers["id"], "FAILURE")
    again = ended(running, running.fullresult.resend(record).id, "FAILURE")

    for one in (record, again):
        assert (one.exception_type or "").endswith("NotRegistered")
        assert (one.args, one.kwargs, one.headers["tenant"]) == ([1], {"a": 2}, "acme")
        assert one.properties["compression"] == "application/x-gzip"
        assert (one.priority, one.queue) == (3, running.conf.task_default_queue)
        assert one.headers["task"] == name


@pytest.mark.parametrize("content_type", ["application/x-evil", "a\x00b", "é" * 300])
def test_a_message_of_a_type_that_is_not_accepted(running: Celery, content_type: str) -> None:
    """Recorded with its bytes, which nobody decodes."""
    task_id = uuid4().hex
    how = {"content_type": content_type, "content_encoding": "binary"}
    by_hand(running, {"id": task_id, "task": "echo"}, b"\x00\xff", **how)

    record = ended(running, task_id, "REJECTED")

    assert record.message is not None
    assert (record.name, record.args, record.message.body) == ("echo", None, b"\x00\xff")
    assert record.notes["args"] == "not decoded"


@pytest.mark.parametrize("eta", ["tomorrow", "\x00", "2026-99-99T00:00:00", ["x"], 7])
def test_a_date_that_is_none(running: Celery, eta: Any) -> None:
    """The worker rejects the message; it is recorded, and sent again without that date."""
    task_id = uuid4().hex
    by_hand(running, {"id": task_id, "task": "echo", "eta": eta}, [[1], {}, {}])

    record = ended(running, task_id, "REJECTED")
    again = ended(running, running.fullresult.resend(task_id).id)

    assert (record.eta, record.notes["eta"][:11]) == (None, "not a date:")
    assert (again.result, again.notes) == ([[1], {}], {})


def test_protocol_1(running: Celery) -> None:
    """Recorded like any other; only a re-send is not possible."""
    queue = running.conf.task_default_queue
    with shop(running.conf.fullresult_storage, task_protocol=1) as app:
        how = {"headers": {"x": 1}, "priority": 3, "queue": queue, "argsrepr": "hidden"}
        task_id = app.send_task("echo", ["\x00"], {"a": 2}, **how).id

    record = ended(running, task_id)

    assert (record.name, record.args, record.kwargs) == ("echo", None, {"a": 2})
    assert (record.priority, record.result) == (3, [["\x00"], {"a": 2}])
    assert record.notes["body"] == "published by message protocol 1"
    assert "args" not in record.headers


# --- What a storage refuses


def test_an_event_that_is_refused_is_logged(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    """And the task is published: it is the record that is lost, and not silently."""
    app.fullresult.setup()
    break_the_name_column(app)

    result = app.send_task("shop.refused")

    assert app.fullresult.get(result.id) is None
    (logged,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert "an event was not recorded" in logged
    assert result.id in logged


def break_the_name_column(app: Celery) -> None:
    """Have the database refuse tasks of one name."""
    url = app.conf.fullresult_storage
    if url.startswith("sqlite"):
        import sqlite3

        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON fullresult_task"
                " WHEN NEW.name = 'shop.refused' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        return
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE fullresult_task ADD CHECK (name <> 'shop.refused')")
