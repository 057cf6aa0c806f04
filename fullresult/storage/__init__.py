"""The contract between the core and its storages, and all that an adapter's author needs."""

from fullresult.record import TaskQuery
from fullresult.storage.chords import GroupsStorage, QuietChord, RecountingStorage
from fullresult.storage.contract import Storage
from fullresult.storage.durability import may_wait
from fullresult.storage.errors import InLine, NoRoom, Refused, StorageError, Uncertain
from fullresult.storage.failures import FailureStorage, Grouped
from fullresult.storage.forks import notice_fork, watch_forks
from fullresult.storage.indexes import (
    OPEN,
    OWN_SECTION,
    is_behind_others,
    is_indexed,
    is_of_few,
    sections_of,
)
from fullresult.storage.matching import as_recorded
from fullresult.storage.optional import (
    Alike,
    AuditStorage,
    CardStorage,
    CompleteChord,
    FileStorage,
    IndexedStorage,
    JoiningStorage,
    OverlappingStorage,
    PrefixStorage,
    ResultStorage,
    ShapePage,
    ShapeStorage,
    StatisticsStorage,
    Tally,
    Walked,
    WalkingStorage,
    WorkerStorage,
)
from fullresult.storage.outbox import (
    Addressed,
    AsyncOutboxWriter,
    CommitListener,
    Identity,
    OutboxRow,
    OutboxStorage,
    OutboxWriter,
    RestingListener,
    is_same,
)
from fullresult.storage.partitions import PartitionedStorage
from fullresult.storage.parts import find_in_parts
from fullresult.storage.pauses import PauseStorage
from fullresult.storage.replays import NOT_YET, ReplayStorage
from fullresult.storage.replicas import Reached, ReplicatedStorage
from fullresult.storage.schedules import ScheduleStorage, with_schedules
from fullresult.storage.sockets import is_readable
from fullresult.storage.threads import ForkGate

__all__ = [
    "NOT_YET",
    "OPEN",
    "OWN_SECTION",
    "Addressed",
    "Alike",
    "AsyncOutboxWriter",
    "AuditStorage",
    "CardStorage",
    "CommitListener",
    "CompleteChord",
    "FailureStorage",
    "FileStorage",
    "ForkGate",
    "Grouped",
    "GroupsStorage",
    "Identity",
    "InLine",
    "IndexedStorage",
    "JoiningStorage",
    "NoRoom",
    "OutboxRow",
    "OutboxStorage",
    "OutboxWriter",
    "OverlappingStorage",
    "PartitionedStorage",
    "PauseStorage",
    "PrefixStorage",
    "QuietChord",
    "Reached",
    "RecountingStorage",
    "Refused",
    "ReplayStorage",
    "ReplicatedStorage",
    "RestingListener",
    "ResultStorage",
    "ScheduleStorage",
    "ShapePage",
    "ShapeStorage",
    "StatisticsStorage",
    "Storage",
    "StorageError",
    "Tally",
    "TaskQuery",
    "Uncertain",
    "Walked",
    "WalkingStorage",
    "WorkerStorage",
    "as_recorded",
    "find_in_parts",
    "is_behind_others",
    "is_indexed",
    "is_of_few",
    "is_readable",
    "is_same",
    "may_wait",
    "notice_fork",
    "sections_of",
    "watch_forks",
    "with_schedules",
]
