"""PostgreSQL keeps the contract of a storage."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import psycopg
import pytest

from fullresult.storage import Storage, StorageError
from fullresult.testing import StorageSuite, open_storage
from fullresult.testing.outbox import Connect
from tests.kit import servers
from tests.kit.outbox import KINDS

OLD = Path(__file__).parent / "old_schemas"
_numbers = count()


@pytest.fixture(scope="module")
def database(postgresql_server: str) -> Iterator[str]:
    with servers.postgresql_database(postgresql_server) as url:
        yield url


@pytest.mark.slow
class TestPostgreSQL(StorageSuite):
    @pytest.fixture
    def url(self, database: str) -> str:
        """A schema of its own, which is made much faster than a database."""
        schema = f"test_{next(_numbers)}"
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
        return f"{database}?options=-csearch_path%3D{schema}"

    @pytest.fixture
    def connect(self, url: str) -> Connect:
        return partial(KINDS["psycopg"][1], url)

    @pytest.fixture
    def unreachable_url(self) -> str:
        return f"postgresql://postgres@{servers.HOST}:{servers.free_port()}/postgres"

    @pytest.fixture(params=sorted(OLD.glob("postgresql_*.sql")), ids=lambda file: file.stem)
    def old_url(self, url: str, request: pytest.FixtureRequest) -> str:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(request.param.read_bytes())
        return url


@pytest.fixture
def storage(postgresql_url: str) -> Iterator[Storage]:
    storage = open_storage(postgresql_url)
    yield storage
    storage.close()


def test_a_dead_connection_is_replaced(storage: Storage, postgresql_url: str) -> None:
    """The server ended the session while nobody used it, as a restart or a firewall does."""
    storage.now()

    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert storage.now() is not None


def test_a_schema_that_was_dropped_is_a_storage_error(
    storage: Storage, postgresql_url: str
) -> None:
    storage.setup()
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("DROP TABLE fullresult_task")

    with pytest.raises(StorageError, match="fullresult setup"):
        storage.get("a")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_keep_every_text_is_refused(
    postgresql_url: str, encoding: str
) -> None:
    name = f"fullresult_{encoding.lower()}"
    options = f"ENCODING '{encoding}' LOCALE 'C' LOCALE_PROVIDER 'libc' TEMPLATE template0"
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {options}".encode())
        storage = open_storage(f"{postgresql_url.rpartition('/')[0]}/{name}")
        try:
            with pytest.raises(StorageError, match=f"encoding {encoding}.*needs UTF8"):
                storage.setup()
        finally:
            storage.close()
            connection.execute(f"DROP DATABASE {name}".encode())
