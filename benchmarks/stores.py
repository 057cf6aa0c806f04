"""Empty stores for the runs: each a URL, and the processes that serve it."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg
import pymongo
import redis

from benchmarks.meter import parent_of
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_STORE = ""


class Stores:
    """Lends empty stores; a server is started when the first run asks for it."""

    def __init__(self, servers_running: ExitStack) -> None:
        self._servers_running = servers_running
        self._urls: dict[str, str] = {}

    @contextmanager
    def empty(self, kind: str) -> Iterator[str]:
        """The URL of an empty store of *kind*, gone afterwards."""
        if kind == "postgresql":
            with servers.postgresql_database(self._server(kind)) as url:
                yield url
        elif kind == "mongodb":
            with servers.mongodb_database(self._server(kind)) as url:
                yield url
        elif kind == "redis":
            with servers.redis_database(self._server(kind)) as url:
                yield url
        elif kind == "sqlite":
            with _wal_file() as url:
                yield url
        else:
            yield NO_STORE

    def server_pids(self, kind: str) -> set[int]:
        """The main processes of the broker's server and of the one for *kind*, if it has one."""
        pids = {_valkey_pid(self._server("redis"))}
        if kind == "postgresql":
            pids.add(_postmaster_pid(self._server(kind)))
        elif kind == "mongodb":
            pids.add(_mongod_pid(self._server(kind)))
        return pids

    def _server(self, kind: str) -> str:
        if kind not in self._urls:
            self._urls[kind] = self._servers_running.enter_context(_start(kind))
        return self._urls[kind]


@contextmanager
def _start(kind: str) -> Iterator[str]:
    if kind == "postgresql":
        with servers.postgresql(durable=True) as url:
            yield url
    elif kind == "mongodb":
        with servers.mongodb() as url:
            yield url
    else:
        with servers.redis() as url:
            yield url


@contextmanager
def _wal_file() -> Iterator[str]:
    with TemporaryDirectory() as directory:
        path = Path(directory, "store.sqlite")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        yield f"sqlite:///{path}"


def _postmaster_pid(url: str) -> int:
    with psycopg.connect(url) as connection:
        return parent_of(connection.info.backend_pid)


def _mongod_pid(url: str) -> int:
    with pymongo.MongoClient[dict[str, int]](url) as client:
        return int(client.admin.command("serverStatus")["pid"])


def _valkey_pid(url: str) -> int:
    with closing(redis.Redis.from_url(url)) as client:
        return int(client.info("server")["process_id"])
