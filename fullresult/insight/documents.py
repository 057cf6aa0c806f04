"""What was found, as values that JSON can hold: what `--json` prints and the HTTP API answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fullresult.insight.document import document, plain
from fullresult.insight.words import call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fullresult.insight.fleet import Fleet
    from fullresult.insight.orphans import Orphan
    from fullresult.insight.overdue import Overdue
    from fullresult.insight.overview import Overview
    from fullresult.insight.periodic import PeriodicTask
    from fullresult.insight.queues import Queues
    from fullresult.record import TaskRecord
    from fullresult.record.audit import AuditEntry
    from fullresult.record.schedule import Schedule

SECRET = frozenset({"body", "headers", "how"})
"""The message of a schedule: it is stored whole even if the record hides a part of it."""


def schedule_document(schedule: Schedule, call: str | None = None) -> dict[str, Any]:
    """The fields of *schedule*, except its message, and the *call* that its record has."""
    known = {k: v for k, v in schedule._asdict().items() if k not in SECRET}
    known["claimed"] = schedule.claimed
    known["outbox"] = schedule.is_in_outbox
    known["call"] = call
    return {name: plain(value) for name, value in known.items()}


def task_document(record: TaskRecord, schedules: Sequence[Schedule]) -> dict[str, Any]:
    """A record, and the schedules of its task that are not sent."""
    shown = call(record)
    return {**document(record), "schedules": [schedule_document(each, shown) for each in schedules]}


def orphan_document(orphan: Orphan) -> dict[str, Any]:
    """The record of an orphan, and what is known of its worker."""
    return {
        **document(orphan.record),
        "worker_gone_since": plain(orphan.worker.gone_since),
        "worker_stopped": orphan.worker.date_stopped is not None,
    }


def overdue_document(
    schedules: Sequence[Schedule], overdue: Overdue, calls: Mapping[str, str], *, more: bool
) -> dict[str, Any]:
    """Schedules that are overdue, with their *calls*, and when they were last looked after."""
    return {
        "schedules": [schedule_document(each, calls.get(each.task_id)) for each in schedules],
        "more": more,
        "namespace": overdue.namespace,
        "last_sweep": plain(overdue.last_sweep),
    }


def overview_document(found: Overview) -> dict[str, Any]:
    known: dict[str, Any] = plain(asdict(found))
    known["at_least"] = sorted(found.at_least)
    known["statistics"]["sampled"] = found.statistics.sampled
    known["sweeper_lag"] = found.sweeper_lag.total_seconds()
    return known


def fleet_document(found: Fleet) -> dict[str, Any]:
    return {
        "workers": [each.document for each in found.workers],
        "folded": [each.document for each in found.folded],
    }


def queues_document(found: Queues) -> dict[str, Any]:
    return {
        "at": plain(found.at),
        "queues": [each.document for each in found.queues],
        "unknown": [*found.unknown],
    }


def periodic_document(task: PeriodicTask) -> dict[str, Any]:
    apart = ("last_run", "runs", "looked")
    known: dict[str, Any] = {k: plain(v) for k, v in vars(task).items() if k not in apart}
    last, runs = task.last_run, [plain(run._asdict()) for run in task.runs]
    return {**known, "last_run": None if last is None else document(last), "runs": runs}


def audit_document(entry: AuditEntry) -> dict[str, Any]:
    known: dict[str, Any] = plain(asdict(entry))
    return known
