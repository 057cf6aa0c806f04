"""Turning what Celery tells into events, and writing them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from celery import Celery
from celery.app.task import Context
from celery.states import EXCEPTION_STATES
from celery.worker.request import Request
from kombu.message import Message as Delivery
from kombu.utils.encoding import ensure_bytes

from fullresult.config import Settings, is_recorded
from fullresult.config.settings import Limits
from fullresult.outage.breaker import Breaker
from fullresult.outage.flusher import Flusher, flusher_of
from fullresult.outage.lines import Frame
from fullresult.record import (
    FAILURE,
    FINISHED,
    INTERRUPTED,
    PENDING,
    RETRY,
    REVOKED,
    SCHEDULED,
    STARTED,
    SUCCESS,
    UNSENT,
    Entry,
    Message,
    Outcome,
    Start,
    Stored,
    TaskRecord,
    encoding,
)
from fullresult.record.schedule import Schedule
from fullresult.record.stamps import Attempt, Clock, Moment, attempt_in
from fullresult.record.states import is_open
from fullresult.recording import capture, message, this_worker
from fullresult.recording.already_written import Told
from fullresult.recording.message import Call, Payload
from fullresult.recording.outcomes import (
    NO_FAILURE,
    NO_RESULT,
    Failure,
    Result,
    describe,
    describe_children,
    describe_stored,
    encode_result,
    entry_of,
    outcome_of,
)
from fullresult.recording.redaction import Hide, Redactor
from fullresult.storage import OverlappingStorage, Refused, Storage, StorageError

T = TypeVar("T")
Describe = Callable[[str], Message]
"""Makes a message's description, given a stamp."""
Write = Callable[[TaskRecord], Collection[str]]
"""Writes an event as `Storage.write` does."""
Finish = Callable[[], None]
"""Waits until what was begun is written, or is known not to be."""


class Recorder:
    """Writes what happens to the tasks of one app. Its methods never raise `StorageError`.

    What the storage does not take at once is kept in the spool, if there is one; where events are
    to be spooled (`fullresult_write_mode`), every one is.
    """

    def __init__(
        self, app: Celery, settings: Settings, storage: Storage, redactor: Redactor | None = None
    ) -> None:
        self.settings = settings
        self.redactor = redactor
        """What hides what is not to be recorded; None where nothing is."""
        self._storage = storage
        # Asked once: of a protocol it takes longer than all else that a publish asks.
        self._overlapping = storage if isinstance(storage, OverlappingStorage) else None
        self._limits: Limits = settings.limits
        self._breaker = Breaker()
        self.flusher: Flusher | None = flusher_of(app, settings, storage, self._breaker)
        """What writes later what is kept; None without a spool."""
        self._spooled = self.flusher is not None and settings.write_mode == "spooled"
        self._is_new = True
        self._clock = Clock()
        self._json_results = settings.use_json or _writes_json(app.conf.result_serializer)
        self._starts: WeakKeyDictionary[Context, datetime] = WeakKeyDictionary()
        self._received: WeakValueDictionary[str, Request] = WeakValueDictionary()
        self._told = Told()
        self.start_body: Callable[[Context], Payload] | None = None
        """What the result backend, if it is ours and wants to know of starts, would be given."""

    def records(self, name: str) -> bool:
        """Whether tasks called *name* are recorded."""
        return is_recorded(name, self.settings.ignore)

    def publishing(self, call: Call) -> Finish:
        """A message is about to be handed to the broker; to be finished when it was."""
        return self._published(
            call.headers, lambda stamp: capture.capture(call, stamp, self._limits, self._redact)
        )

    def publishing_again(self, of: str, known: Message, call: Call) -> Finish:
        """The message *known* of the task *of* is about to be sent once more, as *call* says."""
        return self._published(
            call.headers,
            lambda stamp: capture.capture_again(
                known, call, stamp, self._limits, self._redact
            )._replace(retry_of=of),
        )

    @property
    def _redact(self) -> Callable[[Call], Call] | None:
        return None if self.redactor is None else self.redactor.call

    def redacts(self, call: Call) -> bool:
        """Whether something of *call* is not to be recorded."""
        return self.redactor is not None and bool(self.redactor.call(call).redacted)

    def _published(self, headers: Mapping[str, Any], describe_message: Describe) -> Finish:
        now = self._clock.moment()
        attempt = attempt_in(headers)
        described = describe_message(attempt.stamp(PENDING, now))
        outcome = outcome_of(PENDING, attempt, now, eta=described.eta)
        return self._begin(
            headers["id"], now, outcome=outcome, message=described, date_published=now.at
        )

    def scheduled(self, call: Call, schedule: Schedule) -> None:
        """Store *schedule*, which holds the message of *call*. Raises `StorageError`."""
        now = self._clock.moment()
        attempt = attempt_in(call.headers)
        described = self._of_schedule(call, schedule, attempt.stamp(SCHEDULED, now))
        outcome = outcome_of(SCHEDULED, attempt, now, eta=schedule.due)
        event = TaskRecord(schedule.task_id, now.at, now.at, outcome=outcome, message=described)
        self._breaker.ask(lambda: self._storage.schedule(schedule, event))

    def not_scheduled(self, call: Call, schedule: Schedule, error: BaseException) -> TaskRecord:
        """The event that *schedule* was withdrawn; *error* goes on to the caller."""
        now = self._clock.moment()
        attempt = attempt_in(call.headers)
        described = self._of_schedule(call, schedule, attempt.stamp(UNSENT, now))
        outcome = self._unsent(attempt, now, error, call)
        return TaskRecord(schedule.task_id, now.at, now.at, outcome=outcome, message=described)

    def _of_schedule(self, call: Call, schedule: Schedule, stamp: str) -> Message:
        described = capture.capture(call, stamp, self._limits, self._redact)
        described = described._replace(eta=schedule.due)
        if self.records(str(call.headers["task"])):
            return described
        return capture.without_content(described)

    def storage_now(self) -> datetime:
        """The storage's time. Raises `StorageError`, at once where it is not asked."""
        return self._breaker.ask(self._storage.now)

    def unsent(self, headers: Mapping[str, Any], error: BaseException) -> None:
        """The broker did not take the message with *headers*; *error* goes on to the caller.

        A task whose retry or replacement was not taken is over: Celery makes it fail.
        """
        now = self._clock.moment()
        outcome = self._unsent(attempt_in(headers), now, error)
        self._write(headers["id"], now, outcome=self._dated(outcome, headers.get("task")))

    def _unsent(
        self, attempt: Attempt, now: Moment, error: BaseException, call: Call | None = None
    ) -> Outcome:
        parts = call.parts[:2] if call else (None, None)
        name = call.headers.get("task") if call else None
        failure = describe(error, None, self._limits.text, *self._hide(name, *parts))
        return outcome_of(UNSENT if attempt == (0, 0) else FAILURE, attempt, now, failure=failure)

    def received(self, request: Request) -> None:
        """The worker's main process has a message.

        Its later signals often do not say for which attempt they are; the request does, for as
        long as Celery holds it.
        """
        self._received[request.id] = request

    def started(self, task_id: str, name: str, request: Context) -> None:
        """A worker begins to run a task."""
        now = self._clock.moment().of_worker(this_worker.worker_id())
        self._starts[request] = now.at
        attempt = _attempt(request)
        outcome = outcome_of(STARTED, attempt, now, worker=_worker(request), date_started=now.at)
        start = Start(outcome.stamp, outcome.worker, now.at)
        again = attempt != (0, 0) or _is_redelivered(request)
        entries = (entry_of(outcome, None),) if again else ()
        stored = self.start_body and _stored(outcome, self.start_body(request))
        described = self._of_request(request, name)
        known = {"outcome": outcome, "start": start, "entries": entries, "stored": stored or None}
        self._write(task_id, now, described, **known)

    def told_start(self, request: Context | None) -> bool:
        """Whether the start of this run is recorded with what the result backend is given."""
        return self.start_body is not None and request is not None and request in self._starts

    def succeeded(
        self, request: Context, name: str, result: Any, runtime: float | None, ignored: bool
    ) -> None:
        """A task returned *result*, and its result backend took it."""
        if self._told.take(request.id, SUCCESS):
            return
        now = self._clock.moment()
        kept = NO_RESULT if ignored else self._kept(name, result)
        outcome = self._ended(SUCCESS, request, now, result=kept, runtime=runtime)
        described = self._of_request(request, name)
        entries = _entries(outcome, request, now)
        self._write(request.id, now, described, outcome=outcome, entries=entries)

    def _hide(
        self, name: str | None, args: Any = None, kwargs: Any = None
    ) -> tuple[()] | tuple[Hide]:
        """What hides in an error what is hidden of these arguments; nothing where nothing is."""
        if self.redactor is None:
            return ()
        return (self.redactor.of_errors(name, args, kwargs),)

    def _hide_of(self, request: Context | None, name: str | None) -> tuple[()] | tuple[Hide]:
        if request is None:
            return self._hide(name)
        return self._hide(name, request.args, request.kwargs)

    def hide_stored(
        self,
        value: Any,
        encoded: Any,
        state: str,
        traceback: Any,
        request: Context | None,
    ) -> tuple[Any, Any, Any]:
        """What a result backend was given, how it encoded that, and a traceback, as may be kept."""
        if self.redactor is None:
            return value, encoded, traceback
        name = None if request is None else _name(request)
        if state not in EXCEPTION_STATES:
            hidden, _ = self.redactor.stored(name, value, None)
            return hidden, *self.redactor.stored(name, encoded, traceback)
        hide = self._hide_of(request, name)
        return value, *self.redactor.stored(name, encoded, traceback, *hide)

    def _kept(self, name: str | None, result: Any) -> Result:
        if self.redactor is not None:
            result = self.redactor.result(name, result)
        return encode_result(
            result,
            as_json=self._json_results,
            force_json=self.settings.force_json,
            limit=self._limits.text,
        )

    def failed(self, task_id: str, name: str, request: Context, exception: Any, einfo: Any) -> None:
        """A task raised, was lost, or went over its time."""
        if self._told.take(task_id, FAILURE):
            return
        now = self._clock.moment()
        hide = self._hide_of(request if request.id == task_id else None, name)
        failure = describe(exception, einfo, self._limits.text, *hide)
        if request.id == task_id:
            outcome = self._ended(FAILURE, request, now, failure=failure)
        else:
            attempt, worker = self._attempt_of(task_id)
            outcome = outcome_of(FAILURE, attempt, now, worker=worker, failure=failure)
            outcome = self._dated(outcome, name)
        described = self._of_request(request, name) if request.id == task_id else None
        self._finish(task_id, now, outcome, described)

    def failed_inside(
        self, task_id: str, name: str, request: dict[str, Any], exception: Any, einfo: Any
    ) -> None:
        """Celery itself failed around a task: a hook or the result backend raised."""
        context = Context(request)
        context.id = task_id
        self.failed(task_id, name, context, exception, einfo)

    def retried(self, request: Context, reason: Any, einfo: Any) -> None:
        """An attempt asked for another one."""
        if self._told.take(request.id, RETRY):
            return
        now = self._clock.moment()
        cause = getattr(reason, "exc", None)
        hide = self._hide_of(request, _name(request))
        failure = describe(reason if cause is None else cause, einfo, self._limits.text, *hide)
        outcome = self._ended(RETRY, request, now, failure=failure)
        self._finish(request.id, now, outcome)

    def revoked(self, request: Context, name: str, reason: str) -> None:
        """A task was revoked or had expired; *reason* is Celery's word for which."""
        if self._told.take(request.id, REVOKED):
            return
        now = self._clock.moment()
        failure = Failure("celery.exceptions.TaskRevokedError", reason)
        outcome = self._ended(REVOKED, request, now, failure=failure)
        self._finish(request.id, now, outcome, self._of_request(request, name))

    def gave_up(self, request: Context, state: str) -> None:
        """A task ended as IGNORED or REJECTED, without a result."""
        now = self._clock.moment()
        self._finish(request.id, now, self._ended(state, request, now))

    def interrupted(self, request: Context, state: str = INTERRUPTED) -> None:
        """A run was cut off or given back to the broker: no end of the task."""
        now = self._clock.moment()
        outcome = self._ended(state, request, now)
        self._write(request.id, now, entries=(entry_of(outcome, now.at),))

    def stored(
        self,
        task_id: str,
        state: str,
        value: Any,
        body: Payload | None,
        traceback: str | None,
        request: Context | None,
        *,
        later: bool = False,
        write: Write | None = None,
    ) -> bool:
        """The result backend was given *value*, which its serializer wrote as *body*.

        Without *body*, the record's JSON says all of it. What Celery's signal tells of the same is
        not written again. *write* is to be used in the place of the storage's. Raises
        `StorageError`; not so if it is to be kept for *later*, and then answers whether that was
        possible.
        """
        # A worker that does not know a task makes up a request without an id.
        own = request if getattr(request, "id", None) == task_id else None
        now = self._clock.moment()
        if own is not None and is_open(state):
            now = now.of_worker(this_worker.worker_id())
        outcome = self._of_backend(task_id, state, value, traceback, own, now)
        event = TaskRecord(
            encoding.key(task_id),
            now.at,
            now.at,
            outcome=outcome,
            entries=_entries(outcome, own, now),
            stored=body and _stored(outcome, body),
        )
        name = None if own is None else _name(own)
        describe_message = None
        if own is not None and name and self.records(name):
            describe_message = self._of_backends(own, name)
        if later:
            kept = self._keep(event, describe_message)
            self._breaker.note(kept=kept)
        elif self._spooled and self._keep(event, _unless_it_ran(event, describe_message)):
            kept = True
        else:
            write_event = write or (lambda event: self._storage.write((event,)))
            lacking = self._breaker.ask(lambda: write_event(event))
            self._describe(task_id, lacking, outcome.stamp, describe_message)
            kept = True
        if kept:
            self._told.put(task_id, state)
        return kept

    def _of_backend(
        self,
        task_id: str,
        state: str,
        value: Any,
        traceback: str | None,
        request: Context | None,
        now: Moment,
    ) -> Outcome:
        failed = state in EXCEPTION_STATES
        name = None if request is None else _name(request)
        hide = self._hide_of(request, name) if failed else ()
        limit = self._limits.text
        failure = describe_stored(value, traceback, limit, *hide) if failed else NO_FAILURE
        kept = NO_RESULT if failed else self._kept(name, value)
        if request is not None:
            return self._ended(state, request, now, result=kept, failure=failure)
        attempt, worker = self._attempt_of(task_id)
        outcome = outcome_of(state, attempt, now, worker=worker, result=kept, failure=failure)
        return self._dated(outcome, None)

    def refused(self, delivery: Delivery, state: str, worker: str | None, exception: Any) -> None:
        """The worker could not make a task of a message."""
        headers = delivery.headers or {}
        if not (task_id := headers.get("id")):
            return
        now = self._clock.moment()
        attempt = attempt_in(headers)
        hide = self._hide(headers.get("task"))
        failure = describe(exception, None, self._limits.text, *hide)
        outcome = outcome_of(state, attempt, now, worker=worker, failure=failure)
        outcome = self._dated(outcome, headers.get("task"))
        self._write(
            task_id,
            now,
            lambda stamp: capture.capture_delivery(delivery, stamp, self._limits, self._redact),
            outcome=outcome,
        )

    def _ended(
        self,
        state: str,
        request: Context,
        now: Moment,
        *,
        failure: Failure = NO_FAILURE,
        result: Result = NO_RESULT,
        runtime: float | None = None,
    ) -> Outcome:
        outcome = outcome_of(
            state,
            _attempt(request),
            now,
            worker=_worker(request),
            redelivered=_is_redelivered(request),
            date_started=self._starts.get(request),
            failure=failure,
            result=result,
            runtime=runtime,
            children=describe_children(vars(request).get("_children")),
        )
        return self._dated(outcome, _name(request))

    def _dated(self, outcome: Outcome, name: str | None) -> Outcome:
        """*outcome*, saying how long its record is to be kept."""
        retention = self.settings.retention
        return outcome if retention is None else retention.of(outcome, name)

    def _finish(
        self, task_id: str, now: Moment, outcome: Outcome, describe_message: Describe | None = None
    ) -> None:
        entries = (entry_of(outcome, now.at),)
        self._write(task_id, now, describe_message, outcome=outcome, entries=entries)

    def _attempt_of(self, task_id: str) -> tuple[Attempt, str | None]:
        """The attempt and worker of a task whose signal does not say."""
        request = self._received.get(task_id)
        if request is not None:
            return attempt_in(request.request_dict), _key(request.hostname)
        try:
            record = self._breaker.ask(lambda: self._storage.get(encoding.key(task_id)))
        except StorageError:
            record = None
        if record is None or record.outcome is None:
            return Attempt(), None
        return Attempt.in_stamp(record.outcome.stamp), record.worker

    def _of_request(self, request: Context, name: str) -> Describe:
        return lambda stamp: capture.capture_request(
            request, name, stamp, self._limits, self._redact
        )

    def _of_backends(self, request: Context, name: str) -> Describe:
        """As `_of_request`; the tail of a chain that failed never had a message, but has a name."""
        describe_message = self._of_request(request, name)
        if request.delivery_info:
            return describe_message
        return lambda stamp: capture.without_content(describe_message(stamp))

    def _describe(
        self,
        task_id: str,
        lacking: Collection[str],
        stamp: str,
        describe_message: Describe | None,
    ) -> None:
        """Add the message to a record that has none, its publisher not having been recorded."""
        if lacking and describe_message is not None:
            self._write(task_id, self._clock.moment(), message=describe_message(stamp))

    def _begin(self, task_id: str, now: Moment, **known: Any) -> Finish:
        """Write an event while the caller goes on, where the storage can."""
        storage = self._overlapping
        if storage is None or self._spooled:
            self._write(task_id, now, **known)
            return _nothing
        self._look_for_others()
        event = TaskRecord(encoding.key(task_id), now.at, now.at, **known)

        def begin() -> Callable[[], Collection[str]]:
            finish = _naming(event, lambda: storage.begin_write(event))
            return lambda: _naming(event, finish)

        return self._breaker.overlap(begin, lambda: self._keep(event, None))

    def _write(
        self,
        task_id: str | None,
        now: Moment,
        describe_message: Describe | None = None,
        **known: Any,
    ) -> None:
        """Write an event, with its message where *describe_message* says it and none is known."""
        self._look_for_others()
        event = TaskRecord(encoding.key(task_id), now.at, now.at, **known)
        if self._spooled and self._keep(event, _unless_it_ran(event, describe_message)):
            return
        lacking: Collection[str] = self._breaker.call(
            lambda: _naming(event, lambda: self._storage.write((event,))),
            (),
            lambda: self._keep(event, describe_message),
        )
        if event.outcome is not None:
            self._describe(event.task_id, lacking, event.outcome.stamp, describe_message)

    # ---- later

    @property
    def lags(self) -> bool:
        """Whether something that this process told is not in the storage yet."""
        return self.flusher is not None and (self._spooled or not self.flusher.is_idle)

    @property
    def is_away(self) -> bool:
        """Whether the storage is not asked, for it did not answer a moment ago."""
        return self._breaker.is_open

    def keep(self, *what: Frame) -> bool:
        """Keep *what* in the spool until the storage takes it; whether that was possible."""
        return self.flusher is not None and self.flusher.keep(*what)

    def _keep(self, event: TaskRecord, describe_message: Describe | None) -> bool:
        if self.flusher is None:
            return False
        if describe_message is not None and event.outcome is not None:
            # Nobody can say whether the record has one: of two, the publisher's counts.
            event = replace(event, message=describe_message(event.outcome.stamp))
        return self.flusher.keep(event)

    def _look_for_others(self) -> None:
        """At its first event a process looks for what others could not write."""
        if self._is_new:
            self._is_new = False
            if self.flusher is not None:
                self.flusher.look()


def _unless_it_ran(event: TaskRecord, describe_message: Describe | None) -> Describe | None:
    """Of events that are all spooled, one of a run has the message with it: its start."""
    outcome = event.outcome
    ran = event.start is None and outcome is not None and outcome.date_started is not None
    return None if ran else describe_message


def _naming(event: TaskRecord, do: Callable[[], T]) -> T:
    """`do()`, saying of which task an event was refused."""
    try:
        return do()
    except Refused as error:
        raise Refused(f"task {event.task_id}: {error}") from error


def _stored(outcome: Outcome, body: Payload) -> Stored:
    return Stored(outcome.stamp, ensure_bytes(body.data), *body[1:])


def _entries(outcome: Outcome, request: Context | None, now: Moment) -> tuple[Entry, ...]:
    """What is kept for good of a run that ended: of one that simply succeeded, nothing."""
    if outcome.state == SUCCESS:
        # The first delivery may still be running, and its success would then take the row.
        kept = request is not None and _is_redelivered(request)
    else:
        kept = outcome.state in FINISHED or outcome.state == RETRY
    return (entry_of(outcome, now.at),) if kept else ()


def _attempt(request: Context) -> Attempt:
    return Attempt.of(request.replaced_task_nesting, request.retries)


def _is_redelivered(request: Context) -> bool:
    return bool((request.delivery_info or {}).get("redelivered"))


def _name(request: Context) -> str | None:
    """What its task is called; a signature's options do not say."""
    return getattr(request, "task", None)


def _worker(request: Context) -> str | None:
    return _key(request.hostname)


def _key(value: Any) -> str | None:
    return None if value is None else encoding.key(value)


def _writes_json(serializer: str) -> bool:
    return message.content_type_of(serializer) == "application/json"


def _nothing() -> None:
    pass
