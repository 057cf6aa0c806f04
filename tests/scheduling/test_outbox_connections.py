"""Where a caller's connection leads to, and if it commits by itself: the driver's own is asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from fullresult import FullResult
from tests.kit import servers
from tests.kit.outbox import publish, shop, stored

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"{tmp_path}/shop.db"


@pytest.fixture
def full(file: str) -> Iterator[FullResult]:
    with shop(f"sqlite:///{file}") as full:
        yield full


def test_an_engine_whose_creator_leads_elsewhere_is_noticed(
    full: FullResult, file: str, tmp_path: Path
) -> None:
    """Its URL is the right one, and was found to be so."""
    other = f"{tmp_path}/other.db"
    right = create_engine(f"sqlite:///{file}")
    wrong = create_engine(f"sqlite:///{file}", creator=lambda: sqlite3.connect(other))
    with shop(f"sqlite:///{other}") as full_of_other:
        with right.begin() as connection, full.outbox(connection) as box:
            publish(full)
        with (
            wrong.connect() as connection,
            full.outbox(connection),
            pytest.raises(ValueError, match=r"other\.db, which is another database"),
        ):
            publish(full)
        right.dispose()
        wrong.dispose()

        assert (stored(full), stored(full_of_other)) == (box.ids, [])


def test_an_engine_with_another_database_in_its_arguments_is_noticed(
    postgresql_server: str, postgresql_url: str
) -> None:
    scheme = "postgresql+psycopg" + postgresql_url[postgresql_url.index(":") :]
    with servers.postgresql_database(postgresql_server) as other, shop(other):
        arguments = {"dbname": psycopg.conninfo.conninfo_to_dict(other)["dbname"]}
        right, wrong = create_engine(scheme), create_engine(scheme, connect_args=arguments)
        with shop(postgresql_url) as full:
            with right.begin() as connection, full.outbox(connection):
                publish(full)
            with (
                wrong.connect() as connection,
                full.outbox(connection),
                pytest.raises(ValueError, match="another database"),
            ):
                publish(full)
        right.dispose()
        wrong.dispose()


def test_a_copy_of_the_database_on_the_same_server_is_noticed(
    postgresql_server: str, postgresql_url: str
) -> None:
    """All in it is the same: tables, their numbers, and the identity that was made once."""
    name = psycopg.conninfo.conninfo_to_dict(postgresql_url)["dbname"]
    with shop(postgresql_url):
        pass
    with psycopg.connect(postgresql_server, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}_copy" TEMPLATE "{name}"'.encode())
        try:
            with (
                shop(postgresql_url) as full,
                psycopg.connect(postgresql_url, dbname=f"{name}_copy") as connection,
                full.outbox(connection),
                pytest.raises(ValueError, match="another database"),
            ):
                publish(full)
        finally:
            server.execute(f'DROP DATABASE "{name}_copy" WITH (FORCE)'.encode())


def test_a_client_that_has_not_connected_is_told_from_another(
    mongodb_url: str, mongodb_single_server: str
) -> None:
    with (
        servers.mongodb_database(mongodb_single_server) as other,
        shop(mongodb_url) as full,
        Client(mongodb_url, connect=False) as right,
        Client(other, connect=False) as wrong,
    ):
        with right.start_session() as session, session.start_transaction(), full.outbox(session):
            publish(full)
        with wrong.start_session() as session:
            session.start_transaction()
            with full.outbox(session), pytest.raises(ValueError, match="nobody would send"):
                publish(full)


def test_a_session_whose_connection_commits_by_itself_has_no_transaction(
    full: FullResult, file: str
) -> None:
    engine = create_engine(f"sqlite:///{file}")
    with Session(engine) as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        with full.outbox(session), pytest.raises(ValueError, match="no transaction is open"):
            publish(full)
    engine.dispose()

    assert stored(full) == []


def test_an_engine_whose_driver_commits_by_itself_has_no_transaction(postgresql_url: str) -> None:
    scheme = "postgresql+psycopg" + postgresql_url[postgresql_url.index(":") :]
    engine = create_engine(scheme, connect_args={"autocommit": True})
    with shop(postgresql_url) as full:
        with (
            engine.connect() as connection,
            full.outbox(connection),
            pytest.raises(ValueError, match="no transaction is open"),
        ):
            publish(full)
        engine.dispose()

        assert stored(full) == []


class Proxy:
    """Stands for a connection, as the proxies do of tools that trace a program."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.inside)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inside, name)


def test_a_proxy_is_known_by_the_connection_that_it_stands_for(full: FullResult, file: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection, full.outbox(Proxy(connection)):
        task_id = publish(full)

    assert stored(full) == [task_id]
