"""The diverter: a task with an ETA goes into the storage instead of to the broker."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.exceptions import OperationalError

from fullresult.config import Settings, is_recorded
from fullresult.config.router import Outgoing, Router
from fullresult.record.dates import to_utc
from fullresult.record.schedule import Schedule
from fullresult.recording import message, this_worker
from fullresult.recording.descriptions import Resent
from fullresult.recording.message import Call
from fullresult.recording.publishing import Publish, RecordingProducer
from fullresult.scheduling.capturing_producer import CapturingProducer, capturing
from fullresult.scheduling.options import PRODUCERS, TIMES, due_in, is_stock
from fullresult.scheduling.quiet_backend import quiet_backend
from fullresult.scheduling.schedule_maker import NotDivertible, ScheduleMaker
from fullresult.scheduling.withdrawals import Withdrawals
from fullresult.storage import ScheduleStorage, StorageError, Uncertain
from fullresult.storage.clock import StorageClock

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder

logger = logging.getLogger(__name__)

_NOT_ROUTED = frozenset(inspect.signature(Celery.send_task).parameters)
"""Options of `send_task` that Celery does not pass to its routers."""
_SWEEPERS_ARE_LATE = timedelta(minutes=1)


class _Failed(Exception):
    """The storage did not take the message. It is no error of kombu's, which Celery would retry."""

    def __init__(
        self, text: str, call: Call | None = None, schedule: Schedule | None = None
    ) -> None:
        super().__init__(text)
        self.call = call
        self.schedule = schedule
        """A schedule that may have been stored nevertheless."""


class Diverter:
    """Stores the tasks of one app that are to run later."""

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        storage: ScheduleStorage,
        recorder: Recorder,
        router: Router,
    ) -> None:
        self._app = app
        self._settings = settings
        self._storage = storage
        self._recorder = recorder
        self._router = router
        self._clock = StorageClock(recorder.writer.now)
        self._failures = 0
        self._withdrawals = Withdrawals(storage, recorder.writer.keep)
        self._warned: set[str] = set()
        self._maker = ScheduleMaker(settings, recorder)
        self._looked = 0.0

    def diverts(
        self, name: str, given: tuple[Any, ...], options: Mapping[str, Any]
    ) -> timedelta | datetime | None:
        """The time at which a task that is to wait in the storage is due; None if it is not to.

        A `timedelta` counts from the storage's now.
        """
        due = due_in(options)
        if due is None or self._app.conf.task_protocol != 2:  # noqa: PLR2004
            return None
        if not is_recorded(name, ()):
            return None  # Celery's own tasks that poll, and ours
        delay = due if isinstance(due, timedelta) else due - datetime.now(timezone.utc)
        outgoing = Outgoing(name, delay, lambda: self._queue_of(name, given, options))
        if not self._is_routed_here(outgoing):
            return None
        why = self._unfit(name, options)
        if why is not None:
            self._warn(name, why)
            return None
        return due

    def _is_routed_here(self, outgoing: Outgoing) -> bool:
        try:
            return self._router.diverts(outgoing)
        except Exception:
            if not this_worker.is_worker():
                raise
            # In a worker an error here would make a task fail that succeeded.
            logger.exception("fullresult: task %s goes to the broker", outgoing.name)
            return False

    def _unfit(self, name: str, options: Mapping[str, Any]) -> str | None:
        """The reason, if its call shows any, why a task must not be stored."""
        if self._settings.schedule_redacted:
            return None
        if not is_recorded(name, self._settings.ignore):
            return "fullresult_ignore names it"
        if message.hidden_by(options):
            return "its arguments are hidden by a repr of their own"
        return None

    def send_task(
        self,
        send_task: Callable[..., Any],
        given: tuple[Any, ...],
        options: dict[str, Any],
        due: timedelta | datetime,
    ) -> Any:
        """Store the message that *send_task* would publish. Returns the answer of *send_task*.

        Raises `NotDivertible`, with nothing stored, if the message is to go to the broker after
        all; kombu's `OperationalError` if the storage fails and `fullresult_on_divert_error` is
        "raise".
        """
        # An app's own may publish later, and is to know then when the task is due.
        dropped = PRODUCERS | (TIMES if is_stock(send_task) else set())
        options = {name: value for name, value in options.items() if name not in dropped}
        hidden = message.hidden_by(options)
        publish = Publish(self._recorder, options["task_id"], options)
        producer = CapturingProducer(
            hidden,
            lambda call: self._store(call, due),
            self._refuse,
            RecordingProducer(self._app, None, publish),
        )
        around = capturing.get()
        try:
            capturing.set(producer)
            with quiet_backend(self._app):
                result = send_task(*given, **options, producer=producer)
        except _Failed as failed:
            self._fall_back(options["task_id"], failed)
        finally:
            capturing.set(around)
            producer.let_go()
        if producer.captured:
            self._look_for_a_sweeper()
        elif producer.announced:
            raise RuntimeError(
                f"task {options['task_id']} was to wait, and was sent at once: the app's own "
                "send_task published it by a producer of its own"
            )
        return result

    def keep_again(self, call: Call, due: timedelta | datetime, again: Resent) -> None:
        """Store the message of *call*, which sends *again* once more.

        Raises `NotDivertible`, with nothing stored, if it is to go to the broker; else as
        `send_task`.
        """
        try:
            self._store(call, due, again)
        except _Failed as failed:
            self._fall_back(str(call.headers["id"]), failed)
        self._look_for_a_sweeper()

    def _store(self, call: Call, due: timedelta | datetime, again: Resent = None) -> None:
        try:
            when = to_utc(self._now() + due if isinstance(due, timedelta) else due)
        except StorageError as error:
            raise _Failed(str(error)) from error
        except OverflowError:
            when = to_utc(datetime.max.replace(tzinfo=timezone.utc))
        schedule = self._maker.schedule(call, when)
        try:
            event = self._recorder.scheduled(call, schedule, when, again)
            self._recorder.writer.schedule(schedule, event)
        except Uncertain as error:
            raise _Failed(str(error), call, schedule) from error
        except StorageError as error:
            raise _Failed(str(error)) from error

    def _now(self) -> datetime:
        """The storage's time. What was believed before an error may be that of another server."""
        failures = self._recorder.writer.failures
        if failures != self._failures:
            self._clock.forget()
            self._failures = failures
        return self._clock.now()

    def _refuse(self, call: Call, error: Exception) -> None:
        """Record a message that cannot be serialised, like one that is not to wait."""
        if self._settings.track_publish and self._recorder.records(str(call.headers["task"])):
            self._recorder.publishing(call)()
            self._recorder.unsent(call.headers, error)

    def _queue_of(
        self, name: str, given: tuple[Any, ...], options: Mapping[str, Any]
    ) -> str | None:
        args, kwargs = (*given[1:], None, None)[:2]
        routed = self._app.amqp.router.route(
            {k: v for k, v in options.items() if k not in _NOT_ROUTED},
            options.get("route_name") or name,
            options.get("args", args),
            options.get("kwargs", kwargs),
            options.get("task_type"),
        )
        queue = routed.get("queue")
        if queue is None and not routed.get("exchange"):
            return str(self._app.conf.task_default_queue)
        return None if queue is None else str(getattr(queue, "name", queue))

    def _fall_back(self, task_id: str, failed: _Failed) -> None:
        """Raise `NotDivertible` if the task is to go to the broker, else `OperationalError`."""
        raised = OperationalError(f"task {task_id} is not scheduled: {failed}")
        goes_on = self._settings.on_divert_error == "broker" or this_worker.is_worker()
        if failed.call and failed.schedule:
            event = self._recorder.not_scheduled(failed.call, failed.schedule, raised)
            self._withdrawals.withdraw(failed.schedule.schedule_id, None if goes_on else event)
        if goes_on:
            logger.error(
                "fullresult: task %s is not scheduled in the storage and goes to the broker with "
                "its ETA: %s",
                task_id,
                failed,
            )
            raise NotDivertible(str(failed)) from failed
        raise raised from failed

    def _warn(self, name: str, why: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            logger.warning(
                "fullresult: tasks called %s go to the broker with their ETA, not into the "
                "storage: %s",
                name,
                why,
            )

    def refused(self, name: str, why: NotDivertible) -> None:
        """Log, once for each name, that a task went to the broker after all."""
        if why.__cause__ is None:  # else this very task was logged
            self._warn(name, str(why))

    def _look_for_a_sweeper(self) -> None:
        """Warn, once, if no sweeper seems to run that would send what was stored."""
        seconds = _SWEEPERS_ARE_LATE.total_seconds()
        now = time.monotonic()
        if "sweeper" in self._warned or now - self._looked < seconds:
            return
        first, self._looked = not self._looked, now
        if first:
            return  # the sweeper may be starting together with its publishers
        try:
            last = self._storage.last_sweep(self._settings.namespace)
            late = _SWEEPERS_ARE_LATE + self._settings.sweep_interval
            if last is not None and self._now() - last < late:
                return
        except StorageError:
            return
        self._warned.add("sweeper")
        logger.warning(
            "fullresult: no sweeper sends the tasks scheduled for %s; last seen: %s. A worker runs "
            "one by itself (fullresult_sweeper), or `celery -A proj fullresult sweep --loop`",
            self._settings.namespace,
            last or "never",
        )
