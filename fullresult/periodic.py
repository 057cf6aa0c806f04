"""The Celery task `fullresult.sweep`, and its entry in beat's schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery import Celery

from fullresult.sweeper import Sweeper

if TYPE_CHECKING:
    from celery.beat import Scheduler

    from fullresult.config import Settings
    from fullresult.extension import FullResult

TASK = "fullresult.sweep"
_LATEST = 5.0
"""Seconds after which a sweep that nobody ran yet is left to the next one."""


def register(full: FullResult) -> None:
    """Add the task to the app: it sends what is due, and returns how many tasks it sent."""
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

    full.app.task(name=TASK, shared=False, ignore_result=True)(sweep_due)


def add_entry(app: Celery, settings: Settings, scheduler: Scheduler) -> None:
    """Have beat send the task, as often as `fullresult_sweep_interval` says.

    An entry of that name in `beat_schedule` is left as it is.
    """
    if TASK in app.conf.beat_schedule:
        return
    seconds = settings.sweep_interval.total_seconds()
    entry = {
        "task": TASK,
        "schedule": settings.sweep_interval,
        "options": {"expires": max(seconds, _LATEST)},
    }
    # The scheduler has read the configuration when the first signal of beat comes.
    scheduler.update_from_dict({TASK: entry})
