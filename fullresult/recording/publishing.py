"""Watching what an app publishes: its `send_task`, and the producer under it."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

from celery import Celery

from fullresult.record.interruptions import spare
from fullresult.recording.message import Call, as_published, hidden_by, identity, serialise

if TYPE_CHECKING:
    from typing_extensions import Self

    from fullresult.recording.recorder import Recorder

logger = logging.getLogger(__name__)

publishing: ContextVar[Publish | None] = ContextVar("fullresult_publish", default=None)


_after: ContextVar[list[str] | None] = ContextVar("fullresult_after", default=None)


@contextmanager
def recorded_after(taken: list[str]) -> Iterator[None]:
    """Messages are recorded when the broker has them, not before: a record says that it was sent.

    The ids of their tasks are added to *taken* then. If the process is killed in between, the
    message has no record until a worker begins the task.
    """
    token = _after.set(taken)
    try:
        yield
    finally:
        _after.reset(token)


def current_publish() -> Publish | None:
    """The recorded publish that this thread is making; None if it makes none."""
    return publishing.get()


class Publish:
    """One call of `send_task`, from the call to the moment its message is handed over."""

    def __init__(self, recorder: Recorder, task_id: str, options: Mapping[str, Any]) -> None:
        self.task_id = task_id
        self._recorder = recorder
        self._hidden = hidden_by(options)
        self._elsewhere = options.get("connection") is not None
        self._announced = self._taken = False
        self._headers: Mapping[str, Any] | None = None
        self._finish: Callable[[], None] | None = None

    def announce(self, headers: Mapping[str, Any], body: Any) -> bool:
        """Celery is about to publish a message. It is recorded if it has this publish's id."""
        is_its = identity(headers, body) == self.task_id
        self._announced = self._announced or is_its
        return is_its

    def let_go(self) -> None:
        """The call is over, without a message: whatever is published later has this id or not."""
        self._announced = True

    def record(self, body: Any, how: dict[str, Any], producer: Any) -> Any:
        """Record the message that `publish(body, **how)` is about to send.

        Returns the body to hand over, serialised, and says so in *how*: the bytes that are
        recorded are the bytes that are sent.
        """
        headers = how.get("headers") or {}
        if not self._announced or self._headers or identity(headers, body) != self.task_id:
            return body
        self._headers = headers or body
        try:
            payload = serialise(body, how.get("serializer") or producer.serializer)
        except Exception:
            self._publishing(Call(body, None, how, self._hidden, elsewhere=self._elsewhere))
            self.handed_over()
            raise
        self._publishing(Call(body, payload, how, self._hidden, elsewhere=self._elsewhere))
        how["content_type"], how["content_encoding"] = (
            payload.content_type,
            payload.content_encoding,
        )
        return as_published(payload, how.get("compression"), producer)

    def _publishing(self, call: Call) -> None:
        try:
            self._finish = self._recorder.publishing(call, after=_after.get() is not None)
        except Exception as failure:
            spare(failure)
            logger.exception("fullresult: task %s goes out unrecorded", self.task_id)

    def taken(self) -> None:
        """The broker has the message: an error that comes later does not make it unsent."""
        self._taken = True
        if (taken := _after.get()) is not None:
            taken.append(self.task_id)

    def handed_over(self) -> None:
        """The broker has the message, or did not take it: finish what `record` began to write."""
        finish, self._finish = self._finish, None
        if finish is None:
            return
        try:
            finish()
        except Exception as failure:
            spare(failure)
            logger.exception("fullresult: task %s is not recorded", self.task_id)

    def failed(self, error: BaseException) -> None:
        """The publish raised *error*."""
        if self._headers is None or self._taken:
            return
        try:
            self._recorder.unsent(self._headers, error)
        except Exception as failure:
            spare(failure)
            logger.exception("fullresult: the failed publish of %s is not recorded", self.task_id)


class RecordingProducer:
    """A producer that records the message of one publish; everything else is the real one's.

    The real producer is taken from the app's pool when it is first needed, as Celery does. An app
    may keep this one and publish when the call is over: then the pool has its own back each time.
    """

    def __init__(self, app: Celery, given: Any, publish: Publish) -> None:
        self._app = app
        self._real = self._given = given
        self._publish = publish
        self._stack = ExitStack()
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.let_go()

    def let_go(self) -> None:
        """The call is over. What is published later is recorded nevertheless."""
        try:
            self._is_over = True
            self._publish.let_go()
        finally:
            self._give_back()

    def _give_back(self) -> None:
        try:
            self._real = self._given
        finally:
            self._stack.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer(), name)

    def _producer(self) -> Any:
        if self._real is None:
            self._real = self._stack.enter_context(self._app.producer_pool.acquire(block=True))
            if self._is_over:
                # Not by `__del__`, which every publish would pass: what interrupts it is lost.
                weakref.finalize(self, self._stack.close).atexit = False
        return self._real

    def publish(self, body: Any, **how: Any) -> Any:
        if not self._is_over:
            return self._publish_now(body, how)
        try:
            return self._publish_now(body, how)
        except BaseException as error:
            self._publish.failed(error)
            raise
        finally:
            self._give_back()

    def _publish_now(self, body: Any, how: dict[str, Any]) -> Any:
        real = self._producer()
        try:
            body = self._publish.record(body, how, real)
            answer = real.publish(body, **how)
            self._publish.taken()
        finally:
            self._publish.handed_over()
        return answer
