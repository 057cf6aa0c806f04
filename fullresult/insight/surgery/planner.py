"""Plans operations on workflows: reads records, and neither writes nor sends."""

from __future__ import annotations

from uuid import uuid4

from fullresult.insight.surgery.healing import MEMBERS, WAYS, Healer
from fullresult.insight.surgery.plan import KNOWN, How, Part, Plan
from fullresult.insight.surgery.records import Later, Records, Refused, is_over, stopper_of
from fullresult.insight.surgery.signatures import (
    TooDeep,
    alone,
    membership_of,
    membership_of_body,
    renewed,
    steps_of,
    tasks_in,
)
from fullresult.insight.surgery.turns import Turn, last_turn, workflow_of
from fullresult.record import NOT_RUN, SUCCESS, TaskRecord
from fullresult.recording.masking import holds_mark
from fullresult.storage import Storage

_DEEPEST = 100
"""Tasks that never ran because another one never ran."""


class Planner:
    """Plans for one storage. Every method raises `StorageError`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._records = Records(storage)

    def plan(self, task_id: str, how: How | None = None, *, take_over: bool = False) -> Plan:
        """The plan of *how*; without one, of what the state of *task_id* calls for.

        With *take_over*, a turn that has not ended is no problem. Raises `LookupError` if neither a
        task nor a group of that id is recorded, nor a task that failed and that it comes after.
        """
        record = self._records.get(task_id)
        first = record or self._in_group(task_id)
        if how in (None, "heal") and (first is None or first.state == NOT_RUN):
            member = self._member_before(record)
            if member is None and (first is None or how == "heal"):
                member = self._before(task_id)
            record, first = (record, first) if member is None else (None, member)
        if first is None:
            raise LookupError(f"no task {task_id!r} is recorded, nor a group")
        how = how or _called_for(first, is_task=record is not None)
        try:
            if how == "heal":
                first = self._records.oldest(self._sent_again_in_its_chord(first))
            named_by = self._records.oldest(first) if how == "resume" else first
            workflow = workflow_of(named_by, how)
            turn = last_turn(self._storage, workflow)
            # The records are read after the turn: what was sent in it is seen, or it goes on.
            plan = self._planned(task_id, how, record, first)
        except (Refused, TooDeep) as error:
            instead = error.instead if isinstance(error, Refused) else None
            return Plan(how, task_id, problem=str(error), instead=instead)
        if turn is None:
            return plan._replace(workflow=workflow)
        is_open = turn.end is None
        plan = plan._replace(workflow=workflow, turn=turn.number, takes_over=is_open)
        problem = self._in_the_way(turn, plan, take_over=take_over)
        if problem is None:
            return plan
        return plan._replace(problem=problem, instead=self._instead(plan, turn))

    def _planned(
        self, task_id: str, how: How, record: TaskRecord | None, first: TaskRecord
    ) -> Plan:
        if how == "heal":
            return Healer(self._records).plan(task_id, first, is_task=record is not None)
        if record is None:
            raise Refused(f"{task_id!r} is no recorded task", f"heal {task_id}")
        return self._fork(record) if how == "fork" else self._resume(record)

    def _in_group(self, group_id: str) -> TaskRecord | None:
        return next(iter(self._records.in_group(group_id, 1)), None)

    def _sent_again_in_its_chord(self, member: TaskRecord) -> TaskRecord:
        """A member of the same chord that names the task in whose place it was sent, if any does.

        Those that stand for a known result name none.
        """
        chord = membership_of(member)
        if chord is None or member.retry_of is not None or member.name != KNOWN:
            return member
        members = self._records.in_group(chord.group_id, MEMBERS)
        return next((each for each in members if each.retry_of is not None), member)

    def _member_before(self, record: TaskRecord | None) -> TaskRecord | None:
        """The task because of which *record* never ran, if it is a member of a chord."""
        for _ in range(_DEEPEST):
            if record is None or record.state != NOT_RUN:
                break
            stopped_by = stopper_of(record)
            record = None if stopped_by is None else self._records.get(stopped_by)
        return record if record is not None and membership_of(record) is not None else None

    def _before(self, body_id: str) -> TaskRecord | None:
        """A member of the chord with that body, which never ran."""
        for page in self._records.unsuccessful():
            for record in page:
                try:
                    chord = membership_of(record)
                    while chord is not None:
                        if any(each == body_id for each, *_ in tasks_in(chord.body)):
                            return record
                        chord = membership_of_body(chord.body)
                except TooDeep:
                    continue
        return None

    # ---- turns

    def _in_the_way(self, turn: Turn, plan: Plan, *, take_over: bool) -> str | None:
        """A sentence about *turn*, if nothing may be sent because of it."""
        if turn.end is None:
            if take_over:
                return None
            return (
                f"{turn.begun.action} of this workflow was begun by {turn.told}, and has not "
                "ended. If that process died, look at what it sent, and take over"
            )
        if turn.begun.action == "fork" or turn.end.outcome != "done":
            return None
        new_ids = turn.end.details.get("new_ids")
        sent = [*new_ids.values()] if isinstance(new_ids, dict) else []
        # A pattern of `fullresult_redact` can match an id by chance.
        told = [each for each in sent if isinstance(each, str) and not holds_mark(each)]
        if (missing := self._records.first_missing(told)) is not None:
            return f"{turn.told} sent it as {missing}, which is not recorded"
        if not take_over and _only_the_body_runs(plan) and not any(map(self._has_failed, sent)):
            return (
                f"{turn.told} healed it, and its body runs when the new members have ended. If "
                "one of their messages is lost, take over"
            )
        return None

    def _has_failed(self, task_id: object) -> bool:
        record = self._records.get(task_id) if isinstance(task_id, str) else None
        return record is not None and is_over(record) and record.state != SUCCESS

    def _instead(self, plan: Plan, turn: Turn) -> str:
        is_taken_over = turn.end is None or _only_the_body_runs(plan)
        if is_taken_over:
            return f"{plan.how} {plan.task_id} --take-over {turn.number}"
        return f"fork {plan.task_id}"

    # ---- resume

    def _resume(self, record: TaskRecord) -> Plan:
        task_id = record.task_id
        if record.state == SUCCESS:
            raise Refused(f"task {task_id} succeeded: nothing broke there", f"fork {task_id}")
        self._records.check_failed(record)
        if membership_of(record) is not None:
            raise Refused(
                f"task {task_id} is a member of a chord, whose body would not be sent",
                f"heal {task_id}",
            )
        self._records.check_not_again(record)
        later = [each for step in steps_of(record) for each in tasks_in(step)]
        self._records.check_never_ran(later, task_id)
        parts = [Part("again", task_id, record.name, is_new=True), *_first(later)]
        ids = tuple(each for each, *_ in later)
        warnings = (WAYS,) if later else ()
        return Plan("resume", task_id, tuple(parts), None, None, warnings, record, forget=ids)

    # ---- fork

    def _fork(self, record: TaskRecord) -> Plan:
        if record.state == NOT_RUN:
            self._records.check_failed(record)
        new: dict[str, str] = {}
        steps = steps_of(record)
        rest = [
            renewed(alone(step), lambda old: new.setdefault(old, str(uuid4()))) for step in steps
        ]
        later = [each for step in steps for each in tasks_in(step)]
        parts = [Part("again", record.task_id, record.name, is_new=True)]
        parts += [
            Part("again", each, name, is_new=True, depth=depth) for each, name, depth in later
        ]
        warnings = []
        if membership_of(record) is not None:
            warnings.append("The new tasks are in no chord: the old one has counted its member.")
        return Plan(
            "fork",
            record.task_id,
            tuple(parts),
            warnings=tuple(warnings),
            record=record,
            rest=tuple(rest),
        )


def _called_for(first: TaskRecord, *, is_task: bool) -> How:
    if not is_task or membership_of(first) is not None:
        return "heal" if not is_task or first.state != SUCCESS else "fork"
    return "fork" if first.state == SUCCESS else "resume"


def _only_the_body_runs(plan: Plan) -> bool:
    """True if all that would be sent is known results, and the body."""
    return plan.how == "heal" and plan.problem is None and next(plan.again(), None) is None


def _first(tasks: Later) -> list[Part]:
    return [Part("first", each, name, depth=below) for each, name, below in tasks]
