"""Puts together what `doctor` looks at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fullresult.extension.asking import Asking
from fullresult.insight.doctor.patient import Patient
from fullresult.insight.fleet import fleet_of
from fullresult.insight.periodic import PeriodicTask, SchedulerError
from fullresult.storage import Storage, WorkerStorage

if TYPE_CHECKING:
    from fullresult.extension.parts import Parts


def patient_of(
    parts: Parts, periodic: Callable[[], Sequence[PeriodicTask]], *, offline: bool
) -> Patient:
    """The app of *parts*, read once; *periodic* reads beat's plan. Raises `StorageError`."""
    storage, settings = parts.storage, parts.settings
    now, ahead, seconds = _clock(storage)
    keeps = isinstance(storage, WorkerStorage)
    entries, problem = _read(periodic)
    flusher = parts.recorder.writer.flusher
    return Patient(
        storage=storage,
        settings=settings,
        now=now,
        clock_ahead=ahead,
        answers_in=seconds,
        result_expires=_result_expires(parts.app.conf),
        fleet=fleet_of(storage) if keeps else None,
        live=None if offline else Asking(parts.app).everybody(),
        periodic=entries,
        periodic_problem=problem,
        replica=None if parts.replica is None else parts.replica.behind(),
        spool=None if flusher is None else flusher.status(),
    )


def _clock(storage: Storage) -> tuple[datetime, float, float]:
    """(the storage's time, by how much ours is ahead, the seconds that it took to ask)."""
    found = []
    for _ in range(3):
        asked = time.time()
        now = storage.now()
        took = time.time() - asked
        found.append((took, now, asked + took / 2 - now.timestamp()))
    took, now, ahead = min(found)
    return now, ahead, took


def _read(
    periodic: Callable[[], Sequence[PeriodicTask]],
) -> tuple[Sequence[PeriodicTask], str | None]:
    try:
        return periodic(), None
    except SchedulerError as error:
        return (), str(error)


def _result_expires(conf: Any) -> timedelta | None:
    found = conf.result_expires
    if isinstance(found, timedelta):
        return found
    return timedelta(seconds=found) if isinstance(found, (int, float)) and found else None
