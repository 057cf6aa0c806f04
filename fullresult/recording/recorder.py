"""The recorder: makes events of what Celery reports, and hands them to the writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from celery.app.task import Context
from celery.states import EXCEPTION_STATES
from celery.worker.request import Request
from kombu.message import Message as Delivery

from fullresult.config import Settings, is_recorded, mark_of
from fullresult.record import (
    FAILURE,
    INTERRUPTED,
    NOT_RUN,
    PENDING,
    RETRY,
    REVOKED,
    SCHEDULED,
    STARTED,
    SUCCESS,
    UNSENT,
    Message,
    Outcome,
    Start,
    TaskRecord,
    encoding,
)
from fullresult.record.schedule import Schedule
from fullresult.record.stamps import FIRST, LAST, Attempt, Clock, Moment, attempt_in
from fullresult.recording import message, this_worker
from fullresult.recording.already_written import AlreadyWritten
from fullresult.recording.descriptions import Describe, Descriptions, Resent
from fullresult.recording.given_result import GivenResult
from fullresult.recording.message import Call, Payload
from fullresult.recording.optional_redactor import OptionalRedactor
from fullresult.recording.outcomes import (
    NO_FAILURE,
    NO_RESULT,
    Failure,
    Result,
    describe,
    describe_children,
    describe_stored,
    encode_result,
    entries_of,
    entry_of,
    outcome_of,
    revoked_failure,
    stored_of,
)
from fullresult.recording.redaction import Redactor
from fullresult.recording.requests import (
    MayRunAgain,
    ReceivedRequests,
    attempt_of,
    is_redelivered,
    name_of,
    recorded_attempt,
    schedule_of,
    worker_of,
)
from fullresult.recording.writer import Finish, Write, Writer
from fullresult.storage import Storage


class Recorder:
    """Records what happens to the tasks of one app.

    Its methods raise no `StorageError`, except those that say so.
    """

    def __init__(
        self, app: Celery, settings: Settings, storage: Storage, redactor: Redactor | None = None
    ) -> None:
        self.settings = settings
        self._redactor = OptionalRedactor(redactor)
        self._descriptions = Descriptions(settings.limits, self._redactor)
        self.writer = Writer(app, settings, storage)
        self._limit = settings.limits.text
        self._clock = Clock(mark_of(settings.namespace))
        self._json_results = settings.use_json or message.is_json(app.conf.result_serializer)
        self._starts: WeakKeyDictionary[Context, datetime] = WeakKeyDictionary()
        self._received = ReceivedRequests()
        self._may_run_again = MayRunAgain(app)
        self._written = AlreadyWritten()
        self.start_body: Callable[[Context], Payload] | None = None
        """Makes what a result backend is given for a start; None unless ours asked for starts."""

    @property
    def redactor(self) -> Redactor | None:
        """Hides what is not to be recorded; None if there is no rule."""
        return self._redactor.redactor

    @redactor.setter
    def redactor(self, redactor: Redactor | None) -> None:
        self._redactor.redactor = redactor

    def redacts(self, call: Call) -> bool:
        """True if something of *call* is not to be recorded."""
        return self._redactor.covers(call)

    def records(self, name: str) -> bool:
        """True if tasks called *name* are recorded."""
        return is_recorded(name, self.settings.ignore)

    # ---- publishes

    def publishing(self, call: Call, *, after: bool = False) -> Finish:
        """A message goes to the broker; the answer says that it has it, and writes if *after*."""
        now = self._clock.moment(marked=not call.elsewhere)
        event = self._publish(now, call.headers, self._descriptions.of_call(call))
        return partial(self.writer.write, event) if after else self.writer.begin(event)

    def publishing_again(self, of: str, known: Message, call: Call) -> Finish:
        """The message *known* of the task *of* is about to be sent again, as *call* says."""
        of_resend = self._descriptions.of_resend(of, known, call)
        return self.writer.begin(self._publish(self._clock.moment(), call.headers, of_resend))

    def _publish(self, now: Moment, headers: Mapping[str, Any], message_of: Describe) -> TaskRecord:
        attempt = attempt_in(headers)
        described = message_of(attempt.stamp(PENDING, now))
        return TaskRecord(
            *(encoding.key(headers["id"]), now.at, now.at),
            outcome=self._dated(outcome_of(PENDING, attempt, now, eta=described.eta), None),
            message=described,
            date_published=now.at,
        )

    def unsent(self, headers: Mapping[str, Any], error: BaseException) -> None:
        """The broker did not take the message with *headers*. *error* goes on to the caller.

        If it was a retry or a replacement, its task is over: Celery makes it fail.
        """
        now = self._clock.moment()
        outcome = self._unsent(attempt_in(headers), now, error)
        self._write(headers["id"], now, outcome=self._dated(outcome, headers.get("task")))

    def _unsent(
        self, attempt: Attempt, now: Moment, error: BaseException, call: Call | None = None
    ) -> Outcome:
        parts = call.parts[:2] if call else (None, None)
        name = call.headers.get("task") if call else None
        failure = describe(name, error, None, self._limit, *self._redactor.errors(name, *parts))
        return outcome_of(UNSENT if attempt == (0, 0) else FAILURE, attempt, now, failure=failure)

    # ---- schedules

    def scheduled(
        self, call: Call, schedule: Schedule, eta: datetime | None, again: Resent = None
    ) -> TaskRecord:
        """The event that *schedule* keeps the message of *call*, to be run at *eta* or at once."""
        now = self._clock.moment()
        attempt = attempt_in(call.headers)
        described = self._of_schedule(call, eta, again)(attempt.stamp(SCHEDULED, now))
        outcome = outcome_of(SCHEDULED, attempt, now, eta=eta)
        return TaskRecord(schedule.task_id, now.at, now.at, outcome=outcome, message=described)

    def not_scheduled(self, call: Call, schedule: Schedule, error: BaseException) -> TaskRecord:
        """The event that *schedule* was withdrawn. *error* goes on to the caller."""
        now = self._clock.moment()
        attempt = attempt_in(call.headers)
        described = self._of_schedule(call, schedule.due)(attempt.stamp(UNSENT, now))
        outcome = self._dated(self._unsent(attempt, now, error, call), call.headers["task"])
        return TaskRecord(schedule.task_id, now.at, now.at, outcome=outcome, message=described)

    def _of_schedule(self, call: Call, eta: datetime | None, again: Resent = None) -> Describe:
        recorded = self.records(str(call.headers["task"]))
        return self._descriptions.of_schedule(call, eta, with_content=recorded, again=again)

    # ---- runs

    def received(self, request: Request) -> None:
        """The worker's main process has a message."""
        self._received.add(request)

    def started(self, task_id: str, name: str, request: Context) -> None:
        """A worker begins to run a task."""
        now = self._clock.moment().of_worker(this_worker.worker_id(), self.settings.release)
        now = now.of_delivery(schedule_of(request), redelivered=is_redelivered(request))
        self._starts[request] = now.at
        attempt = attempt_of(request)
        outcome = outcome_of(STARTED, attempt, now, worker=worker_of(request), date_started=now.at)
        start = Start(outcome.stamp, outcome.worker, now.at)
        again = attempt != (0, 0) or self._may_run_again(request)
        entries = (entry_of(outcome, None),) if again else ()
        stored = self.start_body and stored_of(outcome, self.start_body(request))
        message_of = self._descriptions.of_request(request, name)
        known = {"start": start, "entries": entries, "stored": stored or None}
        self._write(task_id, now, message_of, outcome=self._dated(outcome, None), **known)

    def succeeded(
        self, request: Context, name: str, result: Any, runtime: float | None, ignored: bool
    ) -> None:
        """A task returned *result*, and its result backend took it."""
        if self._written.take(request.id, SUCCESS):
            return
        now = self._clock.moment()
        kept = NO_RESULT if ignored else self._kept(name, result)
        outcome = self._ended(SUCCESS, request, now, result=kept, runtime=runtime)
        message_of = self._descriptions.of_request(request, name)
        entries = entries_of(outcome, now, again=self._may_run_again(request))
        self._write(request.id, now, message_of, outcome=outcome, entries=entries)

    def failed(self, task_id: str, name: str, request: Context, exception: Any, einfo: Any) -> None:
        """A task raised, was lost, or went over its time."""
        if self._written.take(task_id, FAILURE):
            return
        # The release is asked for by groups of failures and previews of replays.
        now = self._clock.moment().of_worker(this_worker.worker_id(), self.settings.release)
        hide = self._redactor.errors_of(request if request.id == task_id else None, name)
        failure = describe(name, exception, einfo, self._limit, *hide)
        if request.id == task_id:
            outcome = self._ended(FAILURE, request, now, failure=failure)
        else:
            attempt, worker = self._attempt_of(task_id)
            outcome = outcome_of(FAILURE, attempt, now, worker=worker, failure=failure)
            outcome = self._dated(outcome, name)
        message_of = self._descriptions.of_request(request, name) if request.id == task_id else None
        self._finish(task_id, now, outcome, message_of)

    def retried(self, request: Context, reason: Any, einfo: Any) -> None:
        """An attempt asked for another one."""
        if self._written.take(request.id, RETRY):
            return
        now = self._clock.moment()
        cause = getattr(reason, "exc", None)
        name = name_of(request)
        hide = self._redactor.errors_of(request, name)
        failure = describe(name, reason if cause is None else cause, einfo, self._limit, *hide)
        outcome = self._ended(RETRY, request, now, failure=failure)
        self._finish(request.id, now, outcome)

    def revoked(self, request: Context, name: str, reason: str) -> None:
        """A task was revoked or had expired; *reason* is Celery's word for which."""
        if self._written.take(request.id, REVOKED):
            return
        now = self._clock.moment()
        outcome = self._ended(REVOKED, request, now, failure=revoked_failure(name, reason))
        self._finish(request.id, now, outcome, self._descriptions.of_request(request, name))

    def gave_up(self, request: Context, state: str) -> None:
        """A task ended as IGNORED or REJECTED, without a result."""
        now = self._clock.moment()
        self._finish(request.id, now, self._ended(state, request, now))

    def interrupted(self, request: Context, state: str = INTERRUPTED) -> None:
        """A run was cut off, or given back to the broker. Its task has not ended."""
        now = self._clock.moment()
        outcome = self._ended(state, request, now)
        self._write(request.id, now, entries=(entry_of(outcome, now.at),))

    def refused(self, delivery: Delivery, state: str, worker: str | None, exception: Any) -> None:
        """The worker could not make a task of a message."""
        headers = delivery.headers or {}
        if not (task_id := headers.get("id")):
            return
        now = self._clock.moment().of_worker(this_worker.worker_id(), self.settings.release)
        attempt = attempt_in(headers)
        name = headers.get("task")
        failure = describe(name, exception, None, self._limit, *self._redactor.errors(name))
        outcome = self._dated(outcome_of(state, attempt, now, worker=worker, failure=failure), name)
        self._write(task_id, now, self._descriptions.of_delivery(delivery), outcome=outcome)

    # ---- results that the backend is given

    def has_start(self, request: Context | None) -> bool:
        """True if the event of this run's start has what the result backend is given for it."""
        return self.start_body is not None and request is not None and request in self._starts

    def result(
        self,
        given: GivenResult,
        serialise: Callable[[Any], Payload | None],
        write: Write | None = None,
    ) -> None:
        """Record *given*, and the body that *serialise* makes for it to be given back.

        *serialise* answers None if the record's JSON holds the value exactly. Celery's signal of
        the same end writes nothing more. *write* is used instead of the storage's. Raises
        `StorageError`.
        """
        event, message_of = self._of_backend(self._redactor.given(given), serialise)
        self.writer.write_result(event, message_of, write)
        self._written.add(given.task_id, given.state)

    def result_later(self, given: GivenResult, serialise: Callable[[Any], Payload | None]) -> bool:
        """As `result`, but into the spool: the storage failed. True if that was possible."""
        event, message_of = self._of_backend(self._redactor.given(given), serialise)
        kept = self.writer.write_later(event, message_of)
        if kept:
            self._written.add(given.task_id, given.state)
        return kept

    def _of_backend(
        self, given: GivenResult, serialise: Callable[[Any], Payload | None]
    ) -> tuple[TaskRecord, Describe | None]:
        request, now = given.own_request, self._clock.moment()
        if request is not None and given.never_ran is None and given.state != SUCCESS:
            now = now.of_worker(this_worker.worker_id(), self.settings.release)
        outcome = self._given(given, now)
        body = serialise(given.encoded)
        event = TaskRecord(
            encoding.key(given.task_id),
            now.at,
            now.at,
            outcome=outcome,
            entries=entries_of(outcome, now, again=self._may_run_again(request)),
            stored=body and stored_of(outcome, body),
        )
        name = name_of(request)
        if request is None or not name or not self.records(name):
            return event, None
        message_of = self._descriptions.of_given_request(request, name, given.never_ran)
        if given.never_ran is None:
            return event, message_of
        return replace(event, message=message_of(LAST.stamp(SUCCESS, now))), None

    def _given(self, given: GivenResult, now: Moment) -> Outcome:
        request, state = given.own_request, given.state
        failed, name = state in EXCEPTION_STATES, name_of(request)
        hide = self._redactor.errors_of(request, name) if failed else ()
        value, traceback = given.value, given.traceback
        failure = NO_FAILURE
        if failed:
            failure = describe_stored(name, value, traceback, self._limit, *hide)
        kept = NO_RESULT if failed else self._kept(name, value)
        if given.never_ran is not None:
            return self._dated(outcome_of(NOT_RUN, FIRST, now, failure=failure), name)
        if request is not None:
            return self._ended(state, request, now, result=kept, failure=failure)
        attempt, worker = self._attempt_of(given.task_id)
        outcome = outcome_of(state, attempt, now, worker=worker, result=kept, failure=failure)
        return self._dated(outcome, None)

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
            attempt_of(request),
            now.of_delivery(schedule_of(request), redelivered=is_redelivered(request)),
            worker=worker_of(request),
            redelivered=is_redelivered(request),
            date_started=self._starts.get(request),
            failure=failure,
            result=result,
            runtime=runtime,
            children=describe_children(vars(request).get("_children")),
        )
        return self._dated(outcome, name_of(request))

    def _dated(self, outcome: Outcome, name: str | None) -> Outcome:
        """*outcome* with the date at which its record expires."""
        retention = self.settings.retention
        return outcome if retention is None else retention.of(outcome, name)

    def _attempt_of(self, task_id: str) -> tuple[Attempt, str | None]:
        """The attempt and worker of a task whose signal does not say them."""
        return self._received.attempt(task_id) or recorded_attempt(self.writer.get, task_id)

    def _finish(
        self, task_id: str, now: Moment, outcome: Outcome, message_of: Describe | None = None
    ) -> None:
        entries = (entry_of(outcome, now.at),)
        self._write(task_id, now, message_of, outcome=outcome, entries=entries)

    def _write(
        self,
        task_id: str | None,
        now: Moment,
        message_of: Describe | None = None,
        **known: Any,
    ) -> None:
        if task_id is not None:  # None: of several tasks run as one
            event = TaskRecord(encoding.key(task_id), now.at, now.at, **known)
            self.writer.write(event, message_of)

    def _kept(self, name: str | None, result: Any) -> Result:
        return encode_result(
            self._redactor.result(name, result),
            as_json=self._json_results,
            force_json=self.settings.force_json,
            limit=self._limit,
        )
