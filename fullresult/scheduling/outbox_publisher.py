"""Publishing into an outbox: the message goes where the caller's transaction goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery, current_task
from celery.exceptions import ImproperlyConfigured

from fullresult.config import Settings
from fullresult.record.dates import to_utc
from fullresult.recording import message
from fullresult.recording.message import Call
from fullresult.recording.publishing import Publish, RecordingProducer
from fullresult.recording.running_tasks import request_of
from fullresult.scheduling import original_ids
from fullresult.scheduling.capturing_producer import CapturingProducer, capturing
from fullresult.scheduling.options import PRODUCERS, TIMES, due_in, is_stock
from fullresult.scheduling.outbox_ambient import connection_around
from fullresult.scheduling.outbox_box import (
    AsyncOutbox,
    Block,
    Direct,
    Outbox,
    SyncOutbox,
    is_async,
)
from fullresult.scheduling.outbox_destination import Destination
from fullresult.scheduling.quiet_backend import quiet_backend
from fullresult.scheduling.schedule_maker import NotDivertible, ScheduleMaker
from fullresult.storage import OutboxRow

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage

_LATEST = datetime.max.replace(tzinfo=timezone.utc)
_A_WHILE = timedelta(days=2)


class NotStorable(ValueError):
    """A task cannot wait in an outbox; the text says why, and what to do. Nothing was published."""


class OutboxPublisher:
    """The outboxes of one app."""

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        storages: Mapping[str | None, Storage],
        recorder: Recorder,
        ask: Callable[[object], object | None],
    ) -> None:
        """*storages* are those of `fullresult_outboxes`, and under None the records'.

        *ask* says what writes by a connection that the storage does not know.
        """
        self.app = app
        self._settings = settings
        self._recorder = recorder
        self._destinations = {
            name: Destination(app, settings, storage, ask, name)
            for name, storage in storages.items()
        }
        self._maker = ScheduleMaker(settings, recorder)

    # ---- blocks

    def outbox(
        self,
        connection: Any,
        *,
        at_least_once: bool | None = None,
        autocommit: bool = False,
        database: str | None = None,
    ) -> SyncOutbox | AsyncOutbox:
        """`FullResult.outbox`."""
        destination = self._destination(database)
        writer = destination.writer(connection)
        how = {"at_least_once": bool(at_least_once), "autocommit": autocommit}
        box: SyncOutbox | AsyncOutbox
        if is_async(writer):
            box = AsyncOutbox(destination, writer, **how)
        else:
            box = SyncOutbox(destination, writer, **how)
        box.given = connection
        return box

    def direct(self) -> Direct:
        """`FullResult.direct`."""
        return Direct(self.app)

    def box(self) -> Outbox[Any] | None:
        """The outbox that a publish now goes into; None if it goes to the broker."""
        block = Block.around(self.app)
        if block is None and isinstance(self._settings.outbox, tuple):
            around = connection_around(self._settings.outbox)
            if around is None:
                return None
            alias, connection = around
            database = alias if alias in self._destinations else None
            return self.outbox(connection, database=database)
        return block if isinstance(block, Outbox) else None

    def _destination(self, database: str | None) -> Destination:
        if database is None:
            if not self._settings.sweeps_storage:
                raise ImproperlyConfigured(
                    "no worker would send what is in the outbox: set fullresult_outbox = True, in "
                    "the configuration of the workers too; or name one of fullresult_outboxes, by "
                    "outbox(…, database=…)"
                )
        else:
            self._settings.outbox_url(database)
        return self._destinations[database]

    # ---- publishing

    def takes(self, given: tuple[Any, ...], options: dict[str, Any]) -> bool:
        """False for what goes on under the id of the task that runs here.

        That is a retry or a replacement. It must go out although the block ends with an error.
        """
        if request_of(options["task_id"]) is not None:
            return False
        running = current_task.request.id if current_task else None
        if running is None:
            return True
        after = [options.get("chain"), options.get("chord")]
        if given and given[0] == original_ids.UNLOCK:
            after += [given[1:], options.get("args"), options.get("kwargs")]
        return not original_ids.mentions(after, running)

    def send_task(
        self,
        send_task: Callable[..., Any],
        given: tuple[Any, ...],
        options: dict[str, Any],
        box: Outbox[Any],
    ) -> Any:
        """Put the message that *send_task* would publish into *box*. Returns its answer.

        Raises `NotStorable`, and the errors of the caller's connection.
        """
        name = str(given[0] if given else options.get("name"))
        self._check_call(name, options)
        due = due_in(options)
        # What is no time stays, for Celery to raise an error of it.
        dropped = PRODUCERS | (TIMES if due is not None and is_stock(send_task) else set())
        options = {key: value for key, value in options.items() if key not in dropped}
        hidden = message.hidden_by(options)
        producer = CapturingProducer(
            hidden,
            partial(self._keep, box, due),
            _leave_it,
            _Refusing(self.app, None, Publish(self._recorder, options["task_id"], options)),
        )
        around = capturing.get()
        try:
            capturing.set(producer)
            with quiet_backend(self.app):
                result = send_task(*given, **options, producer=producer)
        finally:
            capturing.set(around)
            producer.let_go()
        if producer.announced and not producer.captured:
            raise RuntimeError(
                f"task {options['task_id']} was to wait in the outbox, and was sent at once: the "
                "app's own send_task published it by a producer of its own"
            )
        return result

    def _check_call(self, name: str, options: dict[str, Any]) -> None:
        if self.app.conf.task_protocol != 2:  # noqa: PLR2004
            raise _not_storable(name, "task_protocol is 1", "set it to 2")
        if message.hidden_by(options) and not self._settings.schedule_redacted:
            raise _not_storable(name, "its arguments are hidden by a repr of their own")

    def _keep(self, box: Outbox[Any], due: timedelta | datetime | None, call: Call) -> None:
        now = to_utc(datetime.now(timezone.utc))
        delay = timedelta(0) if due is None else due
        if isinstance(delay, datetime):
            when, left = to_utc(delay), None
        elif delay > _LATEST - now - _A_WHILE:
            when, left = to_utc(_LATEST), None
        else:
            when, left = now + delay, delay
        name = str(call.headers["task"])
        try:
            schedule = self._maker.schedule(call, when, may_rename=False)
        except NotDivertible as why:
            raise _not_storable(name, str(why)) from None
        schedule = schedule._replace(at_least_once=box.at_least_once)
        event = None
        if self._settings.track_publish and self._recorder.records(name):
            event = self._recorder.scheduled(call, schedule, None if due is None else when)
        box.add(OutboxRow(schedule, event, left))


class _Refusing(RecordingProducer):
    """Stands for the broker when the call is over: what an outbox was to have goes nowhere else."""

    def publish(self, body: Any, **how: Any) -> Any:  # noqa: ARG002
        headers = how.get("headers") or {}
        name = str(headers.get("task") or "of the app's own")
        raise _not_storable(name, "the app's own send_task publishes it when the call is over")


def _leave_it(call: Call, error: Exception) -> None:
    """The caller is told that a message cannot be serialised: its record would commit alone."""


def _not_storable(name: str, why: str, remedy: str = "") -> NotStorable:
    remedy = remedy or "set fullresult_schedule_redacted = True if the database may have all of it"
    return NotStorable(
        f"task {name} cannot wait in the outbox: {why}; {remedy}, or publish it in `with "
        "full.direct():`, which does not wait for the commit"
    )
