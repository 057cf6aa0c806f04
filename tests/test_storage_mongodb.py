"""MongoDB keeps the contract of a storage, as a replica set and as a single server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from fullresult.testing import StorageSuite
from tests import servers

_numbers = count()


@pytest.fixture(scope="module")
def replica_set(mongodb_server: str) -> Iterator[str]:
    with servers.mongodb_database(mongodb_server) as url:
        yield url


@pytest.fixture(scope="module")
def single_server(mongodb_single_server: str) -> Iterator[str]:
    with servers.mongodb_database(mongodb_single_server) as url:
        yield url


def of_its_own(database: str) -> str:
    """Collections of a new name in *database*, which are made much faster than a database."""
    bar = "&" if "?" in database else "?"
    return f"{database}{bar}fullresult_prefix=test_{next(_numbers)}_"


class TestReplicaSet(StorageSuite):
    @pytest.fixture
    def url(self, replica_set: str) -> str:
        return of_its_own(replica_set)

    @pytest.fixture
    def unreachable_url(self) -> str:
        return f"mongodb://{servers.HOST}:{servers.free_port()}/db?serverSelectionTimeoutMS=300"


class TestSingleServer(StorageSuite):
    """Without transactions."""

    @pytest.fixture
    def url(self, single_server: str) -> str:
        return of_its_own(single_server)
