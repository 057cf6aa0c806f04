"""Plans operations on workflows: reads records, and neither writes nor sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from fullresult.insight.surgery.plan import Again, How, Part, Plan, Value
from fullresult.insight.surgery.signatures import (
    Membership,
    TooDeep,
    alone,
    body_alone,
    is_group,
    membership_of,
    options_of,
    renewed,
    size_of,
    steps_of,
    tasks_in,
)
from fullresult.record import (
    FINISHED,
    IGNORED,
    NOT_RUN,
    SUCCESS,
    UNSENT,
    TaskQuery,
    TaskRecord,
    encoding,
)
from fullresult.recording.masking import holds_mark
from fullresult.storage import Storage

_MEMBERS = 10_000
_AGAIN = 50
_PAGE = 500
_LOOKED = 2_000
"""Records that failed and are looked at for a member of a chord that is a chain."""
_SOON = timedelta(minutes=1)
"""A body is published this soon after the last member has ended, at the latest."""
_VALUES = ("json", "text")
"""Forms of a result that are the value; the others are texts for people, and None is no result."""
_WAYS = "Whoever waited for the first result was told of the failure, and errbacks were called."


class Refused(Exception):
    """The operation cannot be done, and what can."""

    def __init__(self, problem: str, instead: str | None = None) -> None:
        super().__init__(problem)
        self.instead = instead


class Planner:
    """Plans for one storage. Every method raises `StorageError`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def plan(self, task_id: str, how: How | None = None) -> Plan:
        """The plan of *how*; without one, of what the state of *task_id* calls for.

        Raises `LookupError` if neither a task nor a group of that id is recorded.
        """
        record = self._storage.get(encoding.key(task_id))
        if record is None and not self._in_group(task_id, 1):
            raise LookupError(f"no task {task_id!r} is recorded, nor a group")
        how = how or self._called_for(record)
        try:
            if how == "heal":
                return self._heal(task_id, record)
            if record is None:
                raise Refused(f"{task_id!r} is a group and no task", f"heal {task_id}")
            return self._fork(record) if how == "fork" else self._resume(record)
        except (Refused, TooDeep) as error:
            instead = error.instead if isinstance(error, Refused) else None
            return Plan(how, task_id, problem=str(error), instead=instead)

    def _called_for(self, record: TaskRecord | None) -> How:
        if record is None or membership_of(record) is not None:
            return "heal" if record is None or record.state != SUCCESS else "fork"
        return "fork" if record.state == SUCCESS else "resume"

    # ---- resume

    def _resume(self, record: TaskRecord) -> Plan:
        task_id = record.task_id
        if record.state == SUCCESS:
            raise Refused(f"task {task_id} succeeded: nothing broke there", f"fork {task_id}")
        self._check_failed(record)
        if membership_of(record) is not None:
            raise Refused(
                f"task {task_id} is a member of a chord, whose body would not be sent",
                f"heal {task_id}",
            )
        self._check_not_again(record)
        later = [each for step in steps_of(record) for each in tasks_in(step)]
        self._check_never_ran(later, task_id)
        parts = [Part("again", task_id, record.name, is_new=True), *_first(later)]
        ids = tuple(each for each, *_ in later)
        warnings = (_WAYS,) if later else ()
        return Plan("resume", task_id, tuple(parts), None, None, warnings, record, forget=ids)

    def _check_failed(self, record: TaskRecord) -> None:
        if record.state == NOT_RUN:
            stopped_by = record.notes.get("args", "").partition("task ")[2].partition(" ")[0]
            instead = f"resume {stopped_by}" if stopped_by else None
            raise Refused(f"task {record.task_id} never ran: another one failed", instead)
        if record.state not in FINISHED and record.state != UNSENT:
            raise Refused(f"task {record.task_id} is {record.state}: it has not ended")
        if record.state == IGNORED and record.children:
            # Its record is IGNORED while the chain or chord that replaced it is at work.
            raise Refused(
                f"task {record.task_id} is IGNORED, and published {record.children[0]}: it may "
                "have replaced itself, and go on as that"
            )

    def _check_not_again(self, record: TaskRecord) -> None:
        for again in self._resends(record):
            if again.state == SUCCESS or again.state not in FINISHED:
                raise Refused(
                    f"task {record.task_id} was sent again as {again.task_id}, which is "
                    f"{again.state}",
                    f"fork {record.task_id}",
                )
        self._check_resent_is_known(record)

    def _check_resent_is_known(self, record: TaskRecord) -> None:
        """A re-send may have succeeded before its record was deleted."""
        again = record.resent_as
        if again is not None and self._storage.get(again) is None:
            raise Refused(
                f"task {record.task_id} was sent again as {again}, which is not recorded",
                f"fork {record.task_id}",
            )

    def _check_never_ran(self, tasks: Iterable[tuple[str, str, int]], task_id: str) -> None:
        for later, name, _ in tasks:
            found = self._storage.get(encoding.key(later))
            if found is not None and found.state not in (NOT_RUN, UNSENT) and _was_sent(found):
                raise Refused(
                    f"{name} ({later}), which comes later, was sent already: it is {found.state}",
                    f"fork {task_id}",
                )

    def _resends(self, record: TaskRecord) -> list[TaskRecord]:
        query = TaskQuery(retry_of=record.task_id, order="newest", limit=_AGAIN)
        return self._storage.find(query)

    # ---- fork

    def _fork(self, record: TaskRecord) -> Plan:
        if record.state == NOT_RUN:
            self._check_failed(record)
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

    # ---- heal

    def _heal(self, task_id: str, record: TaskRecord | None) -> Plan:
        first = record or next(iter(self._in_group(task_id, 1)))
        chord = membership_of(first)
        if chord is None:
            instead = f"resume {task_id}" if record is not None else None
            raise Refused(f"{task_id} is no member of a chord", instead)
        body = body_alone(chord.body)
        self._check_body(body, task_id)
        members = self._members(first, chord)
        header, parts, takes = [], [], not body.get("immutable")
        for index in sorted(members):
            item, part = self._member(members[index], takes)
            header.append(item)
            parts.append(part)
        again = [part for part in parts if part.fate == "again"]
        if not again and not self._is_settled(members.values()):
            raise Refused("all members have succeeded a moment ago: the body is about to be sent")
        bodies = list(tasks_in(body))
        rests = [each for item in header if isinstance(item, Again) for each in _tasks(item.rest)]
        parts += _first([*rests, *bodies], depth=1)
        return Plan(
            "heal",
            task_id,
            tuple(parts),
            warnings=(_WAYS, *_size_in_doubt(chord, len(members)), *_as_json(header)),
            header=tuple(header),
            body=body,
            forget=tuple(each for each, *_ in [*rests, *bodies]),
        )

    def _check_body(self, body: dict[str, object], task_id: str) -> None:
        if is_group(body):
            raise Refused(
                "the body is a group, which Celery revoked when the chord failed: its workers "
                "refuse those ids"
            )
        if options_of(body).get("chord"):
            raise Refused("the body is itself a member of another chord, which cannot be healed")
        if holds_mark(body):
            raise Refused("a part of the body is redacted: it cannot run")
        bodies = list(tasks_in(body))
        if not bodies:
            raise Refused("the id of the body is not in the record")
        self._check_never_ran(bodies, task_id)

    def _members(self, first: TaskRecord, chord: Membership) -> dict[int, TaskRecord]:
        """The record of each member by its place: of one that is a chain, the step that stands."""
        found: dict[int, TaskRecord] = {}
        size = size_of(chord.body)
        for records in self._of_chord(first, chord):
            for record in records:
                known = membership_of(record)
                if known and known.group_id == chord.group_id and known.place is not None:
                    found[known.place] = _better(found.get(known.place), record)
            if size is not None and len(found) >= size:
                break
        whole = range(max(size or 0, *(index + 1 for index in found), 0))
        if lacking := [index for index in whole if index not in found]:
            raise Refused(
                f"of the chord's {len(whole)} members, {len(lacking)} are not recorded, the first "
                f"of them number {lacking[0]}"
            )
        return found

    def _of_chord(self, first: TaskRecord, chord: Membership) -> Iterator[list[TaskRecord]]:
        """Records among which the members are; each list is dearer than the one before."""
        # A member that is a chain names the chord in its last step alone, until that is published.
        root = first.root_id or first.task_id
        near = self._storage.find(TaskQuery(root_id=root, order="oldest", limit=_MEMBERS))
        yield [first, *self._in_group(chord.group_id, _MEMBERS), *near]
        since = first.date_created - timedelta(days=1)
        query = TaskQuery(not_state=(SUCCESS,), since=since, limit=_PAGE)
        for _ in range(_LOOKED // _PAGE):
            page = self._storage.find(query)
            yield page
            if len(page) < _PAGE:
                return
            query = replace(query, after=page[-1].cursor)

    def _in_group(self, group_id: str, most: int) -> list[TaskRecord]:
        query = TaskQuery(group_id=encoding.key(group_id), order="oldest", limit=most)
        return self._storage.find(query)

    def _member(self, record: TaskRecord, body_takes: bool) -> tuple[Value | Again, Part]:
        known = membership_of(record)
        assert known is not None
        ended = self._ended(record, known)
        if ended is not None:
            if body_takes:
                _check_value(ended)
            return Value(ended.result), Part("kept", ended.task_id, ended.name)
        self._check_failed(record)
        rest = tuple(alone(step) for step in steps_of(record))
        later = [each for step in rest for each in tasks_in(step)]
        self._check_never_ran(later, record.task_id)
        _check_whole(record)
        why = record.exception_type and record.exception_type.rpartition(".")[2]
        part = Part("again", record.task_id, record.name, is_new=True, why=why)
        return Again(record, rest), part

    def _ended(self, record: TaskRecord, known: Membership) -> TaskRecord | None:
        """The record with the member's result: its own, its last step's, or a re-send's."""
        resends, is_chain = self._resends(record), known.last_id != record.task_id
        last = self._storage.get(encoding.key(known.last_id)) if is_chain else record
        for each in [last, *resends]:
            if each is None:
                continue
            if each.state == SUCCESS and (each is last or not is_chain):
                return each
            if each.state not in FINISHED and each.state != UNSENT:
                raise Refused(f"member {each.task_id} is {each.state}: it has not ended")
            if each is not record and each.state not in (SUCCESS, NOT_RUN) and membership_of(each):
                raise Refused(
                    f"member {record.task_id} was healed before, and {each.task_id} failed then",
                    f"heal {each.task_id}",
                )
        if record.state == SUCCESS or (is_chain and any(r.state == SUCCESS for r in resends)):
            raise Refused(f"the step after {record.task_id} is on its way, or was not recorded")
        self._check_resent_is_known(record)
        return None

    def _is_settled(self, members: Iterable[TaskRecord]) -> bool:
        """True if the body should have been sent by now, all members having succeeded."""
        ends: list[datetime] = []
        for record in members:
            ends += [each.date_updated for each in (record, *self._resends(record))]
        return max(ends) < self._storage.now() - _SOON


def _first(tasks: Iterable[tuple[str, str, int]], depth: int = 0) -> list[Part]:
    return [Part("first", each, name, depth=depth + below) for each, name, below in tasks]


def _tasks(rest: Iterable[dict[str, object]]) -> list[tuple[str, str, int]]:
    return [each for step in rest for each in tasks_in(step)]


def _better(known: TaskRecord | None, record: TaskRecord) -> TaskRecord:
    """Of two records of one member, the later step."""
    if known is None or known.task_id == record.task_id:
        return record
    return record if len(steps_of(record)) < len(steps_of(known)) else known


def _was_sent(record: TaskRecord) -> bool:
    """False for the end that a result backend was told of a task that never ran.

    What waits for its ETA in the storage was sent, though not to the broker.
    """
    if record.state not in FINISHED:
        return True
    return bool(record.executions) or record.date_published is not None


def _size_in_doubt(chord: Membership, known: int) -> tuple[str, ...]:
    """A warning for a chord whose messages do not tell its size, as those of most backends."""
    if size_of(chord.body) is not None:
        return ()
    warning = (
        f"The size of the chord is not recorded: {known} members are, the last of them number "
        f"{known - 1}. If there were more, the body would lack their results."
    )
    return (warning,)


def _check_value(ended: TaskRecord) -> None:
    if ended.result_form is None:
        raise Refused(f"the result of task {ended.task_id} was not kept")
    if ended.result_form not in _VALUES:
        raise Refused(
            f"the result of task {ended.task_id} was not kept as a value (it is a text, "
            f"{ended.result_form!r})"
        )
    if holds_mark(ended.result):
        raise Refused(f"a part of the result of task {ended.task_id} is redacted")


def _check_whole(record: TaskRecord) -> None:
    if record.redacted:
        raise Refused(f"a part of task {record.task_id} is redacted: it cannot run again")
    if record.args is None or record.kwargs is None or record.name is None:
        raise Refused(f"the arguments of task {record.task_id} were not kept")
    sent = record.sent
    if sent is None or (sent.body is None and sent.content_type is None):
        why = record.notes.get("body", "no body")
        raise Refused(f"the exact arguments of task {record.task_id} were not kept ({why})")


def _as_json(header: Iterable[Value | Again]) -> tuple[str, ...]:
    """A warning for arguments that are known as JSON alone, as a pickle is never decoded."""
    records = [item.record for item in header if isinstance(item, Again)]
    kinds = {each.sent.content_type for each in records if each.sent is not None}
    if all(map(encoding.is_readable, kinds)):
        return ()
    return (
        "Arguments that were pickled are sent as JSON has them: tuples as lists, keys as text.",
    )
