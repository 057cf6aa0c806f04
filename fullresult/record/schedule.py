"""A message that waits in the storage until it is due, and the query for such schedules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from fullresult.record import encoding, pages
from fullresult.record.headers import ORIGINAL_ID, SCHEDULE_ID
from fullresult.record.query import TaskQuery


class Schedule(NamedTuple):
    """One message that waits until it is due. Diverting stores it, a sweeper sends it.

    A task id may have several: an attempt that was delivered twice may schedule its retry twice.
    """

    schedule_id: str
    task_id: str
    namespace: str
    """The broker it is for (`fullresult_namespace`)."""
    due: datetime
    """When it is to be sent, by the storage's clock: aware, UTC, to the millisecond."""
    date_scheduled: datetime
    name: str | None
    queue: str | None
    body: bytes
    """The exact serialised body, before compression. It is never unpickled."""
    headers: str
    """JSON text, as kombu writes it."""
    how: str
    """JSON text, as kombu writes it: the other keywords of kombu's `Producer.publish`; in
    `declare`, the queues' definitions."""
    new_task_id: str | None = None
    """The id it is to be sent under, if not its own (`fullresult_schedule_new_id`)."""
    claim: str | None = None
    """The claim that has it. Only the sweeper that made this claim sends the schedule."""
    date_claimed: datetime | None = None
    problem: str | None = None
    """Why it is claimed and not marked sent, if that is known."""
    at_least_once: bool | None = None
    """Of a task in an outbox: True if it may rather be sent twice than not at all. None for a task
    that was in no outbox."""

    @property
    def is_in_outbox(self) -> bool:
        """True if it committed with the caller's own data."""
        return self.at_least_once is not None

    @property
    def claimed(self) -> bool:
        """True if a sweeper has taken it: it may have been sent."""
        return self.claim is not None

    @property
    def cursor(self) -> str:
        """The position of this schedule in a listing, for `ScheduleQuery(after=…)`."""
        return pages.cursor(self.due, self.schedule_id)

    @property
    def message(self) -> StoredMessage:
        """The message to send when it is due. Raises `Unreadable`."""
        headers, how = encoding.loads(self.headers), encoding.loads(self.how)
        if not isinstance(headers, dict) or not isinstance(how, dict):
            raise Unreadable("its headers or properties are not readable")
        declared = how.setdefault("declare", [])
        if not isinstance(declared, list) or not all(map(_names_a_queue, declared)):
            raise Unreadable("its queue is not readable")
        content = how.pop("content_type", None), how.pop("content_encoding", None)
        if not (isinstance(content[0], str) and isinstance(content[1], str)):
            raise Unreadable("the content type of its body is not known")
        headers[SCHEDULE_ID] = self.schedule_id
        if self.new_task_id is not None:
            headers["parent_id"] = headers.get("id")
            headers["id"] = how["correlation_id"] = self.new_task_id
            headers[ORIGINAL_ID] = f"{self.new_task_id} {self.task_id}"
        return StoredMessage(self.body, content[0], content[1], headers, how)


def _names_a_queue(definition: Any) -> bool:
    return isinstance(definition, dict) and isinstance(definition.get("name"), str)


class Unreadable(Exception):
    """The stored message cannot be sent; the error says why."""


class StoredMessage(NamedTuple):
    """A message as kombu's `Producer.publish` takes it."""

    body: bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    how: dict[str, Any]
    """The other keywords; `declare` holds the queues' definitions."""


@dataclass(frozen=True)
class ScheduleQuery:
    """Which schedules, the first due first. One matches if every field that is not None does."""

    tasks: TaskQuery | None = None
    """Of tasks whose records match; `limit`, `after` and `order` are ignored here. An empty query
    matches every schedule, even one whose task has no record."""
    task_ids: Collection[str] | None = None
    schedule_ids: Collection[str] | None = None
    namespace: str | None = None
    not_namespace: str | None = None
    """Of any namespace but this."""
    due_until: datetime | None = None
    """Due at this time or earlier."""
    claimed: bool | None = None
    outbox: bool | None = None
    """True: of tasks in an outbox. False: of all others."""
    limit: int | None = 100
    """The greatest number of schedules in a page; None: all."""
    after: str | None = None
    """The `cursor` of the last schedule on the previous page."""

    def __post_init__(self) -> None:
        pages.check(self, "due_until")

    @property
    def position(self) -> pages.Position | None:
        """`after` as (due, schedule id)."""
        return pages.position(self, "a schedule")
