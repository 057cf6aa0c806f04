"""`explain`: gathers the evidence of one task, asks each rule, and says what they found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from fullresult.config import Settings
from fullresult.insight.explain import (
    brokers,
    ended,
    history,
    on_the_broker,
    on_workers,
    paused,
    runs,
    waits_in_storage,
    workflow,
)
from fullresult.insight.explain.asked import asked
from fullresult.insight.explain.case import Case, is_open
from fullresult.insight.explain.explanation import Explanation, Finding
from fullresult.insight.explain.in_time import in_time
from fullresult.insight.explain.reading import Reading
from fullresult.insight.fleet import lives_of
from fullresult.insight.live import Live
from fullresult.insight.overdue import schedules_of
from fullresult.record import encoding
from fullresult.storage import Storage, WorkerStorage

Rule = Callable[[Case], Finding | None]

RULES: tuple[Rule, ...] = (
    workflow.never_published,
    ended.without_a_start,
    ended.not_registered,
    ended.content_disallowed,
    ended.revoked,
    ended.unsent,
    waits_in_storage.not_due,
    waits_in_storage.not_sent,
    on_workers.held,
    on_workers.will_be_dropped,
    brokers.published_elsewhere,
    paused.paused_queue,
    on_workers.no_worker,
    brokers.elsewhere,
    on_the_broker.gone,
    on_the_broker.delayed,
    on_workers.silent,
    on_the_broker.not_consumed,
    on_the_broker.waits_in_queue,
    on_the_broker.taken,
    on_the_broker.lost,
    runs.interrupted,
    runs.forgotten,
    runs.runs,
    on_the_broker.waits,
    ended.ended,
    history.ran_twice,
    ended.late,
    history.tried_again,
    history.made_by,
)
"""The first that finds something is the verdict, the others say what is also true."""
_BY_EXCLUSION: tuple[Rule, ...] = (
    on_workers.silent,
    on_the_broker.taken,
    on_the_broker.lost,
    runs.interrupted,
    runs.forgotten,
    runs.runs,
    on_the_broker.waits,
)
"""Rules that hold only if nothing before them says where the task is."""
_DECISIVE: tuple[Rule, ...] = (
    waits_in_storage.not_due,
    on_workers.held,
    brokers.published_elsewhere,
    on_the_broker.delayed,
)
"""Rules after which it is known where the task is."""
_PLACES = frozenset(RULES[RULES.index(on_workers.held) : RULES.index(ended.ended)])
_QUICK = 0.7
"""Seconds: if the answers took longer, they are not asked for twice."""


def explain(
    storage: Storage, settings: Settings, task_id: str, live: Live | None = None
) -> Explanation:
    """Why the task is as it is. Without *live*, from the storage alone. Raises `StorageError`.

    If the storage does not answer within 1.8 s, that is said, and what workers say.
    """
    key = encoding.key(task_id)
    return in_time(storage, settings, key, live, lambda: _explained(storage, settings, key, live))


def _explained(
    storage: Storage, settings: Settings, task_id: str, live: Live | None
) -> Explanation:
    began = time.monotonic()
    case = _case(storage, settings, task_id, live)
    found = list(_findings(case)) or [_UNKNOWN]
    if found[0].verdict == on_the_broker.LOST and time.monotonic() - began < _QUICK:
        # It may have been between the queue and a worker: not twice.
        case = _case(storage, settings, task_id, live)
        found = list(_findings(case)) or [_UNKNOWN]
    elif is_open(case.record) and (now := storage.get(task_id)) != case.record:
        # It moved while workers and the broker were asked: what they said is of before.
        known = replace(case, record=now, reading=Reading(storage, case.now))
        case = known if is_open(now) else replace(known, live=None, unknown=())
        found = list(_findings(case)) or [_UNKNOWN]
    return case.explanation(found, known=found[0] is not _UNKNOWN)


UNKNOWN = "unknown"
"""The verdict where nothing is found that has the id."""
_UNKNOWN = Finding(
    UNKNOWN,
    "No record and no schedule has this id, and none of the open and failed records that were "
    "looked at names it: its publisher is not recorded, or put it into an outbox and has not "
    "committed, or the record was deleted.",
    "possible",
)


def _findings(case: Case) -> Iterator[Finding]:
    silent: frozenset[Rule] = frozenset()
    for rule in RULES:
        finding = None if rule in silent else rule(case)
        if finding is not None:
            silent |= _PLACES if rule in _DECISIVE else frozenset(_BY_EXCLUSION)
            yield finding


def _case(storage: Storage, settings: Settings, task_id: str, live: Live | None) -> Case:
    now = storage.now()
    case = Case(
        task_id=task_id,
        now=now,
        record=storage.get(task_id),
        schedules=tuple(schedules_of(storage, task_id)),
        lives=lives_of(storage, now),
        keeps_workers=isinstance(storage, WorkerStorage),
        live=None,
        unknown=(),
        settings=settings,
        reading=Reading(storage, now),
    )
    return asked(case, live)
