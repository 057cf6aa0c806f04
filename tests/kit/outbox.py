"""Connections of a caller's, of each kind, with data of its own beside the outbox.

A kind is a function in `KINDS`: given the URL of a storage, a context manager of a `Caller`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg
import psycopg2
from celery import Celery
from pymongo import MongoClient
from pymongo.errors import CollectionInvalid
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from fullresult import FullResult
from tests.kit.outbox_django import by_django

NO_BROKER = "amqp://127.0.0.1:1//"
"""Nothing listens there: a publish that goes to the broker raises."""


class Caller(Protocol):
    """Somebody with a connection and a transaction of their own."""

    connection: Any
    has_savepoints: bool
    begins_by_itself: bool
    """True if there is a transaction from the first statement on."""

    def begin(self) -> None: ...

    def insert(self, order: int) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def savepoint(self) -> None: ...

    def rollback_to_savepoint(self) -> None: ...


class SqlCaller:
    """By a connection that runs SQL with `execute`."""

    has_savepoints = True
    begins_by_itself = False

    def __init__(self, connection: Any, execute: Callable[[str], Any] | None = None) -> None:
        self.connection = connection
        self.execute = execute or connection.execute

    def begin(self) -> None:
        self.execute("BEGIN")

    def insert(self, order: int) -> None:
        self.execute(f"INSERT INTO orders VALUES ({order})")

    def commit(self) -> None:
        self.execute("COMMIT")

    def rollback(self) -> None:
        self.execute("ROLLBACK")

    def savepoint(self) -> None:
        self.execute("SAVEPOINT s")

    def rollback_to_savepoint(self) -> None:
        self.execute("ROLLBACK TO SAVEPOINT s")


class SessionCaller:
    """By a session of PyMongo's."""

    has_savepoints = False
    begins_by_itself = False

    def __init__(self, session: Any, orders: Any) -> None:
        self.connection = session
        self._orders = orders

    def begin(self) -> None:
        self.connection.start_transaction()

    def insert(self, order: int) -> None:
        self._orders.insert_one({"_id": order}, session=self.connection)

    def commit(self) -> None:
        self.connection.commit_transaction()

    def rollback(self) -> None:
        self.connection.abort_transaction()

    def savepoint(self) -> None:
        raise NotImplementedError

    def rollback_to_savepoint(self) -> None:
        raise NotImplementedError


ORDERS = "CREATE TABLE IF NOT EXISTS orders (id integer PRIMARY KEY)"


@contextmanager
def by_psycopg(url: str) -> Iterator[Caller]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(ORDERS)
        yield SqlCaller(connection)


@contextmanager
def by_psycopg2(url: str) -> Iterator[Caller]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(ORDERS)
        yield SqlCaller(connection, cursor.execute)


class AlchemyCaller:
    """By a connection or session of SQLAlchemy's."""

    has_savepoints = True
    begins_by_itself = True

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def begin(self) -> None:
        """SQLAlchemy begins by itself."""

    def insert(self, order: int) -> None:
        self.connection.execute(text(f"INSERT INTO orders VALUES ({order})"))

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def savepoint(self) -> None:
        self._savepoint = self.connection.begin_nested()

    def rollback_to_savepoint(self) -> None:
        self._savepoint.rollback()


@contextmanager
def engine(scheme: str, url: str, **options: Any) -> Iterator[Engine]:
    engine = create_engine(scheme + url[url.index(":") :], **options)
    with engine.begin() as connection:
        connection.execute(text(ORDERS))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def by_sqlalchemy(scheme: str, url: str, **options: Any) -> Iterator[Caller]:
    with engine(scheme, url, **options) as made, made.connect() as connection:
        yield AlchemyCaller(connection)


@contextmanager
def by_session(scheme: str, url: str, **options: Any) -> Iterator[Caller]:
    with engine(scheme, url, **options) as made, Session(made) as session:
        yield AlchemyCaller(session)


@contextmanager
def by_scoped_session(url: str) -> Iterator[Caller]:
    with engine("postgresql+psycopg", url) as made:
        session = scoped_session(sessionmaker(made))
        yield AlchemyCaller(session)
        session.remove()


@contextmanager
def by_sqlite3(url: str) -> Iterator[Caller]:
    with closing(sqlite3.connect(file_of(url), isolation_level=None)) as connection:
        connection.execute(ORDERS)
        yield SqlCaller(connection)


@contextmanager
def by_pymongo(url: str) -> Iterator[Caller]:
    with MongoClient[dict[str, Any]](url) as client, client.start_session() as session:
        database = client.get_default_database("test")
        with contextlib.suppress(CollectionInvalid):  # it is there
            database.create_collection("orders")
        yield SessionCaller(session, database["orders"])


def file_of(url: str) -> str:
    """The file of a SQLite storage."""
    return urlsplit(url).path[1:]


Kind = Callable[..., AbstractContextManager[Caller]]
KINDS: dict[str, tuple[str, Kind]] = {
    "psycopg": ("postgresql", by_psycopg),
    "psycopg2": ("postgresql", by_psycopg2),
    "sqlalchemy-psycopg": ("postgresql", partial(by_sqlalchemy, "postgresql+psycopg")),
    "session-psycopg2": ("postgresql", partial(by_session, "postgresql+psycopg2")),
    "scoped_session-psycopg": ("postgresql", by_scoped_session),
    "sqlite3": ("sqlite", by_sqlite3),
    "Django's postgresql": ("postgresql", by_django),
    "Django's sqlite": ("sqlite", by_django),
    "sqlalchemy-sqlite": ("sqlite", partial(by_sqlalchemy, "sqlite")),
    "session-sqlite": ("sqlite", partial(by_session, "sqlite")),
    "pymongo": ("mongodb", by_pymongo),
}
"""By name: the storage that it needs, and how to connect to it."""


@contextmanager
def shop(
    url: str, plugins: Sequence[object] = (), *, set_up: bool = True, **settings: Any
) -> Iterator[FullResult]:
    """An app with an outbox and with tasks, and without a broker."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(
        broker_url=NO_BROKER,
        broker_transport_options={"max_retries": 1, "interval_start": 0, "interval_step": 0},
        task_publish_retry=False,
        fullresult_storage=url,
        fullresult_outbox=True,
    )
    app.conf.update(settings)
    full = FullResult(app, plugins=[*plugins])
    if set_up:
        full.setup()
    try:
        yield full
    finally:
        full.close()
        app.close()


def publish(full: FullResult, *args: Any, **options: Any) -> str:
    """Publish a task `shop.charge`; returns its id."""
    return str(full.app.send_task("shop.charge", args, **options).id)


def stored(full: FullResult) -> list[str]:
    """The ids of the tasks that wait, in the order in which they will be sent."""
    return [schedule.task_id for schedule in full.scheduled(limit=None)]
