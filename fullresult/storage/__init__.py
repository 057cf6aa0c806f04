"""The contract between the core and its storages, and all that an adapter's author needs."""

from fullresult.storage.contract import (
    AuditStorage,
    IndexedStorage,
    JoiningStorage,
    OverlappingStorage,
    Refused,
    ResultStorage,
    StatisticsStorage,
    Storage,
    StorageError,
    TaskQuery,
    Uncertain,
    WorkerStorage,
)

__all__ = [
    "AuditStorage",
    "IndexedStorage",
    "JoiningStorage",
    "OverlappingStorage",
    "Refused",
    "ResultStorage",
    "StatisticsStorage",
    "Storage",
    "StorageError",
    "TaskQuery",
    "Uncertain",
    "WorkerStorage",
]
