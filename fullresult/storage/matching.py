"""Queries answered in Python, for adapters of databases that cannot filter by themselves.

`find` and `count` answer a `TaskQuery` from records, `find_schedules` and `count_schedules` a
`ScheduleQuery` from schedules, as the methods of these names in `Storage` and `ScheduleStorage` do.
Give them everything there is, or what an index has left of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from string import ascii_lowercase, ascii_uppercase
from typing import Any, TypeVar

from fullresult.record import Decision, TaskRecord, encoding
from fullresult.record.query import TaskQuery
from fullresult.record.schedule import Schedule, ScheduleQuery

T = TypeVar("T")
Condition = Callable[[T], bool]

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_LARGE = 2.0**53
_OF_OUTCOME = ("worker", "fingerprint")
_OF_MESSAGE = ("queue", "root_id", "group_id", "retry_of")


def find(
    query: TaskQuery, records: Iterable[TaskRecord], decisions: Iterable[Decision] = ()
) -> list[TaskRecord]:
    """The page of *records* that matches *query*, in its order. As `matcher`."""
    newest = query.order == "newest"
    found = filter(matcher(query, decisions), records)
    ordered = sorted(found, key=_place, reverse=newest)
    if (position := query.position) is not None:
        later = [r for r in ordered if (_place(r) < position if newest else _place(r) > position)]
        return later[: query.limit]
    return ordered[: query.limit]


def count(
    query: TaskQuery, records: Iterable[TaskRecord], decisions: Iterable[Decision] = ()
) -> int:
    """The number of *records* that match *query*, on any page. As `matcher`."""
    return sum(map(matcher(query, decisions), records))


def matches(query: TaskQuery, record: TaskRecord, decisions: Iterable[Decision] = ()) -> bool:
    """True if *record* matches *query*, on any page. As `matcher`."""
    return matcher(query, decisions)(record)


def matcher(query: TaskQuery, decisions: Iterable[Decision] = ()) -> Condition[TaskRecord]:
    """A function that is True for each record that matches *query*, on any page.

    *decisions* are those that are kept about groups of failures. Raises `ValueError` if *query* has
    arguments that JSON cannot hold.
    """
    return _all(list(_conditions(query, decisions)))


def find_schedules(
    query: ScheduleQuery,
    schedules: Iterable[Schedule],
    get: Callable[[str], TaskRecord | None],
    decisions: Iterable[Decision] = (),
) -> list[Schedule]:
    """The page of *schedules* that matches *query*, the first due first.

    *get* returns the record of a task id. Raises as `matcher`.
    """
    found = list(filter(schedule_matcher(query, get, decisions), schedules))
    if (position := query.position) is not None:
        found = [schedule for schedule in found if _turn(schedule) > position]
    return sorted(found, key=_turn)[: query.limit]


def count_schedules(
    query: ScheduleQuery,
    schedules: Iterable[Schedule],
    get: Callable[[str], TaskRecord | None],
    decisions: Iterable[Decision] = (),
) -> int:
    """The number of *schedules* that match *query*, on any page. Raises as `matcher`."""
    return sum(map(schedule_matcher(query, get, decisions), schedules))


def schedule_matcher(
    query: ScheduleQuery,
    get: Callable[[str], TaskRecord | None],
    decisions: Iterable[Decision] = (),
) -> Condition[Schedule]:
    """A function that is True for each schedule that matches *query*. Raises as `matcher`."""
    return _all(list(_schedule_conditions(query, get, decisions)))


def as_recorded(value: Any) -> Any:
    """*value* as it stands in recorded JSON: kombu's types as the objects that kombu writes.

    Raises `ValueError` for a value that JSON cannot hold, and for one with a float beyond 2**53,
    which databases do not compare alike.
    """
    try:
        return json.loads(encoding.dumps_strict(value), parse_float=_small)
    except (encoding.Unstorable, _TooLarge) as error:
        raise ValueError(f"cannot search for {encoding.safe_repr(value)[:100]}: {error}") from None


class _TooLarge(Exception):
    """A float that is not compared alike everywhere; the message says so."""


def _small(text: str) -> float:
    if abs(value := float(text)) >= _LARGE:
        raise _TooLarge(f"{text} is a float beyond 2**53; an integer can be searched for")
    return value


def _place(record: TaskRecord) -> tuple[datetime, str]:
    return record.date_created, record.task_id


def _turn(schedule: Schedule) -> tuple[datetime, str]:
    return schedule.due, schedule.schedule_id


def _all(conditions: list[Condition[T]]) -> Condition[T]:
    return lambda item: all(condition(item) for condition in conditions)


def _conditions(query: TaskQuery, decisions: Iterable[Decision]) -> Iterator[Condition[TaskRecord]]:
    yield from _dealt_with_conditions(query, decisions)
    yield from _outcome_conditions(query)
    yield from _date_conditions(query)
    if (name := query.name) is not None:
        yield lambda r: r.name is not None and fnmatchcase(r.name, name)
    if query.task_ids is not None:
        ids = frozenset(map(encoding.key, query.task_ids))
        yield lambda r: r.task_id in ids
    for field in (*_OF_OUTCOME, *_OF_MESSAGE):
        if (value := getattr(query, field)) is not None:
            yield _is(field, encoding.key(value))
    if query.text is not None:
        yield _has_text(query.text.translate(_LOWER))
    if (exception := query.exception) is not None:
        yield lambda r: _is_of_type(r.exception_type, exception)
    if places := query.places:
        yield _has_args([(place, as_recorded(value)) for place, value in places])
    if query.kwargs is not None:
        yield _has_kwargs(as_recorded(dict(query.kwargs)))


def _outcome_conditions(query: TaskQuery) -> Iterator[Condition[TaskRecord]]:
    """Conditions on the outcome; a record without an outcome meets none of them."""
    if (states := query.states) is not None:
        yield lambda r: r.outcome is not None and r.outcome.state in states
    if barred := query.not_state:
        yield lambda r: r.outcome is not None and r.outcome.state not in barred
    if query.open is not None:
        yield lambda r: r.outcome is not None and r.outcome.open is query.open
    if (moved := query.moved_before) is not None:
        yield lambda r: r.outcome is not None and r.outcome.stale_from <= moved


def _dealt_with_conditions(
    query: TaskQuery, decisions: Iterable[Decision]
) -> Iterator[Condition[TaskRecord]]:
    if query.unresolved is None:
        return
    until = {each.fingerprint: each.date_decided for each in decisions if each.is_resolved}

    def is_dealt_with(record: TaskRecord) -> bool:
        decided, done = until.get(record.fingerprint or ""), record.date_done
        resolved = decided is not None and done is not None and done <= decided
        return record.resent_as is not None or resolved

    yield lambda record: is_dealt_with(record) is not query.unresolved


def _date_conditions(query: TaskQuery) -> Iterator[Condition[TaskRecord]]:
    if (since := query.since) is not None:
        yield lambda r: r.date_created >= since
    if (until := query.until) is not None:
        yield lambda r: r.date_created < until


def _is(field: str, value: str) -> Condition[TaskRecord]:
    return lambda record: getattr(record, field) == value


def _has_text(text: str) -> Condition[TaskRecord]:
    def condition(record: TaskRecord) -> bool:
        shown = (record.name, record.task_id, record.exception_type, record.exception_message)
        return any(text in each.translate(_LOWER) for each in shown if each is not None)

    return condition


def _is_of_type(name: str | None, asked: str) -> bool:
    return name is not None and (name == asked or name.endswith(f".{asked}"))


def _has_args(asked: list[tuple[int, Any]]) -> Condition[TaskRecord]:
    def condition(record: TaskRecord) -> bool:
        args = _kept(record.message and record.message.args)
        return isinstance(args, list) and all(
            place < len(args) and _is_part(value, args[place]) for place, value in asked
        )

    return condition


def _has_kwargs(asked: dict[str, Any]) -> Condition[TaskRecord]:
    return lambda record: _is_part(asked, _kept(record.message and record.message.kwargs))


def _kept(text: str | None) -> Any:
    """Arguments as recorded; values of kombu's types stay the objects that kombu writes."""
    return None if text is None else json.loads(text)


def _is_part(asked: Any, value: Any) -> bool:
    """True if *asked*, an object, is inside *value*; anything else must equal it."""
    if isinstance(asked, dict):
        return isinstance(value, dict) and all(
            key in value and _is_part(asked[key], value[key]) for key in asked
        )
    return _equal(asked, value)


def _equal(a: Any, b: Any) -> bool:
    """Equality as in JSON, where true is not 1 as it is in Python."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return isinstance(a, bool) is isinstance(b, bool) and bool(a == b)


def _schedule_conditions(
    query: ScheduleQuery,
    get: Callable[[str], TaskRecord | None],
    decisions: Iterable[Decision],
) -> Iterator[Condition[Schedule]]:
    if query.task_ids is not None:
        of_tasks = frozenset(query.task_ids)
        yield lambda s: s.task_id in of_tasks
    if query.schedule_ids is not None:
        ids = frozenset(query.schedule_ids)
        yield lambda s: s.schedule_id in ids
    if query.namespace is not None:
        yield lambda s: s.namespace == query.namespace
    if query.not_namespace is not None:
        yield lambda s: s.namespace != query.not_namespace
    if query.outbox is not None:
        yield lambda s: s.is_in_outbox is query.outbox
    if (due := query.due_until) is not None:
        yield lambda s: s.due <= due
    if query.claimed is not None:
        yield lambda s: s.claimed is query.claimed
    if query.tasks is not None and (conditions := list(_conditions(query.tasks, decisions))):
        yield _of_task(_all(conditions), get)


def _of_task(
    condition: Condition[TaskRecord], get: Callable[[str], TaskRecord | None]
) -> Condition[Schedule]:
    def of_task(schedule: Schedule) -> bool:
        record = get(schedule.task_id)
        return record is not None and condition(record)

    return of_task
