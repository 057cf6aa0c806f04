"""Outboxes by connections whose answers are awaited: written as the block ends, in one go.

Long because each promise is tried with every kind of connection, by one fixture.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pymongo import AsyncMongoClient

from fullresult import FullResult
from tests.kit import workers
from tests.kit.outbox import publish, shop, stored
from tests.kit.outbox_async import KINDS, Caller

T = TypeVar("T")


@pytest.fixture(params=KINDS)
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


def run(kind: str, url: str, do: Callable[[Caller], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        async with KINDS[kind][1](url) as caller:
            return await do(caller)

    return asyncio.run(main())


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
def test_tasks_share_the_fate_of_the_data(full: FullResult, kind: str, url: str, how: str) -> None:
    async def order(caller: Caller) -> tuple[list[str], list[str]]:
        await caller.begin()
        await caller.execute("INSERT INTO orders VALUES (1)")
        async with full.outbox(caller.connection) as box:
            for number in range(20):
                publish(full, number, countdown=number)
        before = stored(full)
        await caller.end(how)
        return box.ids, before

    ids, before = run(kind, url, order)

    assert before == []
    assert stored(full) == (ids if how == "COMMIT" else [])
    states = {full.get(task_id) and "SCHEDULED" for task_id in ids}
    assert states == {"SCHEDULED" if how == "COMMIT" else None}


def test_a_savepoint_that_is_rolled_back_takes_the_block_in_it_along(
    full: FullResult, kind: str, url: str
) -> None:
    async def order(caller: Caller) -> None:
        await caller.begin()
        await caller.execute("INSERT INTO orders VALUES (1)")
        async with full.outbox(caller.connection):
            publish(full, task_id="kept")
        await caller.execute("SAVEPOINT s")
        async with full.outbox(caller.connection):
            publish(full, task_id="lost")
        await caller.execute("ROLLBACK TO SAVEPOINT s")
        await caller.end("COMMIT")

    run(kind, url, order)

    assert stored(full) == ["kept"]


def test_a_block_that_fails_writes_nothing_more(full: FullResult, kind: str, url: str) -> None:
    async def order(caller: Caller) -> None:
        await caller.begin()
        await caller.execute("INSERT INTO orders VALUES (1)")
        with contextlib.suppress(KeyError):
            async with full.outbox(caller.connection) as box:
                publish(full, task_id="flushed")
                await box.flush()
                publish(full, task_id="failed")
                raise KeyError
        await caller.end("COMMIT")

    run(kind, url, order)

    assert stored(full) == ["flushed"]


def test_an_asyncio_task_that_outlives_the_block_publishes_by_itself(
    full: FullResult, kind: str, url: str
) -> None:
    async def order(caller: Caller) -> None:
        async def later() -> None:
            await asyncio.sleep(0.01)
            with pytest.raises(Exception, match=r"refused|Errno"):
                publish(full)

        await caller.begin()
        async with full.outbox(caller.connection):
            task = asyncio.create_task(later())
            publish(full)
        await task
        await caller.end("ROLLBACK")

    run(kind, url, order)

    assert stored(full) == []


def test_two_asyncio_tasks_have_each_its_own_outbox(full: FullResult, kind: str, url: str) -> None:
    if KINDS[kind][0] == "sqlite":
        pytest.skip("one writer at a time")

    async def order(caller: Caller, name: str, how: str) -> None:
        await caller.begin()
        async with full.outbox(caller.connection):
            await asyncio.sleep(0.01)
            publish(full, task_id=name)
            await asyncio.sleep(0.01)
        await caller.end(how)

    async def both() -> None:
        async with KINDS[kind][1](url) as a, KINDS[kind][1](url) as b:
            await asyncio.gather(order(a, "one", "COMMIT"), order(b, "two", "ROLLBACK"))

    asyncio.run(both())

    assert stored(full) == ["one"]


def test_an_asynchronous_connection_is_awaited(full: FullResult, kind: str, url: str) -> None:
    async def order(caller: Caller) -> None:
        with pytest.raises(TypeError, match="async with full"):
            full.outbox(caller.connection).__enter__()

    run(kind, url, order)


@pytest.mark.parametrize("kind", ["psycopg", "session-asyncpg", "session-aiosqlite"])
def test_a_savepoint_that_ended_inside_the_block_is_noticed_where_the_driver_tells(
    full: FullResult, kind: str, url: str
) -> None:
    async def order(caller: Caller) -> None:
        connection = caller.connection
        inside = connection.transaction if kind == "psycopg" else connection.begin_nested
        if kind == "psycopg":
            await connection.set_autocommit(False)
        await caller.execute("INSERT INTO orders VALUES (1)")
        async with full.outbox(connection) as box:
            if kind == "psycopg":
                async with connection.transaction(), inside():
                    publish(full)
            else:
                async with inside():
                    publish(full)
            with pytest.raises(RuntimeError, match="a savepoint ended"):
                await box.flush()
            box.ids.clear()
            raise KeyError

    with pytest.raises(KeyError):
        run(kind, url, order)

    assert stored(full) == []


TELLING = ["sqlalchemy-psycopg", "session-asyncpg", "session-aiosqlite"]


@pytest.mark.parametrize("kind", TELLING)
@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
def test_a_transaction_that_ended_inside_the_block_is_noticed_where_the_driver_tells(
    full: FullResult, kind: str, url: str, how: str
) -> None:
    """Its tasks would go with the next one."""

    async def order(caller: Caller) -> None:
        try:
            async with full.outbox(caller.connection):
                await caller.execute("INSERT INTO orders VALUES (1)")
                publish(full)
                await caller.end(how)
                await caller.execute("INSERT INTO orders VALUES (2)")
        finally:
            await caller.end("COMMIT")

    with pytest.raises(RuntimeError, match="the transaction ended"):
        run(kind, url, order)

    assert stored(full) == []


@pytest.mark.parametrize("kind", ["psycopg"])
def test_psycopg_tells_that_no_transaction_is_open_any_more(
    full: FullResult, kind: str, url: str
) -> None:
    async def order(caller: Caller) -> None:
        await caller.connection.set_autocommit(False)
        try:
            async with full.outbox(caller.connection):
                await caller.execute("INSERT INTO orders VALUES (1)")
                publish(full)
                await caller.connection.rollback()
        finally:
            await caller.end("COMMIT")

    with pytest.raises(RuntimeError, match="the transaction ended"):
        run(kind, url, order)

    assert stored(full) == []


@pytest.mark.parametrize("kind", ["psycopg"])
def test_the_outermost_block_of_psycopg_may_be_a_savepoint(
    full: FullResult, kind: str, url: str
) -> None:
    async def order(caller: Caller) -> None:
        await caller.begin()
        with pytest.raises(RuntimeError, match="a savepoint ended"):
            async with full.outbox(caller.connection), caller.connection.transaction():
                publish(full)
        await caller.end("COMMIT")

    run(kind, url, order)

    assert stored(full) == []


@pytest.mark.parametrize("kind", ["asyncpg"])
def test_asyncpg_tells_one_transaction_from_the_next(full: FullResult, kind: str, url: str) -> None:
    async def order(caller: Caller) -> None:
        async with full.outbox(caller.connection) as box:
            async with caller.connection.transaction():
                publish(full)
            async with caller.connection.transaction():
                with pytest.raises(RuntimeError, match="the transaction ended"):
                    await box.flush()
            raise KeyError

    with pytest.raises(KeyError):
        run(kind, url, order)

    assert stored(full) == []


@pytest.mark.parametrize("kind", ["sqlalchemy-psycopg"])
def test_each_savepoint_of_sqlalchemy_counts(full: FullResult, kind: str, url: str) -> None:
    async def order(caller: Caller) -> None:
        connection = caller.connection
        async with connection.begin_nested():
            with pytest.raises(RuntimeError, match="a savepoint ended"):
                async with full.outbox(connection), connection.begin_nested():
                    publish(full)
        await caller.end("COMMIT")

    run(kind, url, order)

    assert stored(full) == []


@pytest.mark.parametrize("kind", ["session-aiosqlite"])
def test_a_thread_that_comes_too_late_is_told_so(full: FullResult, kind: str, url: str) -> None:
    async def order(caller: Caller) -> None:
        async with full.outbox(caller.connection) as box:
            publish(full, task_id="in time")
            (row,) = box._rows
        with pytest.raises(RuntimeError, match="the outbox ended before"):
            box.add(row)
        await caller.end("COMMIT")

    run(kind, url, order)

    assert stored(full) == ["in time"]


# --- MongoDB


@pytest.mark.parametrize("how", ["commit", "abort"])
def test_an_asynchronous_session_of_pymongo_is_a_way_in(mongodb_url: str, how: str) -> None:
    async def order(full: FullResult) -> list[str]:
        async with (
            AsyncMongoClient[dict[str, Any]](mongodb_url) as client,
            client.start_session() as session,
        ):
            await session.start_transaction()
            async with full.outbox(session) as box:
                publish(full, 1, countdown=60)
                publish(full, 2, countdown=70)
            before = stored(full)
            await getattr(session, f"{how}_transaction")()
        assert before == []
        return box.ids

    with shop(mongodb_url) as full:
        ids = asyncio.run(order(full))

        assert stored(full) == (ids if how == "commit" else [])


def test_a_transaction_of_pymongo_that_is_tried_again_leaves_the_tasks_of_its_last_try(
    mongodb_url: str,
) -> None:
    from pymongo.errors import OperationFailure

    tries = []

    async def main(full: FullResult) -> None:
        async with AsyncMongoClient[dict[str, Any]](mongodb_url) as client:

            async def order(session: Any) -> None:
                async with full.outbox(session):
                    tries.append(publish(full))
                if len(tries) == 1:
                    raise OperationFailure(
                        "again", details={"errorLabels": ["TransientTransactionError"]}
                    )

            async with client.start_session() as session:
                await session.with_transaction(order)

    with shop(mongodb_url) as full:
        asyncio.run(main(full))

        assert stored(full) == tries[1:]
        assert len(tries) == 2
