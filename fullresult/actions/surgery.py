"""Operations on workflows that broke: planned, done, and written to the audit log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.backends.base import DisabledBackend
from celery.canvas import Signature, chain, chord
from celery.result import AsyncResult
from celery.states import PROPAGATE_STATES
from celery.utils import uuid

from fullresult.actions.audit import Actor, Trail
from fullresult.actions.errors import CannotResend
from fullresult.actions.resend import Resender, check
from fullresult.insight.surgery.plan import Again, How, Plan, Value
from fullresult.insight.surgery.planner import Planner
from fullresult.insight.surgery.signatures import body_alone
from fullresult.record import TaskRecord
from fullresult.record.headers import RETRY_OF
from fullresult.recording.capture import CELERYS_HEADERS
from fullresult.storage import StorageError

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage

logger = logging.getLogger(__name__)

_OURS = "fullresult_"
"""Headers that begin so tell how the first message was sent."""
_VALUE = "celery.accumulate"
"""A task that every worker has: with `index=0` it returns its first argument."""


class Surgery:
    """One operation on the workflow of one task. `plan()` shows it, and `run()` does it.

    Every method raises `StorageError`.
    """

    def __init__(
        self,
        app: Celery,
        storage: Storage,
        recorder: Recorder,
        actor: Actor,
        task_id: str,
        how: How | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if how not in (None, "resume", "heal", "fork"):
            raise ValueError(f"an operation is 'resume', 'heal' or 'fork', not {how!r}")
        if how in ("resume", "heal") and (args is not None or kwargs is not None):
            raise ValueError(f"{how} takes no new arguments; fork does")
        self._app, self._storage, self._recorder = app, storage, recorder
        self._actor = actor
        self._task_id = task_id
        self._how: How | None = "fork" if args is not None or kwargs is not None else how
        self._args, self._kwargs = args, kwargs

    def plan(self) -> Plan:
        """What would be done. Raises `LookupError` for an unknown id."""
        plan = Planner(self._storage).plan(self._task_id, self._how)
        if plan.problem is None and plan.record is not None:
            try:
                check(plan.record, self._args, self._kwargs, plan.rest or None)
            except CannotResend as error:
                return plan._replace(problem=str(error))
        return plan

    def run(self) -> AsyncResult[Any]:
        """Do it. Returns the result of the task that was sent, or of the chord's body.

        Raises `CannotResend`, and sends nothing, if the plan has a problem; `LookupError`; the
        broker's errors.
        """
        plan = self.plan()
        changed = [n for n in ("args", "kwargs") if getattr(self, f"_{n}") is not None]
        details = {"changed": changed} if changed else {}
        trail = Trail(self._storage, self._recorder.redactor, self._actor, plan.how, details)
        try:
            if plan.problem is not None:
                raise CannotResend(plan.problem)
            result = self._done(plan)
        except StorageError:
            raise
        except Exception as error:
            trail.write_problem([self._task_id], error)
            raise
        trail.done(self._task_id, str(result.id))
        trail.flush()
        return result

    def _done(self, plan: Plan) -> AsyncResult[Any]:
        self._forget(plan.forget)
        if plan.record is None:
            return self._heal(plan)
        resender = Resender(self._app, self._recorder)
        return resender.resend(plan.record, self._args, self._kwargs, {}, plan.rest or None)

    def _forget(self, task_ids: Iterable[str]) -> None:
        """Have nobody who asks at once read the error that kept these tasks from being sent."""
        backend = self._app.backend
        if isinstance(backend, DisabledBackend):
            return
        for task_id in task_ids:
            with suppress(NotImplementedError):
                if backend.get_state(task_id) in PROPAGATE_STATES:
                    backend.forget(task_id)

    def _heal(self, plan: Plan) -> AsyncResult[Any]:
        assert plan.body is not None
        queue = next((each.record.queue for each in plan.header if isinstance(each, Again)), None)
        header = [
            self._value(each, queue) if isinstance(each, Value) else self._again(each)
            for each in plan.header
        ]
        body = Signature.from_dict(body_alone(plan.body), app=self._app)
        result: AsyncResult[Any] = chord(header, body, app=self._app).apply_async()
        try:
            self._mark(plan.header, header)
        except Exception:  # it was sent: an error would have the caller send it twice
            logger.exception(
                "fullresult: the members of %s are not marked as sent again", result.id
            )
        return result

    def _mark(self, members: Sequence[Again | Value], header: Sequence[Signature]) -> None:
        """Note which of *members* were sent again: they are dealt with."""
        now = datetime.now(timezone.utc)
        for member, sent in zip(members, header, strict=True):
            if isinstance(member, Again):
                first = sent.tasks[0] if isinstance(sent, chain) else sent
                again = member.record.sent_again(first.options["task_id"], now)
                if again is not None:
                    self._recorder.writer.write(again)

    def _value(self, value: Value, queue: str | None) -> Signature:
        options = {} if queue is None else {"queue": queue}
        return self._app.signature(
            _VALUE, args=(value.value,), kwargs={"index": 0}, options=options, immutable=True
        )

    def _again(self, again: Again) -> Signature:
        first = self._app.signature(
            again.record.name,
            args=tuple(again.record.args),
            kwargs=dict(again.record.kwargs),
            options=_options(again.record),
            immutable=True,
        )
        if not again.rest:
            return first
        rest = [Signature.from_dict(dict(each), app=self._app) for each in again.rest]
        return chain(first, *rest, app=self._app)


def _options(record: TaskRecord) -> dict[str, Any]:
    """The options with which *record*'s task was sent, but for its ids and dates."""
    embed, headers = record.embed, record.headers
    own = {
        name: value
        for name, value in headers.items()
        if name not in CELERYS_HEADERS and not name.startswith(_OURS)
    }
    hard, soft = headers.get("timelimit") or (None, None)
    known = {
        "queue": record.queue,
        "priority": record.priority,
        "time_limit": hard,
        "soft_time_limit": soft,
        "shadow": headers.get("shadow"),
        "link": embed.get("callbacks") or None,
        "link_error": embed.get("errbacks") or None,
    }
    found = {name: value for name, value in known.items() if value is not None}
    return {**found, "task_id": uuid(), "headers": {**own, RETRY_OF: record.task_id}}
