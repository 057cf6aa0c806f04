"""The contract of a storage that tasks enter by a connection of the caller's, in its transaction.

Such a task commits with the caller's data, or never was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol, runtime_checkable

from fullresult.record import Schedule, TaskRecord

Identity = tuple[str, ...]
"""Tells a database from every other: texts, each "" where this role may not read it."""


class OutboxRow(NamedTuple):
    """A task that waits in an outbox."""

    schedule: Schedule
    event: TaskRecord | None
    """The first event of its record; None for a task that is not recorded."""
    delay: timedelta | None = None
    """How long after the server's now it is due; None: at the due time of its schedule."""


class Addressed(Protocol):
    """What is known of a connection without a question to its server."""

    @property
    def address(self) -> str:
        """The database that it leads to, without a password: the same text for the same one."""
        ...

    def in_transaction(self) -> bool:
        """True if a statement now belongs to a transaction that the caller ends."""
        ...

    def nesting(self) -> int:
        """The number of savepoints that are open; 0 where the driver does not tell."""
        ...


class OutboxWriter(Addressed, Protocol):
    """Writes by a connection of the caller's. Its methods raise the driver's own errors."""

    def identity(self) -> Identity:
        """The identity of the database that the connection leads to; () without our tables."""
        ...

    def write(self, rows: Sequence[OutboxRow], wake: str | None) -> None:
        """Insert *rows* in their order; those that are there already stay as they are.

        Waits for no other transaction. With *wake*, a namespace, its sweepers are told at the
        commit, if the storage can tell and they do not look by themselves.
        """
        ...


class AsyncOutboxWriter(Addressed, Protocol):
    """The same by an asynchronous connection."""

    def transaction(self) -> object | None:
        """What tells the transaction that is open from every other.

        None before it begins, and where the driver does not tell.
        """
        ...

    def identity_later(self) -> Awaitable[Identity]:
        """`OutboxWriter.identity`."""
        ...

    def write_later(self, rows: Sequence[OutboxRow], wake: str | None) -> Awaitable[None]:
        """`OutboxWriter.write`."""
        ...


class CommitListener(Protocol):
    """Hears of commits into the outbox. Used by one thread; it connects when it first waits."""

    def wait(self, seconds: float) -> bool:
        """Wait for a commit, at most *seconds*. True if there may have been one.

        Raises `StorageError`, and connects anew when it is called again.
        """
        ...

    def close(self) -> None:
        """Close its connection."""
        ...


@runtime_checkable
class RestingListener(CommitListener, Protocol):
    """Optional: one that is told of commits only while it rests, for to be told costs writers."""

    def rest(self) -> bool:
        """Rest, until `wait` hears of a commit. False if it cannot.

        True: all that is committed from now on will be heard of, and what was before can be found.
        False: a transaction is open whose commit will not be heard of. Raises `StorageError`.
        """
        ...


@runtime_checkable
class OutboxStorage(Protocol):
    """Optional: tasks may enter it by a connection of the caller's."""

    def identity(self) -> Identity:
        """The identity of its database. Raises `StorageError`."""
        ...

    def writer(self, connection: object) -> OutboxWriter | AsyncOutboxWriter | None:
        """A writer by *connection*; None for a connection that cannot lead to this storage.

        Writes nothing.
        """
        ...

    def listener(self, namespace: str) -> CommitListener | None:
        """A listener for the schedules of *namespace*; None if they have to be polled for."""
        ...


def is_same(one: Identity, other: Identity) -> bool:
    """True if both are of one database. What one side could not read is not compared."""
    return bool(one and other) and all(
        left == right for left, right in zip(one, other, strict=True) if left and right
    )
