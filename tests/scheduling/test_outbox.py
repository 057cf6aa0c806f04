"""The outbox by each kind of connection: a task commits with its caller's data, or never was.

Long because each promise is tried with every kind of connection, by one fixture.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import ImproperlyConfigured

from fullresult import FullResult, NotStorable
from fullresult.hookspecs import hookimpl
from fullresult.storage import OutboxStorage
from tests.kit import other_results, servers, workers
from tests.kit.outbox import KINDS, Caller, publish, shop, stored

_ALIKE = {"sqlalchemy-psycopg", "scoped_session-psycopg", "sqlalchemy-sqlite"}
"""Kinds that differ from another one by what they wrap."""


@pytest.fixture(params=[pytest.param(k, marks=[pytest.mark.slow] * (k in _ALIKE)) for k in KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with workers.storage(KINDS[kind][0], request, tmp_path) as url:
        yield url


@pytest.fixture
def full(url: str) -> Iterator[FullResult]:
    with shop(url) as full:
        yield full


@pytest.fixture
def caller(full: FullResult, kind: str, url: str) -> Iterator[Caller]:  # noqa: ARG001
    with KINDS[kind][1](url) as caller:
        yield caller


# --- The transaction decides


def test_a_task_and_its_record_are_there_when_the_data_is(full: FullResult, caller: Caller) -> None:
    caller.begin()
    caller.insert(1)
    with full.outbox(caller.connection) as box:
        task_id = publish(full, 1)
        before = full.get(task_id), stored(full)
    caller.commit()

    assert before == (None, [])
    assert stored(full) == box.ids == [task_id]
    record = full.get(task_id)
    assert record is not None
    assert (record.state, record.args, record.eta) == ("SCHEDULED", [1], None)


def test_a_transaction_that_is_rolled_back_leaves_no_trace(
    full: FullResult, caller: Caller
) -> None:
    caller.begin()
    with full.outbox(caller.connection):
        task_id = publish(full)
    caller.rollback()

    assert full.get(task_id) is None
    assert stored(full) == []


def test_a_savepoint_takes_its_tasks_with_it(full: FullResult, caller: Caller) -> None:
    if not caller.has_savepoints:
        pytest.skip("no savepoints")
    caller.begin()
    with full.outbox(caller.connection):
        kept = publish(full)
        caller.savepoint()
        publish(full)
        caller.rollback_to_savepoint()
    caller.commit()

    assert stored(full) == [kept]


def test_tasks_are_sent_in_the_order_of_one_transaction(full: FullResult, caller: Caller) -> None:
    caller.begin()
    with full.outbox(caller.connection) as box:
        ids = [publish(full) for _ in range(50)]
    caller.commit()

    assert stored(full) == ids == box.ids
    assert len(box) == 50


def test_a_countdown_begins_at_the_publish_and_an_eta_is_kept(
    full: FullResult, caller: Caller
) -> None:
    eta = full.storage.now() + timedelta(hours=2)
    caller.begin()
    with full.outbox(caller.connection):
        publish(full)
        publish(full, countdown=3600)
        publish(full, eta=eta)
        publish(full, eta=datetime.max.replace(tzinfo=timezone.utc))
    caller.commit()

    now = full.storage.now()
    dues = [schedule.due - now for schedule in full.scheduled(limit=None)]
    assert timedelta(seconds=-60) < dues[0] <= timedelta(0)
    assert timedelta(seconds=3540) < dues[1] <= timedelta(hours=1)
    assert dues[2] == eta - now
    assert dues[3] > timedelta(days=365_000)


def test_a_task_that_is_there_already_waits_for_nobody_and_stays(
    full: FullResult, caller: Caller
) -> None:
    caller.begin()
    with full.outbox(caller.connection):
        task_id = publish(full, 1, task_id="same")
        publish(full, 2, task_id="same")
    caller.commit()

    record = full.get(task_id)
    assert record is not None
    assert record.args == [1]
    assert stored(full) == ["same", "same"]


def test_a_countdown_that_is_none_is_celerys_to_refuse(full: FullResult, caller: Caller) -> None:
    caller.begin()
    with full.outbox(caller.connection) as box, pytest.raises((TypeError, OverflowError)):
        publish(full, countdown=10**12)
    with full.outbox(caller.connection), pytest.raises(TypeError):
        publish(full, countdown="soon")
    caller.commit()

    assert box.ids == stored(full) == []


# --- What goes in


def do_nothing(*_: Any) -> None:
    pass


Canvas = Callable[[Any], Any]
CANVASES: dict[str, tuple[int, Canvas]] = {
    "chain": (1, lambda s: chain(s(1), s(2)).apply_async()),
    "group": (3, lambda s: group(s(n) for n in range(3)).apply_async()),
    "chord": (3, lambda s: chord([s(1), s(2)])(s(3))),
    "chain of chord": (3, lambda s: chain(group(s(1), s(2)), s(3), s(4)).apply_async()),
    "link": (1, lambda s: s(1).apply_async(link=s(2))),
}


@pytest.mark.parametrize("canvas", CANVASES)
def test_a_canvas_goes_in_with_all_its_messages(
    full: FullResult, caller: Caller, canvas: str, tmp_path: Path
) -> None:
    """Also what Celery publishes to watch a chord; nothing reaches the broker, which is away."""
    full.app.conf.result_backend = other_results.database(tmp_path / "results.db")
    charge = full.app.task(name="shop.charge")(do_nothing)
    messages, apply = CANVASES[canvas]

    caller.begin()
    with full.outbox(caller.connection):
        apply(charge.si)
    caller.rollback()
    rolled_back = stored(full)
    caller.begin()
    with full.outbox(caller.connection) as box:
        apply(charge.si)
    caller.commit()

    assert rolled_back == []
    assert len(box) == len(stored(full)) == messages


def test_of_a_task_that_is_not_recorded_only_the_message_is_kept(
    full: FullResult, caller: Caller
) -> None:
    caller.begin()
    with full.outbox(caller.connection):
        task_id = str(full.app.send_task("celery.chord_unlock", ()).id)
    caller.commit()

    assert stored(full) == [task_id]
    assert full.get(task_id) is None


def test_the_innermost_block_takes_a_task(
    full: FullResult, caller: Caller, kind: str, url: str
) -> None:
    with KINDS[kind][1](url) as other:
        caller.begin()
        with full.outbox(caller.connection) as outer:
            one = KINDS[kind][0] == "sqlite"
            if one:  # one writer at a time: the outer one is to wait
                inner = full.outbox(caller.connection)
            else:
                other.begin()
                inner = full.outbox(other.connection)
            with inner as box:
                publish(full, task_id="inner")
            if not one:
                other.commit()
            publish(full, task_id="outer")
        caller.commit()

    assert (box.ids, outer.ids) == (["inner"], ["outer"])
    assert stored(full) == ["inner", "outer"]


# --- What goes past it


def goes_to_the_broker(full: FullResult) -> bool:
    with pytest.raises(Exception, match=r"refused|Errno"):
        publish(full)
    return True


def test_what_is_published_elsewhere_goes_to_the_broker(full: FullResult, caller: Caller) -> None:
    found: list[bool] = []
    caller.begin()
    with full.outbox(caller.connection) as box:
        with full.direct():
            assert goes_to_the_broker(full)
        thread = threading.Thread(target=lambda: found.append(goes_to_the_broker(full)))
        thread.start()
        thread.join()
    caller.rollback()

    assert found == [True]
    assert box.ids == []
    assert goes_to_the_broker(full)


def test_a_block_is_closed_for_all_that_inherited_it(full: FullResult, caller: Caller) -> None:
    import contextvars

    caller.begin()
    with full.outbox(caller.connection):
        inherited = contextvars.copy_context()
    caller.rollback()

    assert inherited.run(goes_to_the_broker, full)


def test_another_apps_tasks_are_not_taken(full: FullResult, caller: Caller, url: str) -> None:
    with shop(url) as another:
        caller.begin()
        with full.outbox(caller.connection):
            assert goes_to_the_broker(another)
        caller.rollback()


# --- What is refused


def test_without_a_transaction_a_task_is_refused(full: FullResult, caller: Caller) -> None:
    if caller.begins_by_itself:
        pytest.skip("there always is one")
    with full.outbox(caller.connection), pytest.raises(ValueError, match="no transaction is open"):
        publish(full)

    assert stored(full) == []


@pytest.mark.parametrize("kind", ["sqlalchemy-psycopg", "session-psycopg2", "session-sqlite"])
def test_where_each_statement_commits_by_itself_there_is_no_transaction(
    full: FullResult, kind: str, url: str
) -> None:
    _, connect = KINDS[kind]
    with (
        connect(url, isolation_level="AUTOCOMMIT") as caller,
        full.outbox(caller.connection),
        pytest.raises(ValueError, match="no transaction is open"),
    ):
        publish(full)

    assert stored(full) == []


def test_unless_it_is_to_commit_by_itself(full: FullResult, caller: Caller) -> None:
    if caller.begins_by_itself:
        pytest.skip("it does not")
    with full.outbox(caller.connection, autocommit=True):
        task_id = publish(full)

    assert stored(full) == [task_id]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "too large": ({"fullresult_max_body": 100}, {"args": ("x" * 200,)}, "fullresult_max_body"),
    "hidden": ({}, {"argsrepr": "(…)"}, "fullresult_schedule_redacted"),
    "redacted": ({"fullresult_redact": ["card"]}, {"kwargs": {"card": 1}}, "fullresult_redact"),
    "protocol 1": ({"task_protocol": 1}, {}, "set it to 2"),
    "a header": ({}, {"headers": {"x": object()}}, "headers cannot be stored"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_stored_raises_and_never_goes_to_the_broker(
    full: FullResult, caller: Caller, why: str, url: str
) -> None:
    settings, options, said = REFUSED[why]
    caller.begin()
    with (
        shop(url, **settings) as strict,
        strict.outbox(caller.connection) as box,
        pytest.raises(NotStorable, match=said) as raised,
    ):
        strict.app.send_task("shop.charge", **options)
    caller.commit()

    assert "full.direct()" in str(raised.value)
    assert "shop.charge" in str(raised.value)
    assert box.ids == stored(full) == []


def test_hidden_arguments_are_stored_where_that_is_allowed(
    full: FullResult, caller: Caller, url: str
) -> None:
    caller.begin()
    with (
        shop(url, fullresult_schedule_redacted=True) as trusting,
        trusting.outbox(caller.connection),
    ):
        task_id = publish(trusting, 1, argsrepr="(…)")
    caller.commit()

    record = full.get(task_id)
    assert record is not None
    assert record.args is None
    assert stored(full) == [task_id]


def test_the_driver_says_itself_what_is_wrong_with_its_connection(
    full: FullResult, caller: Caller, kind: str
) -> None:
    if kind == "pymongo" or "session" in kind:
        pytest.skip("a session that has ended has no transaction, or begins another")
    caller.begin()
    with full.outbox(caller.connection) as box:
        publish(full)
        caller.connection.close()
        with pytest.raises(Exception) as raised:  # noqa: PT011  (each driver has its own)
            publish(full)

    assert type(raised.value).__module__.partition(".")[0] in {
        "django",
        "psycopg",
        "psycopg2",
        "sqlalchemy",
        "sqlite3",
    }
    assert len(box) == 1


def test_a_database_that_is_not_the_storage_is_noticed_before_anything_is_written(
    full: FullResult, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It has our tables, too."""
    with other_database(kind, request, tmp_path) as other_url, shop(other_url) as other:
        with KINDS[kind][1](other_url) as caller:
            caller.begin()
            with (
                full.outbox(caller.connection),
                pytest.raises(ValueError, match="nobody would send"),
            ):
                publish(full)
            if kind != "pymongo":  # that server has no transactions
                caller.insert(1)  # this one goes on
            caller.commit()
        assert stored(other) == []


def test_a_database_without_our_tables_is_noticed(
    full: FullResult, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with other_database(kind, request, tmp_path) as url, KINDS[kind][1](url) as caller:
        caller.begin()
        with full.outbox(caller.connection), pytest.raises(ValueError, match="nobody would send"):
            publish(full)
        if kind != "pymongo":
            caller.insert(1)
        caller.commit()


@contextlib.contextmanager
def other_database(kind: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[str]:
    storage = KINDS[kind][0]
    if storage == "mongodb":  # a transaction there is of the whole server
        with servers.mongodb_database(request.getfixturevalue("mongodb_single_server")) as url:
            yield url
        return
    if storage == "sqlite":
        yield f"sqlite:///{directory}/other.db"
        return
    server = request.getfixturevalue(f"{storage}_server")
    with getattr(servers, f"{storage}_database")(server) as url:
        yield url


def test_an_object_that_is_no_connection_is_refused(full: FullResult) -> None:
    with pytest.raises(ValueError, match="cannot lead to"):
        full.outbox(object())


def test_a_connection_to_another_kind_of_database_is_refused(
    full: FullResult, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    others = {"postgresql": "session-sqlite", "sqlite": "pymongo", "mongodb": "psycopg2"}
    storage, connect = KINDS[others[KINDS[kind][0]]]
    with (
        workers.storage(storage, request, tmp_path) as url,
        connect(url) as caller,
        pytest.raises(ValueError, match="cannot lead to"),
    ):
        full.outbox(caller.connection)


def test_an_outbox_that_no_worker_would_look_into_is_refused(caller: Caller, url: str) -> None:
    with (
        shop(url, fullresult_outbox=False) as forgetful,
        pytest.raises(ImproperlyConfigured, match="fullresult_outbox"),
    ):
        forgetful.outbox(caller.connection)


def test_a_blocking_connection_is_not_awaited(full: FullResult, caller: Caller) -> None:
    with pytest.raises(TypeError, match="write `with full"):
        full.outbox(caller.connection).__aenter__()


def test_a_block_is_entered_once(full: FullResult, caller: Caller) -> None:
    box = full.outbox(caller.connection)
    with box, pytest.raises(RuntimeError, match="make another one"), box:
        pass


# --- Kinds of connections


class Wrapped:
    """A connection of a kind that nobody knows but a plugin."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside


class Unwrapping:
    @hookimpl
    def fullresult_outbox_writer(self, connection: object) -> object | None:
        return connection.inside if isinstance(connection, Wrapped) else None


def test_a_plugin_may_know_other_kinds_of_connections(
    full: FullResult, caller: Caller, url: str
) -> None:
    with shop(url, plugins=[Unwrapping()]) as other:
        caller.begin()
        with other.outbox(Wrapped(caller.connection)):
            task_id = publish(other)
        caller.commit()

    assert stored(full) == [task_id]


def test_a_plugin_may_bring_a_writer_of_its_own(full: FullResult, caller: Caller, url: str) -> None:
    class Own:
        @hookimpl
        def fullresult_outbox_writer(self, connection: object) -> object | None:
            assert isinstance(full.storage, OutboxStorage)
            if not isinstance(connection, Wrapped):
                return None
            return full.storage.writer(connection.inside)

    with shop(url, plugins=[Own()]) as other:
        caller.begin()
        with other.outbox(Wrapped(caller.connection)):
            task_id = publish(other)
        caller.commit()

    assert stored(full) == [task_id]


def test_no_driver_is_imported_that_the_caller_has_not(tmp_path: Path) -> None:
    program = f"""
import sqlite3, sys
from celery import Celery
from fullresult import FullResult
app = Celery("shop", broker="memory://")
app.conf.fullresult_storage = "sqlite:///{tmp_path}/records.db"
app.conf.fullresult_outbox = True
full = FullResult(app)
full.setup()
connection = sqlite3.connect("{tmp_path}/records.db")
connection.execute("BEGIN")
with full.outbox(connection):
    app.send_task("shop.charge")
connection.commit()
drivers = {{"psycopg", "psycopg2", "asyncpg", "sqlalchemy", "pymongo"}}
print(sorted(drivers & set(sys.modules)), len(full.scheduled()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["[]", "1"]
