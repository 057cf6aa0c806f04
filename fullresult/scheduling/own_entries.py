"""Our entries in beat's plan: the sweep and the purge."""

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
"""Seconds after which a sweep that nobody ran yet is left to the next one."""


def own_entries(app: Celery, settings: Settings) -> dict[str, dict[str, Any]]:
    """What beat is to have of ours: the task that sweeps, and hourly the one that purges.

    Each if need be, and if `beat_schedule` has no entry of that name.
    """
    wanted = {}
    if settings.schedule_eta and settings.sweeper == "beat":
        wanted[SWEEP] = settings.sweep_interval
    if settings.retention is not None:
        wanted[PURGE] = _HOUR
    return {
        task: _entry(task, interval)
        for task, interval in wanted.items()
        if task not in app.conf.beat_schedule
    }


def add_entries(app: Celery, settings: Settings, scheduler: Scheduler) -> None:
    """Give *scheduler* our entries."""
    # It has read the configuration when the first signal of beat comes.
    if entries := own_entries(app, settings):
        scheduler.update_from_dict(entries)


def _entry(task: str, interval: timedelta) -> dict[str, Any]:
    expires = max(interval.total_seconds(), _LATEST)
    return {"task": task, "schedule": interval, "options": {"expires": expires}}
