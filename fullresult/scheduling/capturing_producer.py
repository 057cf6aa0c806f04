"""A producer that hands a message over to be stored instead of publishing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from fullresult.recording import message
from fullresult.recording.message import Call

if TYPE_CHECKING:
    from typing_extensions import Self


capturing: ContextVar[CapturingProducer | None] = ContextVar("fullresult_capture", default=None)


def current_capture() -> CapturingProducer | None:
    """The producer that captures the message of the task that this thread is storing, if any."""
    return capturing.get()


class CapturingProducer:
    """Stands in for kombu's producer in one call of `send_task`."""

    serializer: str | None = None
    compression: str | None = None

    def __init__(
        self,
        hidden: frozenset[str],
        store: Callable[[Call], None],
        refuse: Callable[[Call, Exception], None],
    ) -> None:
        self._hidden = hidden
        self._store = store
        self._refuse = refuse
        self.announced = self.captured = False
        self.connection = _NoConnection()

    def publish(self, body: Any, **how: Any) -> None:
        headers = how.get("headers") or {}
        if self.captured or "task" not in headers:
            return  # Celery's event that a task was sent, which is not true
        try:
            payload = message.serialise(body, how.get("serializer"))
        except Exception as error:
            self._refuse(Call(body, None, how, self._hidden), error)
            raise
        self._store(Call(body, payload, how, self._hidden))
        self.captured = True

    def revive(self, connection: Any) -> None:
        pass

    def release(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _NoConnection:
    """The attributes of a connection that Celery uses on the way to `publish`."""

    recoverable_connection_errors: tuple[type[BaseException], ...] = ()
    recoverable_channel_errors: tuple[type[BaseException], ...] = ()

    @contextmanager
    def _reraise_as_library_errors(self, *_: Any, **__: Any) -> Iterator[None]:
        yield
