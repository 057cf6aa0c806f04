"""Watching what an app publishes: its `send_task`, and the producer under it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils import uuid

from fullresult.recording import beat_entries
from fullresult.recording.message import Call, as_published, hidden_by, identity, serialise
from fullresult.scheduling.diverter import NotDivertible

if TYPE_CHECKING:
    from typing_extensions import Self

    from fullresult.extension import FullResult
    from fullresult.recording.recorder import Recorder

logger = logging.getLogger(__name__)

_BY_POSITION = 3
"""`send_task(name, args, kwargs, **options)`."""
_BY_NAME = tuple(inspect.signature(Celery.send_task).parameters)[1 + _BY_POSITION :]
_publishing: ContextVar[Publish | None] = ContextVar("fullresult_publish", default=None)


def current_publish() -> Publish | None:
    """The recorded publish that this thread is in the middle of."""
    return _publishing.get()


class Publish:
    """One call of `send_task`, from the call to the moment its message is handed over."""

    def __init__(self, recorder: Recorder, task_id: str, options: Mapping[str, Any]) -> None:
        self.task_id = task_id
        self._recorder = recorder
        self._hidden = hidden_by(options)
        self._announced = self._taken = False
        self._headers: Mapping[str, Any] | None = None
        self._finish: Callable[[], None] | None = None

    def announce(self, headers: Mapping[str, Any], body: Any) -> None:
        """Celery is about to publish a message: ours to record, if it has our id."""
        if identity(headers, body) == self.task_id:
            self._announced = True

    def record(self, body: Any, how: dict[str, Any], producer: Any) -> Any:
        """Record the message that `publish(body, **how)` is about to send.

        Returns the body to hand over: serialised, with *how* saying so, so that what is recorded
        and what is sent are the same bytes.
        """
        headers = how.get("headers") or {}
        if not self._announced or self._headers or identity(headers, body) != self.task_id:
            return body
        self._headers = headers or body
        try:
            payload = serialise(body, how.get("serializer") or producer.serializer)
        except Exception:
            self._publishing(Call(body, None, how, self._hidden))
            self.handed_over()
            raise
        self._publishing(Call(body, payload, how, self._hidden))
        how["content_type"], how["content_encoding"] = (
            payload.content_type,
            payload.content_encoding,
        )
        return as_published(payload, how.get("compression"), producer)

    def _publishing(self, call: Call) -> None:
        try:
            self._finish = self._recorder.publishing(call)
        except SoftTimeLimitExceeded:
            raise  # it is meant for the task that publishes
        except Exception:
            logger.exception("fullresult: task %s goes out unrecorded", self.task_id)

    def taken(self) -> None:
        """The broker has the message: whatever is raised from now on, it was sent."""
        self._taken = True

    def handed_over(self) -> None:
        """The broker has the message, or did not take it: what was begun is to be finished."""
        finish, self._finish = self._finish, None
        if finish is None:
            return
        try:
            finish()
        except SoftTimeLimitExceeded:
            raise
        except Exception:
            logger.exception("fullresult: task %s is not recorded", self.task_id)

    def failed(self, error: BaseException) -> None:
        """The publish raised *error*."""
        if self._headers is None or self._taken:
            return
        try:
            self._recorder.unsent(self._headers, error)
        except Exception:
            logger.exception("fullresult: the failed publish of %s is not recorded", self.task_id)


class RecordingProducer:
    """A producer that has each task message recorded on its way; all else is the real one's.

    The real producer is taken from the app's pool when it is first needed, as Celery would.
    """

    def __init__(self, app: Celery, real: Any, publish: Publish) -> None:
        self._app = app
        self._real = real
        self._publish = publish
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer(), name)

    def _producer(self) -> Any:
        if self._real is None:
            self._real = self._stack.enter_context(self._app.producer_pool.acquire(block=True))
        return self._real

    def publish(self, body: Any, **how: Any) -> Any:
        real = self._producer()
        body = self._publish.record(body, how, real)
        try:
            answer = real.publish(body, **how)
            self._publish.taken()
        finally:
            self._publish.handed_over()
        return answer


def watch(full: FullResult, send_task: Callable[..., Any]) -> Callable[..., Any]:
    """*send_task*, recording what it publishes, and diverting what is to run later."""

    def watched_send_task(*given: Any, **options: Any) -> Any:
        name = str(given[0] if given else options.get("name"))
        settings, recorder = full.settings, full.recorder
        recorded = settings.track_publish and recorder.records(name)
        if not (recorded or settings.schedule_eta):
            return send_task(*given, **options)
        # As Celery calls it: an app's own send_task may take no more than these by position.
        options = {**dict(zip(_BY_NAME, given[_BY_POSITION:], strict=False)), **options}
        given = given[:_BY_POSITION]
        options = beat_entries.named(name, options)
        options["task_id"] = options.get("task_id") or uuid()
        diverter = full.diverter if settings.schedule_eta else None
        due = diverter.diverts(name, given, options) if diverter else None
        if diverter and due is not None:
            try:
                return diverter.send_task(send_task, given, options, due)
            except NotDivertible as why:
                diverter.refused(name, why)
        if not recorded:
            return send_task(*given, **options)
        return recorded_send_task(recorder, given, options)

    def recorded_send_task(
        recorder: Recorder, given: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        publish = Publish(recorder, options["task_id"], options)
        token = _publishing.set(publish)
        try:
            with RecordingProducer(full.app, _producer_in(full.app, options), publish) as watched:
                return send_task(*given, **options, producer=watched)
        except BaseException as error:
            publish.failed(error)
            raise
        finally:
            _publishing.reset(token)

    return watched_send_task


def _producer_in(app: Celery, options: dict[str, Any]) -> Any:
    """The producer that the caller wants used, taken out of *options*; None for one of the pool."""
    producer, publisher = options.pop("producer", None), options.pop("publisher", None)
    if connection := options.pop("connection", None):
        return app.amqp.Producer(connection, auto_declare=False)
    return producer or publisher
