"""`explain`: gathers the evidence of one task, asks each rule, and says what they found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from fullresult.config import Settings
from fullresult.insight.explain import (
    brokers,
    ended,
    history,
    on_the_broker,
    on_workers,
    runs,
    waits_in_storage,
    workflow,
)
from fullresult.insight.explain.case import Case, expected, is_open, perhaps, unheard
from fullresult.insight.explain.explanation import Explanation, Finding
from fullresult.insight.explain.in_time import in_time
from fullresult.insight.explain.reading import Reading
from fullresult.insight.fleet import Life, lives_of
from fullresult.insight.live import Live, Now, WorkersNow
from fullresult.insight.overdue import schedules_of
from fullresult.insight.words import count_of
from fullresult.record import TaskRecord, encoding
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


_UNKNOWN = Finding(
    "unknown",
    "No record and no schedule has this id, and none of the open and failed records that were "
    "looked at names it: its publisher is not recorded, or the record was deleted.",
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
    now, record = storage.now(), storage.get(task_id)
    schedules = tuple(schedules_of(storage, task_id))
    lives = lives_of(storage, now)
    asked = _Asked(live, record, lives, now, settings)
    waits = record is None and not schedules
    answers = asked.ask(task_id) if waits or asked.is_open else None
    return Case(
        task_id=task_id,
        now=now,
        record=record,
        schedules=schedules,
        lives=lives,
        keeps_workers=isinstance(storage, WorkerStorage),
        live=answers,
        unknown=tuple(asked.not_answered(answers)) if asked.is_open or answers else (),
        settings=settings,
        reading=Reading(storage, now),
    )


class _Asked(NamedTuple):
    """Who is to be asked about a task."""

    live: Live | None
    record: TaskRecord | None
    lives: tuple[Life, ...]
    now: datetime
    settings: Settings

    @property
    def is_open(self) -> bool:
        """True if something may still be going on with it outside the storage."""
        return is_open(self.record)

    @property
    def expected(self) -> tuple[Life, ...]:
        return expected(self.lives, self.now, self.settings)

    @property
    def perhaps(self) -> tuple[Life, ...]:
        return perhaps(self.lives, self.now, self.settings)

    def ask(self, task_id: str) -> Now | None:
        if self.live is None:
            return None
        queue = self.record.queue if self.record else None
        queues = () if queue is None else (queue,)
        names = [life.worker.name for life in (*self.expected, *self.perhaps)]
        return self.live.ask([task_id], names, queues, seek=task_id)

    def not_answered(self, answers: Now | None) -> Iterator[str]:
        """What could not be asked, and why."""
        if answers is None:
            yield "workers: they were not asked"
            yield "broker: it was not asked"
            return
        workers = answers.workers
        if workers.problem:
            yield f"workers: {workers.problem}"
        else:
            yield from self._silent(workers)
        for name in workers.strangers:
            yield f"worker {name}: it has no FullResult, and does not know the question"
        for name in workers.failed:
            yield f"worker {name}: it answered with an error, which its log has"
        for answer in workers.answers:
            if answer.spooled:
                files = count_of(answer.spooled, "file")
                yield f"worker {answer.worker}: {files} of its spool may tell more of the task"
        for queue in answers.queues:
            if queue.problem:
                yield f"queue {queue.name}: {queue.problem}"
            elif queue.ready is None and queue.exists is None:
                yield f"queue {queue.name}: this broker does not say what is in it"

    def _silent(self, workers: WorkersNow) -> Iterator[str]:
        answered = {each.worker for each in workers.answers}
        for life in unheard(self.expected, workers):
            name = life.worker.name
            if name in answered:
                yield f"worker {name}: of several that live under this name, not all answered"
            elif name not in (*workers.strangers, *workers.failed):
                yield f"worker {name}: it lives, and did not answer within 1 s"
        for life in unheard(self.perhaps, workers):
            on = life.card.namespace if life.card else ""
            yield (
                f"worker {life.worker.name}: it lives, on {on}, which may be this app's broker, "
                "and did not answer within 1 s"
            )
