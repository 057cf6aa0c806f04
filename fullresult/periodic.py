"""The Celery tasks `fullresult.sweep` and `fullresult.purge`, and their entries in beat's plan."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from celery import Celery

from fullresult.sweeper import Sweeper

if TYPE_CHECKING:
    from celery.beat import Scheduler

    from fullresult.config import Settings
    from fullresult.extension import FullResult

SWEEP = "fullresult.sweep"
PURGE = "fullresult.purge"
_HOUR = timedelta(hours=1)
_LATEST = 5.0
"""Seconds after which a sweep that nobody ran yet is left to the next one."""


def register(full: FullResult) -> None:
    """Add the tasks to the app.

    `fullresult.sweep` sends what is due, and returns how many tasks it sent; `fullresult.purge`
    deletes what has expired, and returns how many records.
    """
    idle: list[Sweeper] = []  # what one knows of the sweeps before, and says once, is kept

    def sweep_due() -> int:
        try:
            sweeper = idle.pop()
        except IndexError:
            sweeper = Sweeper(full)
        try:
            return sweeper.sweep(full.settings.sweep_limit).sent
        finally:
            sweeper.close()
            idle.append(sweeper)

    def purge() -> int:
        return full.purge()

    for name, body in ((SWEEP, sweep_due), (PURGE, purge)):
        full.app.task(name=name, shared=False, ignore_result=True)(body)


def add_entries(app: Celery, settings: Settings, scheduler: Scheduler) -> None:
    """Have beat send the task that sweeps, if it is to, and hourly the one that purges, if need be.

    An entry of that name in `beat_schedule` is left as it is.
    """
    if settings.schedule_eta and settings.sweeper == "beat":
        _add(app, scheduler, SWEEP, settings.sweep_interval)
    if settings.retention is not None:
        _add(app, scheduler, PURGE, _HOUR)


def _add(app: Celery, scheduler: Scheduler, task: str, interval: timedelta) -> None:
    if task in app.conf.beat_schedule:
        return
    expires = max(interval.total_seconds(), _LATEST)
    entry = {"task": task, "schedule": interval, "options": {"expires": expires}}
    # The scheduler has read the configuration when the first signal of beat comes.
    scheduler.update_from_dict({task: entry})
