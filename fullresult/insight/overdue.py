"""Overdue schedules: the four kinds of them, and those that may be sent by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from fullresult.record import encoding, pages
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.scheduling.claim_term import is_free
from fullresult.storage import ScheduleStorage, with_schedules

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.storage import Storage, TaskQuery

_PAGE = 100


class Kind(Enum):
    """The reason why an overdue schedule is not sent; it decides what may be done about it."""

    CLAIMED = "claimed"
    """Claimed and never marked sent, for over a minute or with a problem: maybe it was sent."""
    BEING_SENT = "being sent"
    """Claimed within the last minute: a sweeper is about to send it."""
    UNCLAIMED = "unclaimed"
    """No sweeper has claimed it."""
    FOREIGN = "foreign"
    """For another broker than this app's."""

    @property
    def may_be_sent(self) -> bool:
        """True if people may send it, or give it back to the sweepers."""
        return self in (Kind.CLAIMED, Kind.UNCLAIMED)

    @property
    def meaning(self) -> str:
        """The kind in words, to stand after a number of tasks."""
        return _MEANINGS[self]


_MEANINGS = {
    Kind.CLAIMED: "claimed and never marked sent: maybe sent, maybe not",
    Kind.BEING_SENT: "claimed within the last minute: about to be sent",
    Kind.UNCLAIMED: "due and never claimed: no sweeper is at work, or it is behind",
    Kind.FOREIGN: "for another broker than this app's",
}


class Overdue:
    """The overdue schedules of a storage, as of now by its clock.

    Every method raises `StorageError`, and so does a storage that keeps no schedules.
    """

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self._storage = with_schedules(storage)
        self._usual_age = settings.stale_after
        self.namespace = settings.namespace
        self.now: datetime = storage.now()

    @property
    def last_sweep(self) -> datetime | None:
        """When a sweeper of this app's broker was last at work; None: never."""
        return self._storage.last_sweep(self.namespace)

    def page(
        self, age: timedelta | None, limit: int | None, after: str | None = None
    ) -> list[Schedule]:
        """A page of what has been due for *age* (`fullresult_stale_after`), the first due first."""
        return self._storage.find_schedules(
            ScheduleQuery(due_until=self._due_until(age), limit=limit, after=after)
        )

    def kind_of(self, schedule: Schedule) -> Kind:
        if schedule.namespace != self.namespace:
            return Kind.FOREIGN
        if not schedule.claimed:
            return Kind.UNCLAIMED
        return Kind.BEING_SENT if self.is_being_sent(schedule) else Kind.CLAIMED

    def is_being_sent(self, schedule: Schedule) -> bool:
        """True if a sweeper, of any broker, claimed it within the last minute without a problem."""
        claimed = schedule.date_claimed
        if claimed is None or schedule.problem is not None:
            return False
        return not is_free(claimed, self.now)

    def by_kind(self, schedules: Iterable[Schedule]) -> dict[Kind, list[Schedule]]:
        """*schedules* by their kind, in the order of `Kind`; a kind without any is left out."""
        found: dict[Kind, list[Schedule]] = {kind: [] for kind in Kind}
        for schedule in schedules:
            found[self.kind_of(schedule)].append(schedule)
        return {kind: some for kind, some in found.items() if some}

    def to_send(
        self,
        age: timedelta | None,
        *,
        claimed: bool | None = None,
        query: TaskQuery | None = None,
    ) -> Iterator[Schedule]:
        """The schedules that may be sent by hand. A claim must be as old as *age*, too."""
        until = self._due_until(age)
        asked = ScheduleQuery(tasks=query, due_until=until, claimed=claimed)
        for schedule in walk(self._storage, asked):
            since = schedule.date_claimed or schedule.due
            if since <= until and self.kind_of(schedule).may_be_sent:
                yield schedule

    def _due_until(self, age: timedelta | None) -> datetime:
        return self.now - (self._usual_age if age is None else age)


def schedules_of(storage: Storage, task_id: str) -> list[Schedule]:
    """The schedules of one task, the first due first; none where the storage keeps none."""
    if not isinstance(storage, ScheduleStorage):
        return []
    return storage.find_schedules(ScheduleQuery(task_ids=[encoding.key(task_id)], limit=None))


def walk(storage: Storage, query: ScheduleQuery) -> Iterator[Schedule]:
    """Every schedule that *query* asks for, read page by page."""
    return pages.walk(with_schedules(storage).find_schedules, replace(query, limit=_PAGE))
