"""Calls to MongoDB: how long they may take, what is done again, and what their errors mean."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import ReadPreference
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
from pymongo.read_concern import ReadConcern

from fullresult.storage import Refused, StorageError, Uncertain
from fullresult_storage_mongo.clients import DURABLE, Clients, Handle

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession

T = TypeVar("T")

TOO_LARGE = frozenset({10334, 17280, 17419, 17420})
"""Codes of the server's for a document, or what would become one, beyond its limit."""
_REFUSALS = frozenset({2, 14, 15, 52, 54, 55, 57, 121}) | TOO_LARGE
_TRANSIENT, _UNKNOWN = "TransientTransactionError", "UnknownTransactionCommitResult"
_LONGEST = 30.0
"""Seconds for a transaction that is tried again, where the URL says how long to wait."""
_PAUSE = 0.01
_TRIES = 20
_A_DAY = 86_400.0


class Database:
    """One database of one server or cluster. Its methods raise `StorageError`, nothing else."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def __repr__(self) -> str:
        return repr(self._clients)

    @property
    def timeout(self) -> float | None:
        """Seconds for one call; None where the URL says how long to wait."""
        return self._clients.timeout

    def close(self) -> None:
        self._clients.close()

    def run(self, do: Callable[[Handle], T], *, patient: bool = False) -> T:
        """`do(handle)`, in no more time than a call may take, or than it needs if *patient*."""
        return self._translated(lambda: self._use(do, self._limit(patient=patient)))

    def read(self, do: Callable[[Handle], T]) -> T:
        """The same for an answer of any length: only each part of it must come in time."""
        return self._translated(lambda: self._use(do, nullcontext()))

    def transaction(self, do: Callable[[Handle, ClientSession], T]) -> T:
        """All that *do* changes, or nothing; it may be called several times."""
        deadline = time.monotonic() + (self.timeout or _LONGEST)

        def whole(handle: Handle) -> T:
            with handle.client.start_session(causal_consistency=False) as session:
                return _whole(session, lambda: do(handle, session), deadline)

        return self.run(lambda handle: again(lambda: whole(handle)))

    def has_transactions(self) -> bool:
        return self.run(lambda handle: handle.transactions)

    def _limit(self, *, patient: bool) -> AbstractContextManager[Any]:
        if patient:
            return pymongo.timeout(_A_DAY)
        return nullcontext() if self.timeout is None else pymongo.timeout(self.timeout)

    def _use(self, do: Callable[[Handle], T], limit: AbstractContextManager[Any]) -> T:
        handle = self._clients.handle()  # which takes no longer than it may, however patient
        with limit:
            try:
                return do(handle)
            except InvalidOperation:
                if not self._clients.is_closed(handle):
                    raise
            # Another thread closed the storage, which may be used again.
            return do(self._clients.handle())

    def _translated(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except PyMongoError as error:
            raise self._error(error) from error
        except (BSONError, OverflowError, UnicodeError) as error:
            raise Refused(f"{self!r}: {error}") from error

    def _error(self, error: PyMongoError) -> StorageError:
        said = f"{self!r}: {error}"
        if error.has_error_label(_UNKNOWN):
            return Uncertain(f"{said}; whether it was written is not known")
        if is_refusal(error):
            return Refused(said)
        if isinstance(error, ConfigurationError):
            return StorageError(f"{said}; check fullresult_storage")
        return StorageError(said)


def _whole(session: ClientSession, do: Callable[[], T], deadline: float) -> T:
    """What PyMongo's `with_transaction` does, which in some versions does so for two minutes."""
    while True:
        session.start_transaction(ReadConcern("snapshot"), DURABLE, ReadPreference.PRIMARY)
        try:
            answer = do()
        except BaseException as error:
            session.abort_transaction()
            if not _has_label(error, _TRANSIENT, deadline):
                raise
        else:
            try:
                _commit(session, deadline)
            except PyMongoError as error:
                if not _has_label(error, _TRANSIENT, deadline):
                    raise
            else:
                return answer
        time.sleep(random.uniform(0, _PAUSE))  # noqa: S311  (no secret: others are at it, too)


def _commit(session: ClientSession, deadline: float) -> None:
    while True:
        try:
            session.commit_transaction()
        except PyMongoError as error:
            if error.timeout or not _has_label(error, _UNKNOWN, deadline):
                raise
        else:
            return


def _has_label(error: BaseException, label: str, deadline: float) -> bool:
    """Whether it may be tried again, and there is time."""
    if time.monotonic() > deadline:
        return False
    return isinstance(error, PyMongoError) and error.has_error_label(label)


def again(do: Callable[[], T]) -> T:
    """`do()`, again while somebody else inserts the same at the same moment."""
    for _ in range(_TRIES):
        try:
            return do()
        except DuplicateKeyError:
            continue
        except BulkWriteError as error:
            if codes_of(error) != {11000}:
                raise
    return do()


def is_lost(error: BaseException) -> bool:
    """Whether what was sent may have been done: the answer did not come."""
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
