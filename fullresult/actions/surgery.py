"""Operations on workflows that broke: planned, done, and written to the audit log."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.backends.base import DisabledBackend
from celery.canvas import Signature, chain, chord
from celery.result import AsyncResult
from celery.states import PROPAGATE_STATES
from celery.utils import uuid

from fullresult.actions.audit import Actor, Trail, problem_of
from fullresult.actions.errors import CannotResend
from fullresult.actions.forgotten import Forgotten
from fullresult.actions.resend import Resender, check
from fullresult.actions.turns import Taken, take_turn
from fullresult.insight.surgery.plan import KNOWN, Again, How, Item, Plan, Value
from fullresult.insight.surgery.planner import Planner
from fullresult.insight.surgery.signatures import body_alone, tasks_in
from fullresult.insight.surgery.turns import last_turn
from fullresult.record import TaskRecord, encoding
from fullresult.record.headers import RETRY_OF
from fullresult.recording.capture import CELERYS_HEADERS
from fullresult.results.backend import FullResultBackend
from fullresult.storage import ResultStorage, StorageError

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage

logger = logging.getLogger(__name__)

_SEEN = timedelta(minutes=1)
"""The time after a member's end in which its chord, and those around it, have failed."""
_POLLED = (
    "the chord has not failed yet: the task that polls its members (celery.chord_unlock) has still "
    "to see that; try again in a few seconds"
)
_UNTOLD = (
    "the chord has not failed yet: the worker of the last member has still to tell its body so; "
    "try again in a few seconds"
)

_UNSEEN = (
    "what is taken over was not looked at: call plan(take_over=True) first, or give the turn of a "
    "plan that was shown"
)

_OURS = "fullresult_"
"""Headers that begin so tell how the first message was sent."""


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
        self._seen: int | None = None
        """The turn at which the last plan was made."""

    def plan(self, *, take_over: bool = False) -> Plan:
        """What would be done. Raises `LookupError` for an unknown id.

        With *take_over*, a turn that somebody else began and has not ended is no problem.
        """
        plan = self._plan(take_over=take_over)
        self._seen = plan.turn
        return plan

    def _plan(self, *, take_over: bool) -> Plan:
        plan = Planner(self._storage).plan(self._task_id, self._how, take_over=take_over)
        if plan.problem is None and plan.record is not None:
            try:
                check(plan.record, self._args, self._kwargs, plan.rest or None)
            except CannotResend as error:
                return plan._replace(problem=str(error))
        if plan.problem is None and plan.body is not None:
            try:
                return plan._replace(problem=self._still_to_fail(plan))
            except StorageError:
                raise
            except Exception as error:  # noqa: BLE001  # A backend may raise anything.
                told = problem_of(error)
                return plan._replace(problem=f"the result backend does not answer: {told}")
        return plan

    def _still_to_fail(self, plan: Plan) -> str | None:
        """Why the chord may still be to fail, which would fail the body that we send; or None."""
        backend = self._app.backend
        is_ours = isinstance(backend, FullResultBackend)
        if isinstance(backend, DisabledBackend) or (backend.supports_native_join and not is_ours):
            return None  # Celery's others tell the body before the member's end is recorded.
        if plan.takes_over:  # Whoever began it saw that it had failed, and had the error forgotten.
            return None
        ends = (each.date_done if is_ours else each.date_updated for each in plan.again())
        failed = max((end for end in ends if end is not None), default=None)
        if failed is None or abs(self._storage.now() - failed) > _SEEN:
            return None
        assert plan.workflow is not None
        # Those of the outermost body, which fails last; of a chain, one step is told so.
        bodies = {plan.workflow.task_id, *(each for each, *_ in tasks_in(plan.body))}
        if any(backend.get_state(each) in PROPAGATE_STATES for each in bodies):
            return None
        return _UNTOLD if is_ours else _POLLED

    def run(self, *, take_over: bool = False, turn: int | None = None) -> AsyncResult[Any]:
        """Do it. Returns the result of the task that was sent, or of the chord's body.

        *turn* is that of the plan that a person saw; without it, that of the last `plan()`, if
        there was one. If somebody took a turn since then, or takes it at this moment, nothing is
        sent.
        With *take_over*, a turn that was begun and never ended is taken over: make sure that its
        process is dead. That must be the turn of a plan that was seen: who came first at taking
        over a dead one has a turn that goes on.

        Raises `CannotResend`, and sends nothing, if the plan has a problem; `LookupError`; the
        broker's errors; `StorageError`, before the first message is sent.
        """
        plan = self._plan(take_over=take_over)
        changed = [n for n in ("args", "kwargs") if getattr(self, f"_{n}") is not None]
        details: dict[str, Any] = {"changed": changed} if changed else {}
        redactor = self._recorder.redactor
        try:
            if plan.problem is not None:
                raise CannotResend(plan.problem)
            seen = self._seen if turn is None else turn
            if seen is None and take_over:
                raise CannotResend(_UNSEEN)
            if seen not in (None, plan.turn):
                raise CannotResend(_said_of_last(self._storage, plan))
            taken = take_turn(self._storage, redactor, self._actor, plan, details)
        except StorageError:
            raise
        except Exception as error:
            trail = Trail(self._storage, redactor, self._actor, plan.how, details)
            trail.write_problem([self._task_id], error)
            raise
        return self._done(plan, taken)

    def _done(self, plan: Plan, taken: Taken) -> AsyncResult[Any]:
        kept = Forgotten(self._app, self._storage, self._recorder, plan.forget)
        try:
            kept.forget()
            self._forget_chords(plan)
            result, new_ids = self._sent(plan)
        except BaseException as error:
            with suppress(Exception):  # what it was raises, and not that it could not be put back
                kept.put_back()
            taken.end("failed", {"problem": problem_of(error)})
            raise
        taken.end("done", {"new_ids": new_ids})
        return result

    def _forget_chords(self, plan: Plan) -> None:
        """Else a worker that counts a member left out would send the body, too, or let it fail."""
        if not isinstance(self._storage, ResultStorage):
            return
        try:
            for group_id in plan.chords:
                self._storage.forget_chord(encoding.key(group_id))
        except StorageError as error:  # a role that may not: nobody need be kept from going on
            logger.warning(
                "fullresult: a worker that counts members of %s may send its body, too: %s",
                *(plan.task_id, error),
            )

    def _sent(self, plan: Plan) -> tuple[AsyncResult[Any], dict[str, str]]:
        """Send it. Returns the new id of each task that runs again, too."""
        if plan.record is None:
            return self._heal(plan)
        resender = Resender(self._app, self._recorder)
        result = resender.resend(plan.record, self._args, self._kwargs, {}, plan.rest or None)
        return result, {plan.record.task_id: str(result.id)}

    def _heal(self, plan: Plan) -> tuple[AsyncResult[Any], dict[str, str]]:
        assert plan.body is not None
        again = list(plan.again())
        new = {record.task_id: uuid() for record in again}
        queue = next((record.queue for record in again), None)
        header = [self._item(item, queue, new) for item in plan.header]
        body = Signature.from_dict(body_alone(plan.body), app=self._app)
        result: AsyncResult[Any] = chord(header, body, app=self._app).apply_async()
        try:
            self._mark(again, new)
        except Exception:  # it was sent: an error would have the caller send it twice
            logger.exception(
                "fullresult: the members of %s are not marked as sent again", result.id
            )
        return result, new

    def _mark(self, again: Sequence[TaskRecord], new: Mapping[str, str]) -> None:
        """Note what was sent again: it is dealt with."""
        now = datetime.now(timezone.utc)
        for record in again:
            event = record.sent_again(new[record.task_id], now)
            if event is not None:
                self._recorder.writer.write(event)

    def _item(self, item: Item, queue: str | None, new: Mapping[str, str]) -> Signature:
        if isinstance(item, Value):
            return self._value(item, queue)
        if isinstance(item, Again):
            return self._again(item, new[item.record.task_id])
        header = [self._item(each, queue, new) for each in item.header]
        return chord(header, Signature.from_dict(dict(item.body), app=self._app), app=self._app)

    def _value(self, value: Value, queue: str | None) -> Signature:
        """Sent where a member runs again: there is a worker, or the body would not run anyway."""
        where = queue or value.queue
        options = {"ignore_result": False, **({} if where is None else {"queue": where})}
        return self._app.signature(
            KNOWN, args=(value.value,), kwargs={"index": 0}, options=options, immutable=True
        )

    def _again(self, again: Again, new_id: str) -> Signature:
        first = self._app.signature(
            again.record.name,
            args=tuple(again.record.args),
            kwargs=dict(again.record.kwargs),
            options=_options(again.record, new_id),
            immutable=True,
        )
        if not again.rest:
            return first
        rest = [Signature.from_dict(dict(each), app=self._app) for each in again.rest]
        return chain(first, *rest, app=self._app)


def _options(record: TaskRecord, new_id: str) -> dict[str, Any]:
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
    return {**found, "task_id": new_id, "headers": {**own, RETRY_OF: record.task_id}}


def _said_of_last(storage: Storage, plan: Plan) -> str:
    turn = None if plan.workflow is None else last_turn(storage, plan.workflow)
    if turn is None:
        return "somebody operated on this workflow since its plan was shown: look at it again"
    return (
        f"{turn.begun.action} of this workflow was begun by {turn.told}, after its plan was shown: "
        "look at it again"
    )
