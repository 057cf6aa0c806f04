"""Risks of the memory itself: retention, indexes, sweepers, the spool, the storage's health."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from fullresult.insight.doctor.patient import Patient
from fullresult.insight.doctor.risk import Risk
from fullresult.insight.explain.explanation import at
from fullresult.insight.words import count_of, span
from fullresult.record import Schedule
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import IndexedStorage, ScheduleStorage, TaskQuery

_OLD = timedelta(days=90)
_LATE = timedelta(seconds=30)
_SLOW = 0.1
"""Seconds for a question that costs the storage nothing."""
_BEHIND = 60.0
"""Seconds."""
_MINUTE = timedelta(minutes=1)


def retention(patient: Patient) -> Iterator[Risk]:
    if patient.settings.retention is not None:
        return
    oldest = patient.storage.find(TaskQuery(order="oldest", limit=1))
    if not oldest or patient.now - oldest[0].date_created < _OLD:
        return
    age = patient.now - oldest[0].date_created
    yield Risk(
        "no retention",
        "notable",
        f"Records are kept for good: the oldest is {span(age.total_seconds())} old.",
        (f"the oldest: {oldest[0].task_id}, created {at(oldest[0].date_created, patient.now)}",),
        "The database grows for as long as tasks are published.",
        "fullresult_retention = '90d', or by state and name",
    )


def indexes(patient: Patient) -> Iterator[Risk]:
    storage = patient.storage
    if not isinstance(storage, IndexedStorage):
        return
    missing = [
        name
        for name in patient.settings.index_kwargs
        if not storage.has_index(TaskQuery(kwargs={name: 1}))
    ]
    if missing:
        yield Risk(
            "index is missing",
            "notable",
            f"There is no index for {count_of(len(missing), 'keyword argument')}.",
            tuple(f"fullresult_index_kwargs has {name}" for name in missing),
            "Searches for them read record after record.",
            "celery -A proj fullresult setup",
        )


def replica(patient: Patient) -> Iterator[Risk]:
    found = patient.replica
    if found is None or (found.is_read and found.seconds is not None and found.seconds < _BEHIND):
        return
    yield Risk(
        "replica is not read" if not found.is_read else "replica is behind",
        "notable",
        found.sentence,
        ("fullresult_read_storage names it",),
        "Listings weigh on the storage, or lack what is new.",
        "see to the replica, or leave fullresult_read_storage out",
    )


def sweepers(patient: Patient) -> Iterator[Risk]:
    storage, namespace = patient.storage, patient.settings.namespace
    if not isinstance(storage, ScheduleStorage):
        return
    first = storage.next_due(namespace)
    last = storage.last_sweep(namespace)
    if first is not None and patient.now - first > _LATE:
        behind = span((patient.now - first).total_seconds())
        swept = "none was ever at work" if last is None else f"last at work {at(last, patient.now)}"
        yield Risk(
            "no sweeper",
            "serious",
            f"Sweepers are {behind} behind.",
            (f"the first that is due: {at(first, patient.now)}", f"sweepers: {swept}"),
            "Tasks that wait in the storage are late by as much.",
            "fullresult_sweeper = 'worker', or celery -A proj fullresult sweep --loop",
        )
    claimed = storage.find_schedules(
        ScheduleQuery(claimed=True, due_until=patient.now - _MINUTE, limit=100)
    )
    stuck = [each for each in claimed if _is_stuck(each, patient)]
    if stuck:
        yield Risk(
            "claims are left",
            "serious",
            f"{count_of(len(stuck), 'schedule')} claimed and never marked sent.",
            tuple(f"{each.task_id}: {each.problem or 'no reason is known'}" for each in stuck[:5]),
            "They were sent, or not: no sweeper touches them again by itself.",
            "celery -A proj fullresult stale-scheduled; then release, or fullresult_rescue_after",
        )


def _is_stuck(schedule: Schedule, patient: Patient) -> bool:
    claimed = schedule.date_claimed
    return claimed is not None and patient.now - claimed > _MINUTE


def spool(patient: Patient) -> Iterator[Risk]:
    status = patient.spool
    if status is None or not (status.events or status.unread):
        return
    since = f", the oldest since {at(status.oldest, patient.now)}" if status.oldest else ""
    evidence = [f"{count_of(status.events, 'event')} in {status.directory}{since}"]
    if status.unread:
        evidence.append(f"{count_of(status.unread, 'file')} cannot be read by this version")
    yield Risk(
        "spool is not empty",
        "notable",
        f"{count_of(status.events, 'event')} of this host wait to be written.",
        tuple(evidence),
        "The storage was away: until they are written, tasks look as if they had not moved.",
        "celery -A proj fullresult spool flush",
    )


def health(patient: Patient) -> Iterator[Risk]:
    if patient.answers_in > _SLOW:
        yield Risk(
            "storage is slow",
            "notable",
            f"The storage takes {span(patient.answers_in)} to tell the time.",
            (f"the best of three: {span(patient.answers_in)}",),
            "Each publish waits for one answer of the storage, and each run of a task for two.",
            "a storage nearer to publishers and workers, or fullresult_write_mode = 'spooled'",
        )
    if patient.settings.heartbeat == timedelta(0):
        yield Risk(
            "no heartbeat",
            "notable",
            "Workers have no heartbeat.",
            ("fullresult_heartbeat = 0",),
            "A worker that is killed is not missed, and its tasks are no orphans.",
            "fullresult_heartbeat = '10s'",
        )


RULES = (retention, indexes, replica, sweepers, spool, health)
