"""Hears of commits into the outbox by a change stream, which replica sets and clusters have."""

from __future__ import annotations

from pymongo.change_stream import CollectionChangeStream
from pymongo.read_concern import ReadConcern

from fullresult.storage import StorageError
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database
from fullresult_storage_mongo.records import WAITING


class MongoListener:
    """`fullresult.storage.CommitListener`, on one connection of the storage's own."""

    def __init__(self, database: Database, namespace: str) -> None:
        self._database = database
        # What an outbox inserts waits from the first moment on; a task that is diverted does not.
        self._asked: list[Document] = [
            {
                "$match": {
                    "operationType": "insert",
                    "fullDocument.namespace": namespace,
                    "fullDocument.status": WAITING,
                }
            },
            {"$project": {"_id": 1}},
        ]
        self._stream: CollectionChangeStream[Document] | None = None

    def wait(self, seconds: float) -> bool:
        if self._stream is None:
            self._stream = self._database.run_once(lambda handle: self._open(handle, seconds))
            return True  # whatever was committed before
        try:
            return self._database.translated(self._hear)
        except BaseException:
            self.close()
            raise

    def _open(self, handle: Handle, seconds: float) -> CollectionChangeStream[Document]:
        schedules = handle.schedules.with_options(read_concern=ReadConcern("majority"))
        # The server is to answer before the client has given it up.
        given_up_after = _timeout_of(handle)
        seconds = seconds if given_up_after is None else min(seconds, given_up_after / 2)
        return schedules.watch(self._asked, max_await_time_ms=max(int(seconds * 1000), 1))

    def _hear(self) -> bool:
        """The server answers after the time that was said when it was asked first."""
        stream = self._stream
        assert stream is not None
        if not stream.alive:  # somebody dropped the collection
            raise StorageError("the change stream has ended")
        return stream.try_next() is not None

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._database.translated(stream.close)


def _timeout_of(handle: Handle) -> float | None:
    """Seconds after which the client gives up an answer, by our settings or by the URL."""
    options = handle.client.options
    known = (options.timeout, options.pool_options.socket_timeout)
    return min((each for each in known if each), default=None)


def has_streams(handle: Handle) -> bool:
    """True on a replica set or a cluster; a single server has neither streams nor transactions."""
    hello = handle.client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"
