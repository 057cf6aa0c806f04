"""What is kept of a task, as plain values, and how events merge into it."""

from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.record.card import Card, WorkerCard
from fullresult.record.dates import cut, from_milliseconds
from fullresult.record.failure import Decision, FailureGroup, FailureQuery
from fullresult.record.headers import ENTRY_NAME, ORIGINAL_ID, TRIGGERED
from fullresult.record.interruptions import Suppressing, spare
from fullresult.record.merging import fold, merge
from fullresult.record.own_message import OwnMessage
from fullresult.record.pages import cursor as cursor_of
from fullresult.record.parts import (
    PROTOCOL_1,
    REDACTED,
    Entry,
    Execution,
    Message,
    Outcome,
    Start,
    Stored,
)
from fullresult.record.pause import Pause
from fullresult.record.query import TaskQuery
from fullresult.record.replay import REPLAY_OVER, Replay, ReplayCounts, Replayed, Taking
from fullresult.record.sample import Sample
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.record.shape import Shape
from fullresult.record.stamps import BELOW_SUCCESS, FIRST, PUBLISHED_BELOW, Attempt
from fullresult.record.states import (
    FAILURE,
    FINISHED,
    IGNORED,
    INTERRUPTED,
    NOT_RUN,
    PENDING,
    REJECTED,
    RETRY,
    REVOKED,
    SCHEDULED,
    SCHEDULED_SENT,
    STARTED,
    STATES,
    SUCCESS,
    UNSENT,
)
from fullresult.record.task import TaskRecord
from fullresult.record.worker import Worker

__all__ = [
    "BELOW_SUCCESS",
    "ENTRY_NAME",
    "FAILURE",
    "FINISHED",
    "FIRST",
    "IGNORED",
    "INTERRUPTED",
    "NOT_RUN",
    "ORIGINAL_ID",
    "PENDING",
    "PROTOCOL_1",
    "PUBLISHED_BELOW",
    "REDACTED",
    "REJECTED",
    "REPLAY_OVER",
    "RETRY",
    "REVOKED",
    "SCHEDULED",
    "SCHEDULED_SENT",
    "STARTED",
    "STATES",
    "SUCCESS",
    "TRIGGERED",
    "UNSENT",
    "Attempt",
    "AuditEntry",
    "AuditQuery",
    "Card",
    "Decision",
    "Entry",
    "Execution",
    "FailureGroup",
    "FailureQuery",
    "Message",
    "Outcome",
    "OwnMessage",
    "Pause",
    "Replay",
    "ReplayCounts",
    "Replayed",
    "Sample",
    "Schedule",
    "ScheduleQuery",
    "Shape",
    "Start",
    "Stored",
    "Suppressing",
    "Taking",
    "TaskQuery",
    "TaskRecord",
    "Worker",
    "WorkerCard",
    "cursor_of",
    "cut",
    "fold",
    "from_milliseconds",
    "merge",
    "spare",
]
