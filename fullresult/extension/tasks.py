"""The Celery tasks `fullresult.sweep` and `fullresult.purge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.scheduling.own_entries import PURGE, SWEEP
from fullresult.storage import purging

if TYPE_CHECKING:
    from fullresult.extension.parts import Parts
    from fullresult.scheduling.sweepers import Sweepers


def register(parts: Parts) -> None:
    """Add the tasks to the app.

    `fullresult.sweep` sends the due tasks and returns how many; `fullresult.purge` deletes the
    expired records and returns how many.
    """
    idle: list[
        Sweepers
    ] = []  # kept, as a sweeper logs some things once and knows the sweeps before

    def sweep_due() -> int:
        try:
            sweeper = idle.pop()
        except IndexError:
            sweeper = parts.new_sweepers()
        try:
            return sweeper.sweep(parts.settings.sweep_limit).sent
        finally:
            sweeper.close()
            idle.append(sweeper)

    def purge() -> int:
        return purging.purge(parts.storage, audit_kept=parts.settings.audit_retention)

    for name, body in ((SWEEP, sweep_due), (PURGE, purge)):
        parts.app.task(name=name, shared=False, ignore_result=True)(body)
