"""Asks a broker about queues, as far as it says: Redis and RabbitMQ."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from fullresult.insight.live import QueueNow

_MOST = 20_000
"""Messages that are looked at for a task."""
_PAGE = 1_000
_FIRST_PAGE = 100
_PAGE_BYTES = 1_000_000
"""Of pages that are larger, the next has fewer messages: Redis serves nobody else meanwhile."""
_LONGEST_NAME = 255
"""Bytes of a queue's name in AMQP."""


def ask_queues(
    connection: Any, names: Sequence[str], seek: str | None = None, until: float | None = None
) -> tuple[QueueNow, ...]:
    """What the broker says of the queues *names*, and of the task *seek* in them.

    The search ends at *until*, by `time.monotonic`.
    """
    kind = connection.transport.driver_type
    if kind == "redis":
        redis = _Redis(connection, until)
        return tuple(redis.queue(name, seek) for name in names)
    if kind == "amqp":
        return tuple(_declared(connection, name) for name in names)
    return tuple(QueueNow(name) for name in names)


def _declared(connection: Any, name: str) -> QueueNow:
    """A passive declaration, on a channel of its own: that of a missing queue is closed."""
    if len(name.encode("utf-8", "replace")) > _LONGEST_NAME:
        return QueueNow(name[:_LONGEST_NAME], exists=False)
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue=name, passive=True)
    except connection.channel_errors as error:
        if getattr(error, "reply_code", None) == _NOT_FOUND:
            return QueueNow(name, exists=False)
        return QueueNow(name, problem=str(error))  # exclusive, or not ours to see
    finally:
        with suppress(*connection.channel_errors, *connection.connection_errors):
            channel.close()
    return QueueNow(name, exists=True, ready=found.message_count, consumers=found.consumer_count)


_NOT_FOUND = 404


class _Taken(NamedTuple):
    at: float
    again_at: float


class _Redis:
    """The lists and hashes in which kombu keeps messages."""

    def __init__(self, connection: Any, until: float | None) -> None:
        from redis import Redis  # only where the broker is one

        self._until = float("inf") if until is None else until
        self._channel = connection.default_channel
        # A plain client, for kombu's own puts the prefix before the keys of some commands only.
        self._client: Any = Redis(connection_pool=self._channel.client.connection_pool)
        self._prefix = getattr(self._channel, "global_keyprefix", "") or ""

    def queue(self, name: str, seek: str | None) -> QueueNow:
        keys = [f"{self._prefix}{key}" for key in self._keys(name)]
        sizes = [int(self._run("LLEN", key)) for key in keys]
        oldest = self._oldest(keys, sizes)
        if seek is None:
            return QueueNow(name, ready=sum(sizes), oldest_id=oldest)
        found, ahead, looked = self._seek(keys, sizes, seek)
        taken = None if found else self._taken(seek)
        return QueueNow(
            name,
            ready=sum(sizes),
            oldest_id=oldest,
            found=found,
            ahead=ahead,
            looked=looked,
            taken_at=taken and taken.at,
            again_at=taken and taken.again_at,
        )

    def _keys(self, name: str) -> list[str]:
        """A list for each priority, in the order in which workers take from them."""
        steps = self._channel.priority_steps
        return [self._channel._q_for_pri(name, step) for step in sorted(steps)]  # noqa: SLF001

    def _run(self, *command: Any) -> Any:
        return self._client.execute_command(*command)

    def _oldest(self, keys: Sequence[str], sizes: Sequence[int]) -> str | None:
        for key, size in zip(keys, sizes, strict=True):
            if size:
                return _id_in(self._run("LINDEX", key, -1))
        return None

    def _seek(
        self, keys: Sequence[str], sizes: Sequence[int], task_id: str
    ) -> tuple[bool | None, int | None, int]:
        """(is it in the queue, the number of messages before it, and of those looked at)."""
        ahead = 0
        for key in keys:
            for message in self._messages(key, _MOST - ahead):
                if _is_of(message, task_id):
                    return True, ahead, ahead + 1
                ahead += 1
        return (None if sum(sizes) > _MOST or self._is_over else False), None, ahead

    @property
    def _is_over(self) -> bool:
        return time.monotonic() > self._until

    def _messages(self, key: str, most: int) -> Iterator[bytes]:
        """The messages of a list, the first to be taken first."""
        start, size = 0, _FIRST_PAGE
        while start < most and not self._is_over:
            last = min(start + size, most)
            page = self._run("LRANGE", key, -last, -start - 1)
            yield from reversed(page)
            if len(page) < last - start:
                return
            start = last
            heavy = sum(map(len, page)) > _PAGE_BYTES
            size = max(size // 4, 1) if heavy else min(size * 2, _PAGE)

    def _taken(self, task_id: str) -> _Taken | None:
        """When a worker took it; its message is kept until that worker acknowledges it."""
        hashed = f"{self._prefix}{self._channel.unacked_key}"
        index = f"{self._prefix}{self._channel.unacked_index_key}"
        cursor, seen = 0, 0
        while seen < _MOST and not self._is_over:
            answer = self._run("HSCAN", hashed, cursor, "COUNT", _PAGE)
            cursor, found = int(answer[0]), answer[1]
            for tag, message in found.items():
                if _is_of(message, task_id):
                    at = self._run("ZSCORE", index, tag)
                    return at and _Taken(float(at), float(at) + self._channel.visibility_timeout)
            seen += len(found)
            if not cursor:
                break
        return None


def _is_of(message: Any, task_id: str) -> bool:
    """True if this is the message of the task, and not one that only mentions it."""
    data = message.encode() if isinstance(message, str) else message
    return task_id.encode() in data and _id_in(data) == task_id


def _id_in(message: Any) -> str | None:
    try:
        read = json.loads(message)
    except (ValueError, RecursionError):
        return None
    read = read[0] if isinstance(read, list) and read else read
    headers = read.get("headers") if isinstance(read, dict) else None
    found = headers.get("id") if isinstance(headers, dict) else None
    return found if isinstance(found, str) else None
