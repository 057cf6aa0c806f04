"""The blocks `with full.outbox(connection)` and `with full.direct()`, and which one is around."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from fullresult.storage import Addressed, AsyncOutboxWriter, Identity, OutboxRow, OutboxWriter

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, TypeIs

W = TypeVar("W", bound=Addressed)

_around: ContextVar[Block | None] = ContextVar("fullresult_outbox", default=None)


class Destination(Protocol):
    """What a box needs to know of its app, and of its database."""

    @property
    def app(self) -> object:
        """The app whose tasks go into the box."""
        ...

    def is_checked(self, writer: Addressed) -> bool:
        """True if the database of *writer* is known to be the right one."""
        ...

    def check(self, writer: Addressed, identity: Callable[[], Identity]) -> None:
        """Raise `ValueError` unless the database of *writer* is the right one. Asked once."""
        ...

    def wake(self) -> str | None:
        """The namespace whose sweepers are to be told of a commit; None if they only look."""
        ...


class Block:
    """A block of one app's. It is over for all that inherits its context, too."""

    def __init__(self, app: object) -> None:
        self.app = app
        self.outer: Block | None = None
        self.pid = 0
        """The process that is inside; 0 outside. A child has no use for its parent's connection."""

    def _enter(self) -> None:
        if self.pid:
            raise RuntimeError("this block was entered already: make another one")
        self.outer, self.pid = _open(_around.get()), os.getpid()
        if self.outer is not None:  # one that ended meanwhile is not kept for its sake
            self.outer.outer = _open(self.outer.outer)
        _around.set(self)

    def _leave(self) -> None:
        self.pid = 0
        if _around.get() is self:
            _around.set(self.outer)

    @staticmethod
    def around(app: object) -> Block | None:
        """The innermost block of *app* that this thread, or asyncio's task, is in."""
        block = _open(_around.get())
        while block is not None and block.app is not app:
            block = _open(block.outer)
        return block

    @property
    def is_open(self) -> bool:
        """True inside, in the process that entered."""
        return self.pid == os.getpid()


def _open(block: Block | None) -> Block | None:
    """The innermost of *block* and those around it that has not ended."""
    while block is not None and not block.is_open:
        block = block.outer
    return block


class Direct(Block):
    """Inside, tasks are published as if no outbox were around."""

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()


class Outbox(Block, Generic[W]):
    """Inside, the tasks that are published wait in the storage, by a connection of the caller's."""

    def __init__(
        self, destination: Destination, writer: W, *, at_least_once: bool, autocommit: bool
    ) -> None:
        super().__init__(destination.app)
        self._destination = destination
        self._writer = writer
        self.at_least_once = at_least_once
        self._autocommit = autocommit
        self.given: object = None
        """The connection as the caller named it."""
        self.ids: list[str] = []
        """The ids of the tasks that were published in it, in their order."""

    def __len__(self) -> int:
        return len(self.ids)

    def __bool__(self) -> bool:
        return True

    def add(self, row: OutboxRow) -> None:
        """Take a task in. Raises the driver's errors, and `ValueError`."""
        raise NotImplementedError

    def _check_transaction(self) -> None:
        if not (self._autocommit or self._writer.in_transaction()):
            raise ValueError(
                f"no transaction is open on {self._writer.address}, so the task would not commit "
                "with anything: begin one, or say outbox(…, autocommit=True)"
            )


class SyncOutbox(Outbox[OutboxWriter]):
    """By a connection that answers at once: each task is inserted there and then."""

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def __aenter__(self) -> Any:
        raise TypeError("this connection is not asynchronous: write `with full.outbox(…)`")

    def __aexit__(self, *_: object) -> Any:
        raise NotImplementedError

    def add(self, row: OutboxRow) -> None:
        self._check_transaction()
        self._destination.check(self._writer, self._writer.identity)
        self._writer.write([row], self._destination.wake())
        self.ids.append(row.schedule.task_id)

    def flush(self) -> None:
        """Do nothing: each task is inserted already."""


class AsyncOutbox(Outbox[AsyncOutboxWriter]):
    """By an asynchronous connection: tasks are inserted by `flush`, and as the block ends."""

    def __init__(
        self,
        destination: Destination,
        writer: AsyncOutboxWriter,
        *,
        at_least_once: bool,
        autocommit: bool,
    ) -> None:
        super().__init__(destination, writer, at_least_once=at_least_once, autocommit=autocommit)
        self._rows: list[OutboxRow] = []
        self._nesting = 0
        self._transaction: object | None = None

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        if error is None:
            await self.flush()

    def __enter__(self) -> Any:
        raise TypeError("this connection is asynchronous: write `async with full.outbox(…)`")

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError

    def add(self, row: OutboxRow) -> None:
        if not self.is_open:  # a thread that inherited it was on its way
            raise RuntimeError("the outbox ended before this task was in it: nothing was published")
        self._check_place()
        self._nesting = max(self._nesting, self._writer.nesting())
        self._transaction = self._transaction or self._writer.transaction()
        self._rows.append(row)
        self.ids.append(row.schedule.task_id)

    async def flush(self) -> None:
        """Insert what was published since the last call, in one statement."""
        if not self._rows:
            return
        self._check_place()
        self._check_transaction()
        identity = None
        if not self._destination.is_checked(self._writer):
            identity = await self._writer.identity_later()
        self._destination.check(self._writer, lambda: identity or ())
        rows, self._rows, self._nesting, self._transaction = self._rows, [], 0, None
        await self._writer.write_later(rows, self._destination.wake())

    def _check_place(self) -> None:
        """Raise `RuntimeError` unless what was published is inserted where it was published."""
        if not self._rows:
            return
        if self._transaction and self._writer.transaction() != self._transaction:
            raise RuntimeError(
                "the transaction ended in which tasks were published that are not inserted yet: "
                "put the block inside the transaction, or `await box.flush()` before it ends"
            )
        if self._writer.nesting() < self._nesting:
            raise RuntimeError(
                "a savepoint ended in which tasks were published that are not inserted yet: put "
                "the block inside the savepoint, or `await box.flush()` before it ends"
            )


def is_async(writer: OutboxWriter | AsyncOutboxWriter) -> TypeIs[AsyncOutboxWriter]:
    return hasattr(writer, "write_later")
