"""The connection to MongoDB: one client in each process, made when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Collection as Names
from contextlib import AbstractContextManager, nullcontext
from datetime import timezone
from typing import Any, NamedTuple

import pymongo
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from fullresult.config import without_password
from fullresult.storage import StorageError, notice_fork, watch_forks
from fullresult_storage_mongo.held_connections import Lines
from fullresult_storage_mongo.moves import Moves
from fullresult_storage_mongo.reachability import reach

Document = dict[str, Any]

DURABLE = WriteConcern(w="majority", j=True)
RELAXED = WriteConcern(w=1)
_OLDEST_WIRE, _OLDEST = 17, "6.0"
_WAITS = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
_WAITS_OF_URL = ("sockettimeoutms", "serverselectiontimeoutms")
_GOODBYE = 0.5
"""Seconds to tell the server, when a client closes, that its sessions have ended."""
_RETRIES = ("retryReads", "retryWrites")
_CONCERNS = ("w", "journal", "wtimeoutms")


class Client(MongoClient[Document]):
    """A client that may stay open until its process ends."""

    def __del__(self) -> None:
        # PyMongo warns of a client left open.
        pass


class Handle(NamedTuple):
    """A client and our collections. All but `tasks` and `relaxed` are read from the primary."""

    client: Client
    tasks: Collection[Document]
    """Read with the URL's read preference, written to a majority and its journals."""
    relaxed: Collection[Document]
    """The same, written with the URL's write concern, or by one node if it has none."""
    results: Collection[Document]
    """The same as `tasks`, read from the primary: a secondary may not have a result yet."""
    schedules: Collection[Document]
    sweeps: Collection[Document]
    groups: Collection[Document]
    chords: Collection[Document]
    segments: Collection[Document]
    """The members of large chords, but for their newest."""
    workers: Collection[Document]
    cards: Collection[Document]
    names: Collection[Document]
    failures: Collection[Document]
    audit: Collection[Document]
    replays: Collection[Document]
    replayed: Collection[Document]
    pauses: Collection[Document]
    versions: Collection[Document]
    moves: Moves
    lines: Lines
    """The kept connections that single events are written on."""
    concern: Document
    """The write concern of `tasks`, as a command has it."""
    relaxed_concern: Document
    followed_concern: Document
    """The write concern of a first write on a line: the durable one that follows makes both safe.
    """


class Clients:
    """This process's handle.

    A fork leaves the parent's client to the parent: the child keeps a reference, since Python would
    close it otherwise, and makes its own.
    """

    def __init__(
        self,
        url: str,
        database: str,
        prefix: str,
        timeout: float,
        pool_size: int,
        given: Names[str],
    ) -> None:
        self.url, self.database, self.prefix = url, database, prefix
        self.timeout = None if {"timeoutms", *_WAITS_OF_URL} & {*given} else timeout
        """Seconds for one call; None where the URL says how long to wait."""
        self._options: dict[str, Any] = {
            name: int(timeout * 1000) for name in _WAITS if name.lower() not in given
        }
        # PyMongo's retry would take the whole time again: `Database.run` retries in what is left.
        self._options |= {name: False for name in _RETRIES if name.lower() not in given}
        if "maxpoolsize" not in given:
            self._options["maxPoolSize"] = pool_size
        self._relaxed = not {*_CONCERNS} & {*given}
        self._handle: Handle | None = None
        self._inherited: list[Handle] = []
        self._lock = threading.RLock()  # a signal handler may publish
        watch_forks(self, in_child=Clients._leave)

    def __repr__(self) -> str:
        return without_password(self.url)

    def handle(self) -> Handle:
        """Raises PyMongo's errors, and `StorageError` for a server that is too old."""
        notice_fork()
        if self._handle is None:
            with self._lock:
                if self._handle is None:
                    self._handle = self._connect()
        return self._handle

    def is_closed(self, handle: Handle) -> bool:
        return self._handle is not handle

    def close(self) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.lines.close()
            with pymongo.timeout(_GOODBYE):
                handle.client.close()

    def _leave(self) -> None:
        self._lock = threading.RLock()  # a signal handler may publish
        if self._handle is not None:
            self._inherited.append(self._handle)
            self._handle = None

    def limit(self) -> AbstractContextManager[Any]:
        """A context in which PyMongo's calls together take no longer than the timeout."""
        return nullcontext() if self.timeout is None else pymongo.timeout(self.timeout)

    def _connect(self) -> Handle:
        client = Client(self.url, tz_aware=True, tzinfo=timezone.utc, **self._options)
        try:
            with self.limit():
                reach(client)
                hello = client.admin.command("hello")
            if hello.get("maxWireVersion", 0) < _OLDEST_WIRE:
                raise StorageError(f"{self!r}: fullresult needs MongoDB {_OLDEST} or newer")
        except BaseException:
            client.close()
            raise
        return self._handle_of(client, sharded=hello.get("msg") == "isdbgrid")

    def _handle_of(self, client: Client, *, sharded: bool) -> Handle:
        database = client[self.database]
        tasks = database[f"{self.prefix}task"]
        primary: dict[str, Any] = {
            "read_preference": ReadPreference.PRIMARY,
            "read_concern": ReadConcern("local"),
            "write_concern": DURABLE,
        }
        relaxed = {**primary, "write_concern": RELAXED}
        return Handle(
            client,
            tasks.with_options(write_concern=DURABLE),
            tasks.with_options(write_concern=RELAXED) if self._relaxed else tasks,
            tasks.with_options(**primary),
            database[f"{self.prefix}schedule"].with_options(**primary),
            database[f"{self.prefix}sweep"].with_options(**relaxed),
            database[f"{self.prefix}group"].with_options(**primary),
            database[f"{self.prefix}chord"].with_options(**primary),
            database[f"{self.prefix}chord_member"].with_options(**primary),
            database[f"{self.prefix}worker"].with_options(**relaxed),
            database[f"{self.prefix}worker_card"].with_options(**relaxed),
            database[f"{self.prefix}worker_names"].with_options(**relaxed),
            database[f"{self.prefix}failure"].with_options(**primary),
            database[f"{self.prefix}audit"].with_options(**primary),
            database[f"{self.prefix}replay"].with_options(**primary),
            database[f"{self.prefix}replayed"].with_options(**primary),
            database[f"{self.prefix}pause"].with_options(**primary),
            database[f"{self.prefix}schema"].with_options(**primary),
            Moves(),
            Lines(client, database),
            DURABLE.document,
            RELAXED.document if self._relaxed else tasks.write_concern.document,
            # Two writes may go to two shards, and the second says nothing about the first.
            DURABLE.document if sharded else RELAXED.document,
        )
