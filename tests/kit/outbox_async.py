"""Connections of a caller's whose answers are awaited, of each kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import psycopg
from pymongo import AsyncMongoClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)

from tests.kit.outbox import ORDERS

Run = Callable[[str], Awaitable[Any]]


class Caller:
    """A connection and its transaction."""

    def __init__(self, connection: Any, begin: Run, execute: Run, end: Run) -> None:
        self.connection = connection
        self._begin, self._execute, self._end = begin, execute, end

    async def begin(self) -> None:
        await self._begin("BEGIN")

    async def execute(self, sql: str) -> None:
        await self._execute(sql)

    async def end(self, how: str) -> None:
        """*how* is COMMIT or ROLLBACK."""
        await self._end(how)


@asynccontextmanager
async def by_psycopg(url: str) -> AsyncIterator[Caller]:
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    async with connection:

        async def run(sql: str) -> None:
            await connection.execute(sql.encode())

        await run(ORDERS)
        yield Caller(connection, run, run, run)


@asynccontextmanager
async def by_asyncpg(url: str) -> AsyncIterator[Caller]:
    connection = await asyncpg.connect(url)
    # As many programs do, whose JSON comes and goes as objects.
    await connection.set_type_codec(
        "json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )
    await connection.execute(ORDERS)
    try:
        yield Caller(connection, connection.execute, connection.execute, connection.execute)
    finally:
        await connection.close()


@asynccontextmanager
async def by_pool_of_asyncpg(url: str) -> AsyncIterator[Caller]:
    async with asyncpg.create_pool(url, min_size=1) as pool, pool.acquire() as connection:
        await connection.execute(ORDERS)
        yield Caller(connection, connection.execute, connection.execute, connection.execute)


async def nothing(_: str) -> None:
    """SQLAlchemy begins by itself."""


def by_sqlalchemy(
    scheme: str, make: Callable[[Any], Any]
) -> Callable[[str], AbstractAsyncContextManager[Caller]]:
    @asynccontextmanager
    async def connect(url: str) -> AsyncIterator[Caller]:
        engine = create_async_engine(scheme + url[url.index(":") :])
        async with engine.begin() as preparing:
            await preparing.execute(text(ORDERS))
        connection = make(engine)
        if hasattr(connection, "start"):
            await connection.start()

        async def execute(sql: str) -> None:
            await connection.execute(text(sql))

        async def end(how: str) -> None:
            await getattr(connection, how.lower())()

        try:
            yield Caller(connection, nothing, execute, end)
        finally:
            await connection.close()
            await engine.dispose()

    return connect


def scoped(engine: Any) -> Any:
    return async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)


PSYCOPG, ASYNCPG = "postgresql+psycopg", "postgresql+asyncpg"
KINDS: dict[str, tuple[str, Callable[[str], AbstractAsyncContextManager[Caller]]]] = {
    "psycopg": ("postgresql", by_psycopg),
    "asyncpg": ("postgresql", by_asyncpg),
    "asyncpg's pool": ("postgresql", by_pool_of_asyncpg),
    "sqlalchemy-psycopg": ("postgresql", by_sqlalchemy(PSYCOPG, lambda e: e.connect())),
    "session-asyncpg": ("postgresql", by_sqlalchemy(ASYNCPG, AsyncSession)),
    "scoped_session-psycopg": ("postgresql", by_sqlalchemy(PSYCOPG, scoped)),
    "session-aiosqlite": ("sqlite", by_sqlalchemy("sqlite+aiosqlite", AsyncSession)),
}


@asynccontextmanager
async def by_pymongo(url: str) -> AsyncIterator[Caller]:
    """Without SQL: what it is told to execute is the id of an order."""
    async with AsyncMongoClient[dict[str, Any]](url) as client, client.start_session() as session:
        orders = client.get_default_database("test")["orders"]

        async def begin(_: str) -> None:
            await session.start_transaction()

        async def insert(sql: str) -> None:
            await orders.insert_one({"_id": sql}, session=session)

        async def end(how: str) -> None:
            await (session.commit_transaction if how == "COMMIT" else session.abort_transaction)()

        yield Caller(session, begin, insert, end)


KINDS_WITH_PYMONGO = {**KINDS, "pymongo": ("mongodb", by_pymongo)}
