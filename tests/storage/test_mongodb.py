"""MongoDB keeps the contract of a storage, as a replica set and as a single server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import json_util

from fullresult.testing import StorageSuite
from fullresult.testing.outbox import Connect
from tests.kit import servers
from tests.kit.outbox import KINDS

pytestmark = pytest.mark.slow

OLD = Path(__file__).parent / "old_schemas"
_numbers = count()


@pytest.fixture(scope="module")
def replica_set(mongodb_server: str) -> Iterator[str]:
    with servers.mongodb_database(mongodb_server) as url:
        yield url


@pytest.fixture(scope="module")
def single_server(mongodb_single_server: str) -> Iterator[str]:
    with servers.mongodb_database(mongodb_single_server) as url:
        yield url


def collections_in(database: str) -> Iterator[str]:
    """Collections of a new name in *database*: made much faster than a database, and dropped.

    Each collection and index is a file that the server keeps open.
    """
    prefix = f"test_{next(_numbers)}_"
    bar = "&" if "?" in database else "?"
    yield f"{database}{bar}fullresult_prefix={prefix}"
    with pymongo.MongoClient[dict[str, Any]](database) as client:
        ours = client.get_default_database()
        for name in ours.list_collection_names(filter={"name": {"$regex": f"^{prefix}"}}):
            ours.drop_collection(name)


class TestReplicaSet(StorageSuite):
    @pytest.fixture
    def url(self, replica_set: str) -> Iterator[str]:
        yield from collections_in(replica_set)

    @pytest.fixture
    def connect(self, replica_set: str) -> Connect:
        """Without the prefix of `url`, which is no option of PyMongo's."""
        return partial(KINDS["pymongo"][1], replica_set)

    @pytest.fixture
    def unreachable_url(self) -> str:
        return f"mongodb://{servers.HOST}:{servers.free_port()}/db?serverSelectionTimeoutMS=300"

    @pytest.fixture(params=sorted(OLD.glob("mongodb_*.json")), ids=lambda file: file.stem)
    def old_url(self, mongodb_url: str, request: pytest.FixtureRequest) -> str:
        left = json_util.loads(request.param.read_text(encoding="utf-8"))
        with pymongo.MongoClient[dict[str, Any]](mongodb_url) as client:
            for name, documents in left.items():
                if documents:
                    client.get_default_database()[name].insert_many(documents)
        return mongodb_url


@pytest.mark.campaign
class TestSingleServer(StorageSuite):
    """Without transactions."""

    @pytest.fixture
    def url(self, single_server: str) -> Iterator[str]:
        yield from collections_in(single_server)
