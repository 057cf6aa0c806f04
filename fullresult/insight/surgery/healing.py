"""Plans how the body of a chord runs after all: which members are kept, and which run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from fullresult.insight.surgery.plan import Again, Inner, Item, Part, Plan, Value, again_in
from fullresult.insight.surgery.records import Records, Refused, is_over
from fullresult.insight.surgery.signatures import (
    Membership,
    Signature,
    TooDeep,
    alone,
    body_alone,
    is_group,
    membership_of,
    membership_of_body,
    renewed,
    size_of,
    steps_after,
    steps_of,
    tasks_in,
    with_its_steps,
)
from fullresult.record import SUCCESS, UNSENT, TaskQuery, TaskRecord, encoding
from fullresult.recording.masking import holds_mark

MEMBERS = 10_000
_NESTED = 20
"""Chords in chords."""
_SOON = timedelta(minutes=1)
"""A body is published this soon after the last member has ended, at the latest."""
_VALUES = ("json", "text")
"""Forms of a result that are the value; the others are texts for people, and None is no result."""
_INSTEAD = "send it again, and heal when that has succeeded"
WAYS = "Whoever waited for the first result was told of the failure, and errbacks were called."


class Members(NamedTuple):
    """What is known of the members of one chord, by their place in its header."""

    records: dict[int, TaskRecord]
    """Of a member that is a chain, the step that stands."""
    inner: dict[int, tuple[Membership, TaskRecord]]
    """Members that are chords whose body never ran, each with one of its members."""


class Healer:
    """Plans to heal one chord. Every method raises `StorageError`, `Refused` and `TooDeep`."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._ends: list[datetime] = []
        """When the members were last heard of."""
        self._chords: list[str] = []

    def plan(self, task_id: str, first: TaskRecord, *, is_task: bool) -> Plan:
        """The plan for the outermost chord around *first*, one of its members."""
        chord = membership_of(first)
        if chord is None:
            instead = f"resume {task_id}" if is_task else None
            raise Refused(f"{task_id} is no member of a chord", instead)
        while (outer := membership_of_body(chord.body)) is not None:
            chord = outer
        body = body_alone(chord.body)
        self._check_body(body, task_id)
        header, parts = self._header(first, chord, 0)
        if not any(True for _ in again_in(header)):
            self._check_settled()
        old = list(tasks_in(body))
        if group := is_group(body):
            body = _under_new_ids(body)
        rests = [each for item in _flat(header) for each in _later(item)]
        firsts = [Part("first", each, name, depth=1 + below) for each, name, below in rests]
        firsts += [Part("first", each, name, group, 1 + below) for each, name, below in old]
        warnings = [WAYS, *_size_in_doubt(chord, len(header)), *_as_json(header)]
        if group:
            warnings.append(
                "The body is a group, whose tasks Celery revoked when the chord failed: they run "
                "under new ids, and the first caller's result stays a failure."
            )
        forget = [each for each, *_ in [*rests, *([] if group else old)]]
        return Plan(
            "heal",
            task_id,
            (*parts, *firsts),
            warnings=tuple(warnings),
            header=tuple(header),
            body=body,
            forget=tuple(forget),
            chords=tuple(self._chords),
        )

    # ---- the body

    def _check_body(self, body: Signature, task_id: str) -> None:
        if holds_mark(body):
            raise Refused("a part of the body is redacted: it cannot run")
        bodies = list(tasks_in(body))
        if not bodies:
            raise Refused("the id of the body is not in the record")
        if not is_group(body):
            self._records.check_never_ran(bodies, task_id)
            return
        if _ends_in_chord(body):
            raise Refused(
                "the body is a group whose tasks are members of another chord: Celery revoked "
                "them, and that chord waits for their ids",
                f"fork {task_id}",
            )
        for each, name, _ in bodies:
            found = self._records.get(each)
            if found is not None and found.executions:
                self._records.check_never_ran([(each, name, 0)], task_id)
            if again := [r for r in self._records.resends(each) if r.state != UNSENT]:
                raise Refused(
                    f"{name} ({each}) of the body was sent as {again[0].task_id}, which is "
                    f"{again[0].state}",
                    f"fork {task_id}",
                )

    def _check_settled(self) -> None:
        """That the body should have been sent by now, all members having succeeded."""
        if max(self._ends) >= self._records.storage.now() - _SOON:
            raise Refused("all members have succeeded a moment ago: the body is about to be sent")

    # ---- the members

    def _header(
        self, first: TaskRecord, chord: Membership, depth: int
    ) -> tuple[list[Item], list[Part]]:
        """The members in their order; those of a chord in it stand one deeper."""
        if depth > _NESTED:
            raise TooDeep(f"chords are nested more than {_NESTED} levels deep")
        takes = not chord.body.get("immutable")
        self._chords.append(chord.group_id)
        members = self._members(first, chord)
        header: list[Item] = []
        parts: list[Part] = []
        for place in sorted({*members.records, *members.inner}):
            if place in members.records and not self._is_past(members, place):
                item, part = self._member(members.records[place], takes)
                header.append(item)
                parts.append(part._replace(depth=depth))
            else:
                inner, one = members.inner[place]
                self._check_body(inner.body, one.task_id)
                below, some = self._header(one, inner, depth + 1)
                header.append(Inner(tuple(below), with_its_steps(body_alone(inner.body))))
                parts += some
        return header, parts

    def _is_past(self, members: Members, place: int) -> bool:
        """True if the member is a chain that went on to a chord, in which it broke."""
        if place not in members.inner:
            return False
        stands = self._records.standing(members.records[place])
        inner, _ = members.inner[place]
        return stands.state == SUCCESS and len(steps_of(stands)) > steps_after(inner.body)

    def _members(self, first: TaskRecord, chord: Membership) -> Members:
        found = Members({}, {})
        size = size_of(chord.body)
        for records in self._of_chord(first, chord):
            for record in records:
                _place(record, chord.group_id, found)
            if size is not None and len({*found.records, *found.inner}) >= size:
                break
        known = {*found.records, *found.inner}
        if not known:
            raise Refused("the messages of the chord's members do not tell their places in it")
        # By numbers alone: a message may name any place.
        whole = max(size or 0, *(place + 1 for place in known), 0)
        if whole > len(known):
            lacking = next(place for place in range(whole) if place not in known)
            raise Refused(
                f"of the chord's {whole} members, {whole - len(known)} are not recorded, the first "
                f"of them number {lacking}"
            )
        return found

    def _of_chord(self, first: TaskRecord, chord: Membership) -> Iterator[list[TaskRecord]]:
        """Records among which the members are; each list is dearer than the one before."""
        # A member that is a chain names the chord in its last step alone, until that is published.
        root = first.root_id or first.task_id
        near = TaskQuery(root_id=root, order="oldest", limit=MEMBERS)
        in_group = self._records.in_group(chord.group_id, MEMBERS)
        yield [first, *in_group, *self._records.storage.find(near)]
        yield from self._records.unsuccessful(first.date_created - timedelta(days=1))

    def _member(self, record: TaskRecord, body_takes: bool) -> tuple[Value | Again, Part]:
        stands = self._records.standing(record)
        self._ends.append(stands.date_updated)
        steps = steps_of(stands)
        if steps and is_group(steps[-1]):
            raise Refused(
                f"member {stands.task_id} is a chain that ends in a group: Celery gives its tasks "
                "places in the chord that other members have"
            )
        if stands.state == SUCCESS:
            if steps:
                raise Refused(f"the step after {stands.task_id} is on its way, or not recorded")
            if body_takes:
                stands = self._with_value(stands)
            return Value(stands.result, stands.queue), Part("kept", stands.task_id, stands.name)
        if not is_over(stands):
            raise Refused(f"member {stands.task_id} is {stands.state}: it has not ended")
        self._records.check_failed(stands)
        rest = tuple(alone(step) for step in steps)
        later = [each for step in rest for each in tasks_in(step)]
        self._records.check_never_ran(later, stands.task_id)
        _check_whole(stands)
        why = stands.exception_type and stands.exception_type.rpartition(".")[2]
        part = Part("again", stands.task_id, stands.name, is_new=True, why=why)
        return Again(stands, rest), part

    def _with_value(self, ended: TaskRecord) -> TaskRecord:
        """*ended*, or what was sent in its place and returned a value that is known."""
        problem = _not_known(ended)
        if problem is None:
            return ended
        for again in self._records.resends(ended.task_id):
            if again.state == SUCCESS and not steps_of(again) and _not_known(again) is None:
                return again
        raise Refused(f"{problem}: {_INSTEAD}", f"resend {ended.task_id}")


def _place(record: TaskRecord, group_id: str, found: Members) -> None:
    """Note *record* in *found* if it, or the chord that it is in, is a member of that group."""
    known = membership_of(record)
    for _ in range(_NESTED):
        if known is None:
            return
        if known.group_id == group_id and known.place is not None:
            found.records[known.place] = _better(found.records.get(known.place), record)
            return
        outer = membership_of_body(known.body)
        if outer is not None and outer.group_id == group_id and outer.place is not None:
            before = found.inner.setdefault(outer.place, (known, record))
            if steps_after(known.body) < steps_after(before[0].body):  # a later one of its chain
                found.inner[outer.place] = (known, record)
            return
        known = outer


def _better(known: TaskRecord | None, record: TaskRecord) -> TaskRecord:
    """Of two records of one member, the later step. Raises `Refused` if they are of two."""
    if known is None or known.task_id == record.task_id:
        return record
    if known.retry_of is None and record.retry_of is None and _last_id(known) != _last_id(record):
        raise Refused(
            f"tasks {known.task_id} and {record.task_id} have the same place in the chord, as when "
            "a member is a chain that ends in a group: whose result goes where is not known"
        )
    return record if len(steps_of(record)) < len(steps_of(known)) else known


def _last_id(record: TaskRecord) -> str | None:
    known = membership_of(record)
    return None if known is None else known.last_id


def _ends_in_chord(group: Signature) -> bool:
    kwargs = group.get("kwargs")
    tasks = kwargs.get("tasks") if isinstance(kwargs, Mapping) else None
    return any(
        isinstance(task, Mapping) and membership_of_body(dict(task)) is not None
        for task in (tasks if isinstance(tasks, list) else [])
    )


def _under_new_ids(body: Signature) -> Signature:
    new: dict[str, str] = {}
    found: Signature = renewed(body, lambda old: new.setdefault(old, str(uuid4())), marked=True)
    return found


def _flat(header: Iterable[Item]) -> Iterator[Again | Inner]:
    for item in header:
        if isinstance(item, Inner):
            yield from _flat(item.header)
            yield item
        elif isinstance(item, Again):
            yield item


def _later(item: Again | Inner) -> list[tuple[str, str, int]]:
    """The tasks that *item* runs at last: later steps, or the body."""
    some = item.rest if isinstance(item, Again) else (item.body,)
    return [each for signature in some for each in tasks_in(signature)]


def _size_in_doubt(chord: Membership, known: int) -> tuple[str, ...]:
    """A warning for a chord whose messages do not tell its size, as those of most backends."""
    if size_of(chord.body) is not None:
        return ()
    warning = (
        f"The size of the chord is not recorded: {known} members are, the last of them number "
        f"{known - 1}. If there were more, the body would lack their results."
    )
    return (warning,)


def _not_known(ended: TaskRecord) -> str | None:
    """Why the value that the task returned is not known; None if it is."""
    if ended.result_form is None:
        return f"the result of task {ended.task_id} was not kept"
    if ended.result_form not in _VALUES:
        return (
            f"the result of task {ended.task_id} was not kept as a value (it is a text, "
            f"{ended.result_form!r})"
        )
    if holds_mark(ended.result):
        return f"a part of the result of task {ended.task_id} is redacted"
    return None


def _check_whole(record: TaskRecord) -> None:
    """That the arguments of *record* are known as they are."""
    sent, problem = record.sent, None
    if record.redacted:
        problem = f"a part of task {record.task_id} is redacted: it cannot run again"
    elif record.args is None or record.kwargs is None or record.name is None:
        problem = f"the arguments of task {record.task_id} were not kept"
    elif sent is None or (sent.body is None and sent.content_type is None):
        why = record.notes.get("body", "no body")
        problem = f"the exact arguments of task {record.task_id} were not kept ({why})"
    if problem is not None and not steps_of(record):
        problem = f"{problem}; with new arguments, in Python or on its page, {_INSTEAD}"
    if problem is not None:
        raise Refused(problem)


def _as_json(header: Iterable[Item]) -> tuple[str, ...]:
    """A warning for arguments that are known as JSON alone, as a pickle is never decoded."""
    kinds = {each.sent.content_type for each in again_in(header) if each.sent is not None}
    if all(map(encoding.is_readable, kinds)):
        return ()
    return (
        "Arguments that were pickled are sent as JSON has them: tuples as lists, keys as text.",
    )
