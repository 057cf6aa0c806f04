"""Calls to MongoDB: their time limits, their retries, and our errors for PyMongo's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from fullresult.storage import Refused, StorageError
from fullresult_storage_mongo.broken_connections import Breaks
from fullresult_storage_mongo.caller_sessions import Place
from fullresult_storage_mongo.clients import Clients, Document, Handle
from fullresult_storage_mongo.reachability import reach

T = TypeVar("T")
U = TypeVar("U")

TOO_LARGE = frozenset({10334, 17280, 17419, 17420})
"""The server's codes for a document that is, or would become, too large."""
_REFUSALS = frozenset({2, 14, 15, 52, 54, 55, 57, 121}) | TOO_LARGE
_TRIES = 20
_A_DAY = 86_400.0


class Database:
    """One database of one server or cluster. Its methods raise `StorageError`, nothing else."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._breaks = Breaks()

    def __repr__(self) -> str:
        return repr(self._clients)

    @property
    def timeout(self) -> float | None:
        """Seconds for one call; None where the URL says how long to wait."""
        return self._clients.timeout

    @property
    def place(self) -> Place:
        """Its collections, wherever a client leads."""
        return Place(self._clients.database, self._clients.prefix)

    def close(self) -> None:
        self._clients.close()

    def at_once(self, do: Callable[[Handle, U], T | None], given: U) -> T | None:
        """`do(handle, given)`: one command on a kept connection. None if the connection broke.

        Raises instead of None from the fifth break within ten seconds on: each time PyMongo looks
        for the server anew, and all threads wait for that.
        """
        return self.translated(lambda: self._at_once(do, given))

    def run(self, do: Callable[[Handle], T]) -> T:
        """`do(handle)` within the timeout; once more if a connection broke."""
        return self.run_once(lambda handle: twice(handle, lambda: do(handle)))

    def run_once(self, do: Callable[[Handle], T]) -> T:
        """`do(handle)` within the timeout, only once."""
        return self.translated(lambda: self._use(do))

    def read(self, do: Callable[[Handle], T]) -> T:
        """As `run`, for an answer of any length: the timeout is for each part of it."""
        again = lambda handle: twice(handle, lambda: do(handle))  # noqa: E731
        return self.translated(lambda: self._use(again, nullcontext()))

    def run_patiently(self, do: Callable[[Handle], T]) -> T:
        """`do(handle)` without a timeout, but for a day."""
        return self.translated(lambda: self._use(do, pymongo.timeout(_A_DAY)))

    def _at_once(self, do: Callable[[Handle, U], T | None], given: U) -> T | None:
        handle = self._clients.handle()
        try:
            if handle.lines.idle:
                # Lines have their own timeout; PyMongo's costs half a command.
                return do(handle, given)
            return self._use(lambda handle: do(handle, given))
        except AutoReconnect as error:
            if error.timeout or self._breaks.note():
                raise
        except InvalidOperation:
            if not self._clients.is_closed(handle):
                raise
        return None

    def _use(
        self, do: Callable[[Handle], T], limit: AbstractContextManager[Any] | None = None
    ) -> T:
        with self._clients.limit():
            handle = self._clients.handle()
            reach(handle.client)
            if limit is None:
                return self._with(handle, do)
        with limit:
            return self._with(handle, do)

    def _with(self, handle: Handle, do: Callable[[Handle], T]) -> T:
        try:
            return do(handle)
        except InvalidOperation:
            if not self._clients.is_closed(handle):
                raise
        # Another thread closed the storage, which may be used again.
        return do(self._clients.handle())

    def translated(self, do: Callable[[], T]) -> T:
        """`do()`, without a timeout of ours."""
        try:
            return do()
        except PyMongoError as error:
            raise self._error(error) from error
        except (BSONError, OverflowError, UnicodeError) as error:
            raise Refused(f"{self!r}: {error}") from error

    def _error(self, error: PyMongoError) -> StorageError:
        said = f"{self!r}: {error}"
        if is_refusal(error):
            return Refused(said)
        if isinstance(error, ConfigurationError):
            return StorageError(f"{said}; check fullresult_storage")
        return StorageError(said)


def again(do: Callable[[], T]) -> T:
    """`do()`, up to 20 times while another process inserts the same document at the same moment."""
    for _ in range(_TRIES):
        try:
            return do()
        except DuplicateKeyError:
            continue
        except BulkWriteError as error:
            if codes_of(error) != {11000}:
                raise
    return do()


def twice(handle: Handle, do: Callable[[], T]) -> T:
    """`do()`, once more if a connection broke. *do* must be idempotent."""
    try:
        return do()
    except AutoReconnect as error:
        if error.timeout:
            raise
        first = error
    try:
        reach(handle.client)
        return do()
    except ServerSelectionTimeoutError as error:
        # The first error says that the write may have been done; the second does not.
        raise first from error


def schedules(
    handle: Handle, asked: Document, fields: Sequence[str] | None = None, **how: Any
) -> list[Document]:
    """Those that are *asked* for, in the middle of something else."""
    return twice(handle, lambda: [*handle.schedules.find(asked, fields, **how)])


def is_lost(error: BaseException) -> bool:
    """True if the answer did not come, so that the command may have been done."""
    if isinstance(error, ServerSelectionTimeoutError):
        return False
    return isinstance(error, AutoReconnect) or (isinstance(error, PyMongoError) and error.timeout)


def is_too_large(error: BaseException) -> bool:
    return isinstance(error, DocumentTooLarge) or bool(codes_of(error) & TOO_LARGE)


def is_refusal(error: PyMongoError) -> bool:
    codes = codes_of(error)
    return bool(codes) and codes <= _REFUSALS


def codes_of(error: BaseException) -> set[int | None]:
    """The server's codes for what it did not do."""
    if isinstance(error, BulkWriteError):
        return {each.get("code") for each in error.details.get("writeErrors", ())}
    return {error.code} if isinstance(error, OperationFailure) else set()
