"""The outbox of a SQL database: tasks that enter it by a connection of the caller's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fullresult.storage import AsyncOutboxWriter, CommitListener, Identity, OutboxRow, OutboxWriter
from fullresult_storage_sql.outbox_channels import (
    AsyncChannel,
    Channel,
    Described,
    Rows,
    channel_of,
    spelt,
)
from fullresult_storage_sql.outbox_statements import Outlet, Steps, answered
from fullresult_storage_sql.prepared import Prepared

if TYPE_CHECKING:
    from typing_extensions import TypeIs

T = TypeVar("T")


class SqlOutbox(Prepared):
    """`fullresult.storage.OutboxStorage`."""

    def identity(self) -> Identity:
        return self._prepared().identity()

    def listener(self, namespace: str) -> CommitListener | None:
        return self._prepared().listener(namespace)

    def writer(self, connection: object) -> OutboxWriter | AsyncOutboxWriter | None:
        channel = channel_of(connection)
        if channel is None or channel.dialect != self._database.dialect:
            return None
        return writer_by(channel, self._prepared().outlet())


class _Addressed:
    def __init__(self, channel: Described) -> None:
        self._described = channel

    @property
    def address(self) -> str:
        return self._described.address

    def in_transaction(self) -> bool:
        return self._described.in_transaction()

    def nesting(self) -> int:
        return self._described.nesting()


class SqlWriter(_Addressed):
    """`fullresult.storage.OutboxWriter`."""

    def __init__(self, channel: Channel, outlet: Outlet) -> None:
        super().__init__(channel)
        self._channel = channel
        self._outlet = outlet

    def identity(self) -> Identity:
        return self._run(self._outlet.identity())

    def write(self, rows: Sequence[OutboxRow], wake: str | None) -> None:
        self._run(self._outlet.write(rows, wake))

    def _run(self, steps: Steps[T]) -> T:
        return answered(steps, self._ask)

    def _ask(self, sql: str, values: Sequence[Any]) -> Rows:
        channel = self._channel
        return channel.run(spelt(sql, self._outlet.sign, channel.placeholder), values)


class AsyncSqlWriter(_Addressed):
    """`fullresult.storage.AsyncOutboxWriter`."""

    def __init__(self, channel: AsyncChannel, outlet: Outlet) -> None:
        super().__init__(channel)
        self._channel = channel
        self._outlet = outlet

    def transaction(self) -> object | None:
        return self._channel.transaction()

    async def identity_later(self) -> Identity:
        return await self._run(self._outlet.identity())

    async def write_later(self, rows: Sequence[OutboxRow], wake: str | None) -> None:
        await self._run(self._outlet.write(rows, wake))

    async def _run(self, steps: Steps[T]) -> T:
        try:
            found = await self._ask(*next(steps))
            while True:
                found = await self._ask(*steps.send(found))
        except StopIteration as stop:
            answer: T = stop.value
            return answer

    async def _ask(self, sql: str, values: Sequence[Any]) -> Rows:
        channel = self._channel
        return await channel.run_later(spelt(sql, self._outlet.sign, channel.placeholder), values)


def writer_by(channel: Channel | AsyncChannel, outlet: Outlet) -> SqlWriter | AsyncSqlWriter:
    if is_async(channel):
        return AsyncSqlWriter(channel, outlet)
    return SqlWriter(channel, outlet)


def is_async(channel: Channel | AsyncChannel) -> TypeIs[AsyncChannel]:
    return hasattr(channel, "run_later")
