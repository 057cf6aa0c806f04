"""The optional parts of the contract that a storage has, and its time."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from fullresult.storage import (
    AuditStorage,
    FailureStorage,
    FileStorage,
    ScheduleStorage,
    StatisticsStorage,
    Storage,
    WorkerStorage,
)
from fullresult.storage.replays import ReplayStorage


class Abilities(NamedTuple):
    """The optional parts; each is True if the storage has it."""

    audit: bool
    """It keeps an audit log."""
    failures: bool
    """It groups failures, and keeps what people decide about them."""
    replays: bool
    """It keeps replays."""
    schedules: bool
    """Tasks can wait in it until they are due."""
    statistics: bool
    """It counts records up to a bound, and takes samples of them."""
    workers: bool
    """It keeps which workers are alive."""


def abilities_of(storage: Storage) -> Abilities:
    return Abilities(
        audit=isinstance(storage, AuditStorage),
        failures=isinstance(storage, FailureStorage),
        replays=isinstance(storage, ReplayStorage),
        schedules=isinstance(storage, ScheduleStorage),
        statistics=isinstance(storage, StatisticsStorage),
        workers=isinstance(storage, WorkerStorage),
    )


def missing_file(storage: Storage) -> str | None:
    """The file in which *storage* keeps its records, if there is none yet."""
    return storage.missing_file() if isinstance(storage, FileStorage) else None


def time_of(storage: Storage) -> datetime:
    """The storage's time, in UTC. Raises `StorageError` where it does not answer."""
    return storage.now()
