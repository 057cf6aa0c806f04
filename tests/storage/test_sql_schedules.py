"""Schedules in SQL: what is skipped, what is durable, and what stays cheap whatever has been.

Long because each case is tried on both databases by the same means.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from fullresult.config import Settings
from fullresult.record import SCHEDULED_SENT, STARTED, TaskRecord
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.storage import ScheduleStorage, StorageError, TaskQuery, Uncertain, with_schedules
from fullresult.testing import open_storage, samples
from fullresult_storage_sql import plugin, rows, statements
from fullresult_storage_sql.due_edges import START
from fullresult_storage_sql.postgresql_session import Session
from tests.kit import servers
from tests.kit.proxy import LoseAnswer, once, proxy

_FILL = """
    INSERT INTO fullresult_schedule (
        schedule_id, task_id, namespace, due, date_scheduled, body, headers, how
    )
    SELECT 'id ' || i, 'task ' || i, 'shop', '2026-01-31T12:00:00+00:00', now(), '', '{}', '{}'
    FROM generate_series(1, %s) AS i
"""
_CUT = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_SQL = statements.read("postgresql.sql")


@pytest.fixture
def storage(postgresql_url: str) -> Iterator[ScheduleStorage]:
    storage = with_schedules(open_storage(postgresql_url))
    storage.setup()
    yield storage
    storage.close()


@pytest.fixture
def database(storage: ScheduleStorage) -> Any:
    """What the storage runs its statements on."""
    return vars(storage)["_database"]


@pytest.fixture
def session(
    postgresql_url: str,
    storage: ScheduleStorage,  # noqa: ARG001  (the schema is there)
) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's connection."""
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        yield session


def keep(storage: ScheduleStorage, *schedule_ids: str) -> None:
    for schedule_id in schedule_ids:
        schedule = samples.schedule(schedule_id)
        storage.schedule(schedule, samples.scheduled(schedule))


def ids(schedules: Sequence[Schedule]) -> list[str]:
    return [schedule.schedule_id for schedule in schedules]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_another_claims_right_now_is_skipped_and_not_waited_for(
    storage: ScheduleStorage, session: psycopg.Connection[Any]
) -> None:
    keep(storage, "a", "b", "c")

    with session.transaction():
        now = samples.NOON
        session.execute(_SQL["claim_due"], ["y", now, "shop", "-infinity", "", now, 2])
        began = time.monotonic()
        claimed = storage.claim_due("shop", now, "x", 10)

    assert ids(claimed) == ["c"]
    assert time.monotonic() - began < 2


def test_what_another_failed_to_claim_is_claimed(
    storage: ScheduleStorage, session: psycopg.Connection[Any]
) -> None:
    keep(storage, "a", "b")
    with suppress(ZeroDivisionError), session.transaction():
        now = samples.NOON
        session.execute(_SQL["claim_due"], ["y", now, "shop", "-infinity", "", now, 2])
        raise ZeroDivisionError

    claimed = storage.claim_due("shop", now, "x", 10)

    assert ids(claimed) == ["a", "b"]


@pytest.mark.parametrize("analyzed", [True, False])
def test_a_claim_goes_along_the_index_of_what_waits(
    session: psycopg.Connection[Any], analyzed: bool
) -> None:
    session.execute("ALTER TABLE fullresult_schedule SET (autovacuum_enabled = off)")
    session.execute(_FILL, [3000])
    if analyzed:
        session.execute("ANALYZE fullresult_schedule")

    with session.transaction():
        session.execute(_SQL["prefer_index"])
        values = ["x", samples.NOON, "shop", "-infinity", "", samples.NOON, 250]
        answer = session.execute(f"EXPLAIN (FORMAT json) {_SQL['claim_due']}", values).fetchall()

    plan = json.dumps(answer)
    assert "fullresult_schedule_waiting" in plan
    assert not {"Sort", "Seq Scan", "Bitmap Heap Scan"} & set(node_types(answer[0][0][0]["Plan"]))


@pytest.mark.parametrize("analyzed", [True, False])
def test_what_is_sent_is_found_by_its_id(session: psycopg.Connection[Any], analyzed: bool) -> None:
    """Not in the index of what is claimed, where all stand that ever were until it is cleaned."""
    session.execute("ALTER TABLE fullresult_schedule SET (autovacuum_enabled = off)")
    session.execute(_FILL, [3000])
    session.execute("UPDATE fullresult_schedule SET claim = 'x' WHERE schedule_id < 'id 2'")
    if analyzed:
        session.execute("ANALYZE fullresult_schedule")

    values = ["x", [f"id {number}" for number in range(1, 200)]]
    with session.transaction():
        session.execute(_SQL["prefer_index"])
        answer = session.execute(f"EXPLAIN (FORMAT json) {_SQL['close']}", values).fetchall()

    assert "fullresult_schedule_pkey" in json.dumps(answer)


def node_types(plan: dict[str, Any]) -> Iterator[str]:
    yield plan["Node Type"]
    for inner in plan.get("Plans", ()):
        yield from node_types(inner)


@pytest.mark.parametrize(
    "query",
    [
        ScheduleQuery(task_ids=["task 7"]),
        ScheduleQuery(schedule_ids=["id 7"]),
        ScheduleQuery(claimed=True),
        ScheduleQuery(claimed=False, namespace="shop"),
        ScheduleQuery(claimed=False),
        ScheduleQuery(not_namespace="shop"),
        ScheduleQuery(tasks=TaskQuery(name="shop.pay"), due_until=samples.NOON, limit=3),
        ScheduleQuery(after=samples.schedule("id 7").cursor),
        ScheduleQuery(),
    ],
    ids=["task", "id", "claimed", "waiting", "all waiting", "other", "record", "after", "all"],
)
def test_a_listing_reads_little_of_many_schedules(
    storage: ScheduleStorage, database: Any, session: psycopg.Connection[Any], query: ScheduleQuery
) -> None:
    session.execute(_FILL, [20_000])
    session.execute("VACUUM ANALYZE fullresult_schedule")
    storage.find_schedules(query)

    read = blocks_read(database, lambda: storage.find_schedules(query))

    assert read < 300


def test_a_claim_stays_cheap_when_many_have_come_and_gone(
    storage: ScheduleStorage,
    database: Any,
    session: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing has swept them out of the index yet, and somebody reads: they cannot be."""
    session.execute("ALTER TABLE fullresult_schedule SET (autovacuum_enabled = off)")
    session.execute(_FILL, [1000])
    few = blocks_read(database, lambda: storage.claim_due("shop", samples.NOON, "x", 100))
    with psycopg.connect(session.info.dsn, user=session.info.user) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1 FROM fullresult_schedule LIMIT 1")
        session.execute(_FILL.replace("'id '", "'more '"), [50_000])
        drain(storage, 50_000)
        until(lambda: dead_rows(database) > 50_000)
        monkeypatch.setattr("fullresult_storage_sql.due_edges._REST", 100.0)
        vars(database)["_edges"].forget()
        storage.claim_due("shop", samples.NOON, "y", 100)  # looks at everything

        many = blocks_read(database, lambda: storage.claim_due("shop", samples.NOON, "y", 100))
        due = blocks_read(database, lambda: storage.next_due("shop"))

    assert few < 3_000
    assert many < few + 500
    assert due < 500


def drain(storage: ScheduleStorage, number: int) -> None:
    left = number
    while left > 0:
        claimed = storage.claim_due("shop", samples.NOON, "x", 5000)
        storage.mark_sent("x", ids(claimed), [])
        left -= len(claimed)


def dead_rows(database: Any) -> int:
    database.ask("SELECT pg_stat_force_next_flush()", ())
    return int(database.ask(_SQL["dead_rows"], ())[0][0])


def blocks_read(database: Any, do: Callable[[], object]) -> int:
    """Of schedules and their indexes, wherever they came from."""
    sql = (
        "SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read "
        "FROM pg_statio_user_tables WHERE relname = 'fullresult_schedule'"
    )
    flush = "SELECT pg_stat_force_next_flush()"
    database.ask(flush, ())
    before = database.ask(sql, ())[0][0]
    do()
    database.ask(flush, ())
    return int(database.ask(sql, ())[0][0] - before)


@pytest.mark.parametrize("change", ["schedule", "release", "reschedule"])
def test_what_comes_late_or_again_is_claimed_at_once_by_the_same_process(
    storage: ScheduleStorage,
    database: Any,
    session: psycopg.Connection[Any],
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fullresult_storage_sql.due_edges._REST", 100.0)
    litter(storage, database, session)
    keep(storage, "late")
    storage.reschedule("late", samples.after(60_000), samples.became("task late", STARTED))
    assert storage.claim_due("shop", samples.NOON, "x", 1) == []
    assert vars(database)["_edges"].of("shop") != START
    changes: dict[str, Callable[[], object]] = {
        "schedule": lambda: keep(storage, "later"),
        "reschedule": lambda: storage.reschedule(
            "late", samples.EPOCH, samples.became("task late", STARTED)
        ),
        "release": lambda: storage.release(
            ids(storage.find_schedules(ScheduleQuery(claimed=True, limit=1)))
        ),
    }

    changes[change]()

    assert len(storage.claim_due("shop", samples.NOON, "x", 1)) == 1


def test_what_comes_late_from_another_process_is_claimed_soon(
    storage: ScheduleStorage, database: Any, session: psycopg.Connection[Any], postgresql_url: str
) -> None:
    litter(storage, database, session)
    with closing(with_schedules(open_storage(postgresql_url))) as other:
        schedule = samples.schedule("late", samples.EPOCH)

        other.schedule(schedule, samples.scheduled(schedule))

    until(lambda: ids(storage.claim_due("shop", samples.NOON, "x", 1)) == ["late"])


def litter(storage: ScheduleStorage, database: Any, session: psycopg.Connection[Any]) -> None:
    """Enough has gone that not every look begins at the start; two remain claimed."""
    session.execute("ALTER TABLE fullresult_schedule SET (autovacuum_enabled = off)")
    session.execute(_FILL, [12_000])
    drain(storage, 12_000)
    until(lambda: dead_rows(database) >= 20_000)
    keep(storage, "claimed 1", "claimed 2")
    vars(database)["_edges"].forget()
    assert len(storage.claim_due("shop", samples.NOON, "x", 10)) == 2


DURABLE: dict[str, Callable[[ScheduleStorage], object]] = {
    "schedule": lambda storage: keep(storage, "new"),
    "withdraw": lambda storage: storage.withdraw("new"),
    "claim_due": lambda storage: storage.claim_due("shop", samples.NOON, "y", 9),
    "mark_sent": lambda storage: storage.mark_sent(
        "x", ["claimed"], [samples.became("task claimed", STARTED)]
    ),
    "release": lambda storage: storage.release(["claimed"]),
    "take_over": lambda storage: storage.take_over("claimed", "y", samples.NOON, instead_of="x"),
    "cancel": lambda storage: storage.cancel("a", samples.became("task a", STARTED)),
    "reschedule": lambda storage: storage.reschedule(
        "a", samples.after(1), samples.became("task a", STARTED)
    ),
}


@pytest.mark.parametrize("method", DURABLE)
@pytest.mark.parametrize(
    ("default", "expected"),
    [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_changes_to_schedules_are_durable_whatever_the_default(
    storage: ScheduleStorage,
    session: psycopg.Connection[Any],
    method: str,
    default: str,
    expected: str,
) -> None:
    """A constraint that is checked when the transaction ends sees how it will end."""
    keep(storage, "claimed")
    storage.take_over("claimed", "x", samples.NOON, instead_of=None)
    keep(storage, "a")
    session.execute(_SPY)
    name = conninfo_to_dict(session.info.dsn)["dbname"]
    session.execute(f"ALTER DATABASE {name} SET synchronous_commit = {default}")
    storage.close()

    DURABLE[method](storage)

    seen = session.execute("SELECT DISTINCT setting FROM seen").fetchall()
    assert seen == [(expected,)]


_SPY = """
    CREATE TABLE seen (setting text);
    CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO seen VALUES (current_setting('synchronous_commit'));
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER spy AFTER INSERT OR UPDATE OR DELETE ON fullresult_schedule
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spy();
"""


def test_a_schedule_is_one_statement(
    storage: ScheduleStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(storage, "a")
    sent: list[str] = []
    send, wait = Session.send, Session.wait

    def noted(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def note_and_do(*args: Any, **known: Any) -> Any:
            sent.append(name)
            return do(*args, **known)

        return note_and_do

    monkeypatch.setattr(Session, "send", noted("sent", send))
    monkeypatch.setattr(Session, "wait", noted("asked", wait))

    keep(storage, "b")

    assert sent == ["sent"]


def test_a_connection_that_was_cut_while_idle_costs_no_schedule(
    storage: ScheduleStorage, session: psycopg.Connection[Any]
) -> None:
    keep(storage, "a")

    session.execute(_CUT)
    keep(storage, "b")
    session.execute(_CUT)
    claimed = storage.claim_due("shop", samples.NOON, "x", 9)
    session.execute(_CUT)
    closed = storage.mark_sent("x", ids(claimed), [])

    assert sorted(closed) == ["a", "b"]


def impatient(url: str) -> ScheduleStorage:
    """A storage that waits for half a second."""
    settings = Settings(storage=url, storage_timeout=samples.after(500) - samples.NOON)
    storage = plugin.fullresult_open_storage(url, settings)
    assert isinstance(storage, ScheduleStorage)
    return storage


def test_an_answer_that_does_not_come_leaves_it_uncertain(
    postgresql_url: str, storage: ScheduleStorage
) -> None:
    known = conninfo_to_dict(postgresql_url)
    port = int(str(known["port"]))
    with proxy(servers.HOST, port) as network:
        behind = impatient(postgresql_url.replace(f":{port}/", f":{network.port}/"))
        keep(behind, "a")
        network.plan = once(b"in doubt", LoseAnswer(seconds=2))

        with pytest.raises(Uncertain, match="no answer whether in doubt is kept"):
            keep(behind, "in doubt")

        behind.close()

    assert network.faults == 1
    assert set(ids(storage.find_schedules(ScheduleQuery()))) == {"a", "in doubt"}


def test_what_the_server_gives_up_in_time_is_certain(
    postgresql_url: str, storage: ScheduleStorage, session: psycopg.Connection[Any]
) -> None:
    """It ends a statement before its caller gives up, so that none is kept behind its back."""
    waiting = impatient(postgresql_url)
    keep(waiting, "a")

    with session.transaction():
        session.execute("LOCK TABLE fullresult_schedule IN EXCLUSIVE MODE")
        with pytest.raises(StorageError, match="statement timeout") as raised:
            keep(waiting, "b")

    waiting.close()
    assert not isinstance(raised.value, Uncertain)
    assert ids(storage.find_schedules(ScheduleQuery())) == ["a"]


def test_a_connection_that_breaks_after_the_schedule_was_sent_leaves_it_uncertain(
    storage: ScheduleStorage, session: psycopg.Connection[Any]
) -> None:
    keep(storage, "a")
    raised: list[BaseException] = []

    def schedule() -> None:
        try:
            keep(storage, "b")
        except StorageError as error:
            raised.append(error)

    thread = threading.Thread(target=schedule)
    with session.transaction():
        session.execute("LOCK TABLE fullresult_schedule IN EXCLUSIVE MODE")
        thread.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: bool(session.execute(waiting).fetchall()))
        session.execute(_CUT)
        thread.join(10)

    assert [type(error) for error in raised] == [Uncertain]


def test_an_error_that_the_server_answers_is_certain(
    storage: ScheduleStorage, session: psycopg.Connection[Any]
) -> None:
    keep(storage, "a")
    session.execute("ALTER TABLE fullresult_schedule ADD CHECK (schedule_id <> 'b')")

    with pytest.raises(StorageError, match="check constraint") as raised:
        keep(storage, "b")

    assert not isinstance(raised.value, Uncertain)


def test_a_server_that_is_not_there_is_certain() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    storage = with_schedules(open_storage(f"postgresql://postgres@127.0.0.1:{port}/postgres"))

    with pytest.raises(StorageError, match="refused") as raised:
        keep(storage, "a")

    assert not isinstance(raised.value, Uncertain)


def test_a_batch_of_events_is_one_statement_with_the_same_answer(
    storage: ScheduleStorage, session: psycopg.Connection[Any]
) -> None:
    """As one by one: messages, entries, JSON, bytes and what lacks a message."""
    events = [samples.rich("a"), samples.became("b", STARTED), samples.task("c", args=["é", None])]
    for event in events:
        storage.write([event])
    session.execute("ALTER TABLE fullresult_task RENAME TO alone")
    session.execute("CREATE TABLE fullresult_task (LIKE alone INCLUDING ALL)")

    lacking = storage.write(events)

    both = "SELECT * FROM alone ORDER BY task_id", "SELECT * FROM fullresult_task ORDER BY task_id"
    alone, together = (session.execute(sql).fetchall() for sql in both)
    assert [list(map(str, row)) for row in together] == [list(map(str, row)) for row in alone]
    assert list(lacking) == ["b"]


def test_marks_of_withdrawn_schedules_are_forgotten_after_a_week(
    storage: ScheduleStorage, session: psycopg.Connection[Any]
) -> None:
    storage.withdraw("old")
    session.execute("UPDATE fullresult_schedule SET date_withdrawn = now() - interval '8 days'")

    storage.withdraw("new")

    left = session.execute("SELECT schedule_id FROM fullresult_schedule").fetchall()
    assert left == [("new",)]


@contextmanager
def lite(path: Path, options: str = "") -> Iterator[tuple[ScheduleStorage, list[str]]]:
    """A storage in SQLite, and the statements that its one connection runs."""
    storage = with_schedules(open_storage(f"sqlite:///{path}/tasks.db{options}"))
    storage.setup()
    (session,) = vars(vars(vars(storage)["_database"])["_connections"])["_idle"]
    ran: list[str] = []
    session.set_trace_callback(ran.append)
    yield storage, ran
    storage.close()


@pytest.mark.parametrize("method", DURABLE)
@pytest.mark.parametrize(
    ("options", "expected"),
    [("", 2), ("?synchronous=OFF", 2), ("?synchronous=NORMAL", 2), ("?synchronous=EXTRA", 3)],
)
def test_sqlite_has_changes_to_schedules_on_the_disk(
    tmp_path: Path, method: str, options: str, expected: int
) -> None:
    with lite(tmp_path, options) as (storage, ran):
        keep(storage, "claimed")
        storage.take_over("claimed", "x", samples.NOON, instead_of=None)
        keep(storage, "a")
        storage.write([samples.became("other", STARTED)])
        ran.clear()

        DURABLE[method](storage)

        asked = vars(storage)["_database"].ask("PRAGMA synchronous", ())
    assert asked == [(expected,)]
    assert any(sql.startswith("BEGIN IMMEDIATE") for sql in ran)


@pytest.mark.parametrize("filled", [True, False])
def test_sqlite_claims_along_the_index_of_what_waits(tmp_path: Path, filled: bool) -> None:
    with lite(tmp_path) as (storage, _):
        if filled:
            keep(storage, *map(str, range(50)))
    sql = statements.read("sqlite.sql")["claim_due"]
    now = rows.date_text(samples.NOON)

    with closing(sqlite3.connect(tmp_path / "tasks.db")) as session:
        values = ["x", now, "shop", now, 10]
        plan = session.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()

    steps = [row[3] for row in plan]
    assert any("fullresult_schedule_waiting (namespace=? AND due<?)" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)


def test_a_file_that_is_busy_keeps_no_schedule_for_certain(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    settings = Settings(storage=url, storage_timeout=samples.after(100) - samples.NOON)
    storage = plugin.fullresult_open_storage(url, settings)
    assert isinstance(storage, ScheduleStorage)
    storage.setup()

    with closing(sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)) as session:
        session.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked") as raised:
            keep(storage, "a")

    assert not isinstance(raised.value, Uncertain)
    assert storage.find_schedules(ScheduleQuery()) == []
    storage.close()


def sent(task_ids: Sequence[str]) -> list[TaskRecord]:
    return [samples.became(task_id, SCHEDULED_SENT) for task_id in sorted(task_ids)]


def test_batches_of_the_same_tasks_do_not_stop_each_other(storage: ScheduleStorage) -> None:
    """Whatever the order they are given in."""
    task_ids = [f"{number:03d}" for number in range(200)]
    keep(storage, *task_ids)
    events = sent([f"task {task_id}" for task_id in task_ids])
    errors: list[BaseException] = []

    def mark(batch: list[TaskRecord]) -> None:
        try:
            for _ in range(20):
                storage.mark_sent("nobody", [], batch)
        except StorageError as error:
            errors.append(error)

    threads = [threading.Thread(target=mark, args=[events[::step]]) for step in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert errors == []
