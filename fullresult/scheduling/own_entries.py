"""Our own periodic tasks in beat's plan: `fullresult.sweep` and `fullresult.purge`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery import Celery

if TYPE_CHECKING:
    from celery.beat import Scheduler

    from fullresult.config import Settings


SWEEP = "fullresult.sweep"
PURGE = "fullresult.purge"
_HOUR = timedelta(hours=1)
_LATEST = 5.0
"""Seconds after which a sweep that no worker has run expires, at the earliest."""


def own_entries(app: Celery, settings: Settings) -> dict[str, dict[str, Any]]:
    """The periodic tasks that beat is to have: the sweep, and every hour the purge.

    Each only if the settings need it and `beat_schedule` has none of that name.
    """
    wanted = {}
    if settings.sweeps and settings.sweeper == "beat":
        wanted[SWEEP] = settings.sweep_interval
    if settings.retention is not None or settings.audit_retention is not None:
        wanted[PURGE] = _HOUR
    return {
        task: _entry(task, interval)
        for task, interval in wanted.items()
        if task not in app.conf.beat_schedule
    }


def add_entries(app: Celery, settings: Settings, scheduler: Scheduler) -> None:
    """Add our own periodic tasks to *scheduler*."""
    # Beat reads the configuration before its first signal, so that is too late to change.
    if entries := own_entries(app, settings):
        scheduler.update_from_dict(entries)


def _entry(task: str, interval: timedelta) -> dict[str, Any]:
    expires = max(interval.total_seconds(), _LATEST)
    return {"task": task, "schedule": interval, "options": {"expires": expires}}
