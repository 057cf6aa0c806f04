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

    from fullresult.recording.publishing import RecordingProducer


capturing: ContextVar[CapturingProducer | None] = ContextVar("fullresult_capture", default=None)


def current_capture() -> CapturingProducer | None:
    """The producer that captures the message of the task that this thread is storing, if any."""
    return capturing.get()


class CapturingProducer:
    """Stands in for kombu's producer in one call of `send_task`.

    An app may keep it and publish when that call is over: then it is the producer *later*.
    """

    def __init__(
        self,
        hidden: frozenset[str],
        store: Callable[[Call], None],
        refuse: Callable[[Call, Exception], None],
        later: RecordingProducer,
    ) -> None:
        self._hidden = hidden
        self._store = store
        self._refuse = refuse
        self.announced = self.captured = False
        self._later = later
        self._is_over = False

    def let_go(self) -> None:
        """The call is over."""
        self._later.let_go()
        self._is_over = not self.captured

    @property
    def serializer(self) -> str | None:
        return self._later.serializer if self._is_over else None

    @property
    def compression(self) -> str | None:
        return self._later.compression if self._is_over else None

    @property
    def connection(self) -> Any:
        return self._later.connection if self._is_over else _NoConnection()

    def __getattr__(self, name: str) -> Any:
        if not self._is_over:
            raise AttributeError(name)
        return getattr(self._later, name)

    def publish(self, body: Any, **how: Any) -> Any:
        if self._is_over:
            return self._later.publish(body, **how)
        headers = how.get("headers") or {}
        if self.captured or "task" not in headers:
            return None  # Celery's event that a task was sent, which is not true
        how["headers"] = {**headers, "eta": None}  # the schedule has it
        try:
            payload = message.serialise(body, how.get("serializer"))
        except Exception as error:
            self._refuse(Call(body, None, how, self._hidden), error)
            raise
        self._store(Call(body, payload, how, self._hidden))
        self.captured = True
        return None

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
