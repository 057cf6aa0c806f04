"""What stands around the records of a full store: workers, schedules, the audit log, replays."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fullresult.record import AuditEntry, TaskQuery
from fullresult.record.card import Card, WorkerCard
from fullresult.record.worker import Worker
from fullresult.testing import samples

if TYPE_CHECKING:
    from fullresult import FullResult

LIVING, GONE = 40, 600
"""Workers."""
SCHEDULES = 5_000
ENTRIES = 5_000
"""Of the audit log."""
REPLAYS = 50
_QUEUES = ("celery", "mail", "reports")


def surround(full: FullResult) -> None:
    """Write them, through the storage."""
    _workers(full)
    _schedules(full)
    storage, now = full.storage, full.storage.now()
    for index in range(ENTRIES):
        at = now - timedelta(minutes=index)
        ids = (f"task-{index}",)
        entry = AuditEntry(f"{index:032x}", at, f"person {index % 20}", "resend", ids, {}, "done")
        storage.keep_audit(entry)
    for index in range(REPLAYS):
        full.replays.create(TaskQuery(name=f"nobody.{index}"), name=f"of the night {index}")


def _workers(full: FullResult) -> None:
    storage, now = full.storage, full.storage.now()
    card = replace(Card(queues=_QUEUES), namespace=full.settings.namespace)
    for index in range(LIVING + GONE):
        name, lives = f"w{index}@host-{index % 50}", index < LIVING
        seen = now if lives else now - timedelta(hours=index)
        until = now + timedelta(hours=2) if lives else seen
        storage.note_worker(
            Worker(f"worker-{index:010}", name, seen - timedelta(hours=1), seen, until)
        )
        storage.note_card(WorkerCard(f"worker-{index:010}", now, "names", card.text), "{}")


def _schedules(full: FullResult) -> None:
    storage, now = full.storage, full.storage.now()
    for index in range(SCHEDULES):
        due = now + timedelta(minutes=1 + index)
        schedule = samples.schedule(f"schedule-{index}", due, namespace=full.settings.namespace)
        storage.schedule(schedule, samples.scheduled(schedule))
