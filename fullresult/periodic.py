"""The Celery task `fullresult.sweep`, and its entry in beat's schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery import Celery

from fullresult.sweeper import sweep

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.extension import FullResult

TASK = "fullresult.sweep"
_LATEST = 5.0
"""Seconds after which a sweep that nobody ran yet is left to the next one."""


def register(full: FullResult) -> None:
    """Add the task to the app: it sends what is due, and returns how many tasks it sent."""

    def sweep_due() -> int:
        return sweep(full, full.settings.sweep_limit).sent

    full.app.task(name=TASK, shared=False, ignore_result=True)(sweep_due)


def add_entry(app: Celery, settings: Settings) -> None:
    """Have beat send the task, as often as `fullresult_sweep_interval` says."""
    seconds = settings.sweep_interval.total_seconds()
    app.conf.beat_schedule.setdefault(
        TASK,
        {
            "task": TASK,
            "schedule": settings.sweep_interval,
            "options": {"expires": max(seconds, _LATEST)},
        },
    )
