"""What a task asks of its storage while it lives names its id: a cluster asks one shard for it.

MongoDB's commands name `_id`, PostgreSQL's statements find the rows of `fullresult_task` and
`fullresult_execution` by `task_id`; the server itself says how it would find them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import psycopg
import pymongo
import pytest

from fullresult.record import (
    FAILURE,
    PENDING,
    REVOKED,
    SCHEDULED,
    STARTED,
    SUCCESS,
    TaskQuery,
)
from fullresult.testing import samples
from fullresult_storage_sql.postgresql_statements import SQL
from tests.kit import workers
from tests.kit.lives import living
from tests.kit.outbox import KINDS, publish, shop, stored
from tests.kit.wire import Statement, Wire, listening

HASHED = ("fullresult_task", "fullresult_execution")
"""The tables that a cluster would spread by the id of their task."""
OF_MANY = {
    *("ids_beginning", "page_of_rare", "page_by_walk_then_index", "page_by_walk_then_names"),
    *("count", "tally", "edge", "shapes", "count_alike", "sample", "lock_expired"),
    *("bring_back", "bring_entries_back", "detached", "in_partitions"),
    *("lock_expired_unmoved", "movable", "move", "partitions"),
    *("of_tasks", "find_ended_members", "count_replayed_ends", "find_failures", "set_fingerprints"),
}
"""The statements of listings, searches, purges, partitions and repairs, which ask all shards."""
_OF_DRIVERS = ("BEGIN", "COMMIT", "SET", "SELECT set_config", "SELECT current_setting")


def write(storage: Any) -> None:
    """Each kind of event, alone and in a batch, of a new task and of a known one."""
    first, last = samples.task("a", state=PENDING), samples.became("a", SUCCESS, samples.after(2))
    running = samples.event(
        "a", outcome=samples.outcome(STARTED, samples.after(1)), start=samples.start()
    )
    failed = samples.event("b", outcome=samples.outcome(FAILURE), entries=(samples.entry(FAILURE),))
    for each in (
        first,
        running,
        last,
        failed,
        samples.event("never published", start=samples.start()),
    ):
        storage.write([each])
    storage.write([first, failed, samples.became("c", SUCCESS, samples.after(2))])


def ask(storage: Any) -> None:
    """What a worker, a caller of `get` and a chord ask of single tasks."""
    storage.get("a")
    storage.get_results(["a", "b"])
    storage.get_ended(["a", "b"])
    storage.get_ended(["a", "b"], messages=False)
    storage.get_successes(["a", "b"])


def join(storage: Any) -> None:
    """The ends of a chord's members."""
    for member in ("a", "b"):
        event = samples.became(member, SUCCESS, samples.after(2))
        storage.write_and_join(event, "the chord", member, 2, None)


def wait(storage: Any) -> None:
    """A task that is to run later."""
    waiting = samples.schedule("the schedule")
    storage.schedule(waiting, samples.scheduled(waiting))


def count(storage: Any) -> None:
    """A chord that grows, from its publishing until its body is sent."""
    storage.begin_chord("a chord", None, "its body", None)
    storage.set_chord_size("a chord", 2, None)
    storage.add_to_chord("a chord", "c", None)
    for member in ("a", "b", "c"):
        storage.join_chord("a chord", member, None, None, call=f"by {member}")
    storage.get_members("a chord")
    storage.close_chord("a chord", "by c")


def move(storage: Any) -> None:
    """What becomes of tasks that are to run later; which are due is a sweeper's question."""
    some = [samples.schedule(name) for name in ("sent", "cancelled", "moved", "withdrawn")]
    for each in some:
        storage.schedule(each, samples.scheduled(each))
    first, second, third, _ = some
    storage.cancel("cancelled", samples.became(second.task_id, REVOKED, samples.after(1)))
    later = samples.became(third.task_id, SCHEDULED, samples.after(1))
    storage.reschedule("moved", samples.after(3_600_000), later)
    storage.withdraw("withdrawn")
    storage.take_over("sent", "a claim", samples.after(1), instead_of=None)
    storage.mark_sent("a claim", ["sent"], [samples.became(first.task_id, PENDING)])


def prune(storage: Any) -> None:
    """A task that is retried so often that its oldest runs are not kept."""
    end = samples.entry(FAILURE, retries=1_000)
    storage.write([samples.event("d", outcome=samples.outcome(FAILURE), entries=(end,))])


def forget(storage: Any) -> None:
    storage.forget("a")


HOT: dict[str, Callable[[Any], None]] = {
    "write": write,
    "ask": ask,
    "join": join,
    "wait": wait,
    "count": count,
    "move": move,
    "prune": prune,
    "forget": forget,
}


@pytest.mark.parametrize("name", HOT)
def test_mongodb_is_asked_for_the_ids_of_tasks(name: str, mongodb_url: str) -> None:
    with listening(mongodb_url) as (wire, through), living(through, _nothing) as (_, full):
        write(full.storage)
        wire.clear()

        HOT[name](full.storage)

        assert wire.statements
        assert not elsewhere(wire, mongodb_url)


@pytest.mark.parametrize("name", HOT)
def test_postgresql_finds_rows_by_the_ids_of_tasks(name: str, postgresql_url: str) -> None:
    with listening(postgresql_url) as (wire, through), living(through, _nothing) as (_, full):
        write(full.storage)
        wire.clear()

        HOT[name](full.storage)

        assert wire.statements
        assert not elsewhere(wire, postgresql_url)


def test_every_statement_about_tasks_is_of_their_life_or_asks_all_shards(
    postgresql_url: str,
) -> None:
    """A statement that is new must be sent by one of `HOT`, or be named."""
    about = {name for name, text in SQL.items() if any(table in text for table in HASHED)}
    with (
        listening(postgresql_url) as (wire, through),
        living(through, _nothing, fullresult_outbox=True) as (_, full),
        psycopg.connect(through) as connection,
    ):
        for do in HOT.values():
            do(full.storage)
        with full.outbox(connection):
            publish(full, 1)

        sent = {each.text for each in wire.statements}

    assert {name for name in about if not _is_sent(SQL[name], sent)} == OF_MANY


@pytest.mark.parametrize("kind", ["mongodb", "postgresql"])
@pytest.mark.parametrize("mode", ["direct", "spooled"])
def test_a_task_is_published_and_run_by_its_id(
    mode: str, kind: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    settings = {"fullresult_write_mode": mode, "result_backend": "fullresult://"}
    with listening(url) as (wire, through), living(through, _nothing, **settings) as (life, full):
        wire.clear()
        life.publish()
        life.run()
        assert workers.until(lambda: (status := full.spool_status()) and not status.events)

        assert len(wire.statements) >= 1
        assert not elsewhere(wire, url)


@pytest.mark.parametrize("kind", ["pymongo", "psycopg"])
def test_tasks_enter_an_outbox_by_their_ids(kind: str, request: pytest.FixtureRequest) -> None:
    database, connect = KINDS[kind]
    url = request.getfixturevalue(f"{database}_url")
    with (
        listening(url) as (wire, through),
        shop(through) as full,
        connect(through) as caller,
    ):
        caller.begin()
        with full.outbox(caller.connection):  # asks if it is the storage's database
            publish(full, 1)
        wire.clear()
        with full.outbox(caller.connection):
            some = [publish(full, number) for number in (2, 3)]
        caller.commit()

        assert any("fullresult_task" in f"{each.text} {each.document}" for each in wire.statements)
        assert not elsewhere(wire, url)
        assert {*some} < {*stored(full)}


@pytest.mark.parametrize("kind", ["mongodb", "postgresql"])
def test_a_listing_is_seen_to_ask_all_shards(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    with listening(url) as (wire, through), living(through, _nothing) as (_, full):
        write(full.storage)
        wire.clear()

        full.storage.find(TaskQuery(name="shop.charge", limit=10))

        assert elsewhere(wire, url)


def elsewhere(wire: Wire, url: str) -> list[str]:
    """What would not be answered by the shards of the ids that it names alone."""
    if url.startswith("mongodb"):
        with pymongo.MongoClient[dict[str, Any]](url) as client:
            explain = partial(client.get_default_database().command, "explain")
            return [told for each in wire.statements for told in _of_mongodb(each, explain)]
    with psycopg.connect(url, autocommit=True) as connection:
        # A table of few rows would be read whole.
        connection.execute("SET enable_seqscan = off")
        asked = [each.text for each in wire.statements if not each.text.startswith(_OF_DRIVERS)]
        return [told for text in asked for told in _of_postgresql(text, connection)]


# --- MongoDB

_PARTS = {"update": ("updates", "q"), "delete": ("deletes", "q")}
_FILTERS = {"find": "filter", "findAndModify": "query", "count": "query"}
_WITHOUT_DOCUMENTS = ("commitTransaction",)
_OF_SESSIONS = ("lsid", "txnNumber", "writeConcern", "maxTimeMS")


def _of_mongodb(statement: Statement, explain: Callable[..., Any]) -> Iterator[str]:
    document = statement.document
    if statement.text in _WITHOUT_DOCUMENTS:
        return
    if statement.text == "insert":
        filters = document["documents"]
    elif statement.text in _PARTS:
        many, one = _PARTS[statement.text]
        filters = [each[one] for each in document[many]]
    else:
        filters = [document.get(_FILTERS.get(statement.text, ""), {})]
    yield from (f"{statement.text} {asked}" for asked in filters if not _names_ids(asked))
    if statement.text == "find":
        bare = {
            name: value
            for name, value in document.items()
            if name not in _OF_SESSIONS and not name.startswith("$")
        }
        plan = explain(bare, verbosity="queryPlanner")["queryPlanner"]["winningPlan"]
        if not {"IDHACK", "EXPRESS_IXSCAN"} & _stages(plan) and "'_id_'" not in str(plan):
            yield f"find {document['filter']}: {plan}"


def _names_ids(asked: dict[str, Any]) -> bool:
    known = asked.get("_id")
    return isinstance(known, str) or (isinstance(known, dict) and known.keys() == {"$in"})


def _stages(plan: dict[str, Any]) -> set[str]:
    below = [plan[name] for name in ("inputStage", "queryPlan") if name in plan]
    return {str(plan.get("stage"))}.union(*map(_stages, below))


# --- PostgreSQL


def _is_sent(template: str, texts: Iterable[str]) -> bool:
    """True if all of the statement is in a text, but for what is put into it."""
    parts = [part.strip() for part in re.split(r"%s|\{[^}]*\}|\n", template)]
    return any(all(part in text for part in parts) for text in texts)


def _of_postgresql(text: str, connection: psycopg.Connection) -> Iterator[str]:
    if connection.info.server_version < 160_000:
        pytest.skip("PostgreSQL explains statements without their values since version 16")
    explain = f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {text}"
    with psycopg.RawCursor(connection) as cursor:
        row = cursor.execute(explain.encode()).fetchone()
    assert row is not None
    plans = row[0] if isinstance(row[0], list) else json.loads(row[0])
    for node in _nodes(plans[0]["Plan"]):
        if node.get("Relation Name") in HASHED and not _is_by_id(node):
            yield f"{node} of {text}"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {name: value for name, value in plan.items() if name != "Plans"}
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _is_by_id(node: dict[str, Any]) -> bool:
    if node["Node Type"] == "ModifyTable":
        # What is inserted has its id, which is in the key that tells if it is known.
        return set(node.get("Conflict Arbiter Indexes", ())) <= {"fullresult_task_pkey"}
    known = " ".join(str(node.get(name, "")) for name in ("Index Cond", "Recheck Cond"))
    return "task_id = " in known


def _nothing(_step: str) -> None:
    pass
