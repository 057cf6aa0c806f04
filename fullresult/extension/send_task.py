"""The app's `send_task`, wrapped: each publish is recorded, or diverted into the storage."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.utils import uuid

from fullresult.recording import beat_entries, retries
from fullresult.recording.publishing import Publish, RecordingProducer, publishing
from fullresult.scheduling.schedule_maker import NotDivertible

if TYPE_CHECKING:
    from fullresult.extension.parts import Parts
    from fullresult.recording.recorder import Recorder

_BY_POSITION = 3
"""`send_task(name, args, kwargs, **options)`."""
_BY_NAME = tuple(inspect.signature(Celery.send_task).parameters)[1 + _BY_POSITION :]


def watch(parts: Parts, send_task: Callable[..., Any]) -> Callable[..., Any]:
    """*send_task*, which records what it publishes and diverts what is to run later."""

    def watched_send_task(*given: Any, **options: Any) -> Any:
        if (rehearsal := parts.rehearsals.here()) is not None:
            return rehearsal.keep_back(parts.app, given, options)
        name = str(given[0] if given else options.get("name"))
        settings, recorder = parts.settings, parts.recorder
        recorded = settings.track_publish and recorder.records(name)
        box = parts.outboxes.box() if settings.sweeps else None
        if not (recorded or settings.schedule_eta or box):
            return send_task(*given, **options)
        # As Celery calls it: an app's own send_task may take no more than these by position.
        options = {**dict(zip(_BY_NAME, given[_BY_POSITION:], strict=False)), **options}
        given = given[:_BY_POSITION]
        options = beat_entries.named(name, options)
        options["task_id"] = options.get("task_id") or uuid()
        options.update(retries.hidden_before(name, options))
        if box is not None and parts.outboxes.takes(given, options):
            return parts.outboxes.send_task(send_task, given, options, box)
        diverter = parts.diverter if settings.schedule_eta else None
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
        # Set within, so that no exception that comes from outside leaves it so.
        around = publishing.get()
        try:
            publishing.set(publish)
            with RecordingProducer(parts.app, _producer_in(parts.app, options), publish) as watched:
                return send_task(*given, **options, producer=watched)
        except BaseException as error:
            publish.failed(error)
            raise
        finally:
            publishing.set(around)

    return watched_send_task


def _producer_in(app: Celery, options: dict[str, Any]) -> Any:
    """The producer that the caller asks for, taken out of *options*; None for one of the pool."""
    producer, publisher = options.pop("producer", None), options.pop("publisher", None)
    if connection := options.pop("connection", None):
        return app.amqp.Producer(connection, auto_declare=False)
    return producer or publisher
