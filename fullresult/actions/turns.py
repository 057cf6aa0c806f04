"""Takes turns at workflows, and ends them: see `fullresult.insight.surgery.turns`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fullresult.actions.audit import Actor, AuditLog, new_entry_id
from fullresult.actions.errors import CannotResend
from fullresult.insight.surgery.plan import Plan
from fullresult.insight.surgery.turns import BEGUN, last_turn
from fullresult.storage import AuditStorage, Storage, StorageError

if TYPE_CHECKING:
    from fullresult.recording.redaction import Redactor

logger = logging.getLogger(__name__)


class Taken:
    """A turn that this process has. `end` is called once."""

    def __init__(
        self, log: AuditLog | None, actor: Actor, plan: Plan, details: Mapping[str, Any]
    ) -> None:
        self._log, self._actor, self._plan = log, actor, plan
        self._details = {**details, **actor.details}

    def end(self, outcome: str, details: Mapping[str, Any]) -> None:
        """Write how it ended. The actor is told if that cannot be written: all was done."""
        plan = self._plan
        if self._log is None or plan.workflow is None:
            return
        who = (self._actor.name, plan.how, plan.task_id, outcome)
        logger.info("fullresult: %s did %s from task %r: %s", *who)
        entry_id = plan.workflow.end_id(plan.turn + 1, new_entry_id())
        every = {**self._details, **details}
        try:
            self._log.write(
                plan.how, self._actor.name, _tasks_of(plan), every, outcome, entry_id=entry_id
            )
        except StorageError as error:
            self._actor.unwritten(str(error))


def take_turn(
    storage: Storage,
    redactor: Redactor | None,
    actor: Actor,
    plan: Plan,
    details: Mapping[str, Any],
) -> Taken:
    """The turn after the one that *plan* was made at, as an entry in the audit log.

    Raises `CannotResend` if somebody else took it, and `StorageError`. A storage that keeps no
    audit log gives everybody a turn.
    """
    if not isinstance(storage, AuditStorage) or plan.workflow is None:
        return Taken(None, actor, plan, details)
    number, token = plan.turn + 1, uuid4().hex
    own = {**details, **actor.details, "pid": os.getpid(), "turn": token}
    # Not redacted: a rule could hide the token, and nothing here is of the task's arguments.
    AuditLog(storage).write(
        *(plan.how, actor.name, _tasks_of(plan), own, BEGUN),
        entry_id=plan.workflow.begun_id(number),
    )
    # What is kept tells who was first, also if the answer to the write was lost.
    turn = last_turn(storage, plan.workflow)
    if turn is None or turn.number != number or turn.begun.details.get("turn") != token:
        who = "somebody" if turn is None else turn.told
        how = plan.how if turn is None else turn.begun.action
        raise CannotResend(f"{how} of this workflow was begun by {who}: look at what became of it")
    return Taken(AuditLog(storage, redactor), actor, plan, details)


def _tasks_of(plan: Plan) -> Iterable[str]:
    assert plan.workflow is not None
    return [plan.task_id, plan.workflow.task_id]
