"""What a task asks of its storage while it lives names its id: a cluster asks one shard for it.

MongoDB's commands name `_id`, PostgreSQL's statements find the rows of `fullresult_task` and
`fullresult_execution` by `task_id`; the server itself says how it would find them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pymongo
import pytest

from fullresult.record import FAILURE, PENDING, STARTED, SUCCESS, TaskQuery
from fullresult.testing import samples
from tests.kit import workers
from tests.kit.lives import living
from tests.kit.wire import Statement, Wire, listening

HASHED = ("fullresult_task", "fullresult_execution")
"""The tables that a cluster would spread by the id of their task."""
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


HOT: dict[str, Callable[[Any], None]] = {"write": write, "ask": ask, "join": join, "wait": wait}


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

        assert any(table in each.text for each in wire.statements for table in HASHED)
        assert not elsewhere(wire, postgresql_url)


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
_OF_SESSIONS = ("lsid", "txnNumber", "writeConcern", "maxTimeMS")


def _of_mongodb(statement: Statement, explain: Callable[..., Any]) -> Iterator[str]:
    document = statement.document
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
