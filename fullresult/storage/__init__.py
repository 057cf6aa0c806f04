"""The contract between the core and its storages, and all that an adapter's author needs."""

from fullresult.record.query import (
    TaskQuery,
)
from fullresult.storage.contract import (
    Storage,
)
from fullresult.storage.errors import (
    Refused,
    StorageError,
    Uncertain,
)
from fullresult.storage.optional import (
    AuditStorage,
    IndexedStorage,
    JoiningStorage,
    OverlappingStorage,
    ResultStorage,
    StatisticsStorage,
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
