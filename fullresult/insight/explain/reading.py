"""What rules ask the storage beside the record: each question has a bound."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from statistics import median
from typing import Any

from fullresult.config import Settings
from fullresult.insight.explain.signatures import find
from fullresult.insight.pauses import PauseSeen, pauses_now
from fullresult.insight.queues import Consumers
from fullresult.insight.tally import percentiles
from fullresult.record import FAILURE, TaskRecord
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.record.card import options_in
from fullresult.record.replay import Replay
from fullresult.record.sample import Sample
from fullresult.storage import (
    AuditStorage,
    CardStorage,
    ReplayStorage,
    ScheduleStorage,
    StatisticsStorage,
    Storage,
    TaskQuery,
)

_SPAN = timedelta(hours=24)
_MOST = 2_000
"""Records that numbers about a task's name are made of."""
_NAMING = 20_000
"""Records that are looked at for one that names an id."""
_SECONDS = 1.0
"""The longest that this takes."""
_QUICK = 0.3
"""The same for all that name it, after one was found."""
_PAGE = 500
_STATES_BEFORE_START = ("PENDING", "UNSENT", "SCHEDULED", "SCHEDULED_SENT")


class Reading:
    """Questions to one storage, each asked once."""

    def __init__(self, storage: Storage, now: datetime) -> None:
        self._storage = storage
        self._now = now

    @cached_property
    def samples(self) -> list[Sample]:
        """The newest records of a day."""
        if not isinstance(self._storage, StatisticsStorage):
            return []
        return self._storage.sample([self._now - _SPAN, self._now], _MOST)[0]

    def pause_of(self, queue: str, settings: Settings, counted: int | None) -> PauseSeen | None:
        """The pause of a queue of this app's broker, which counted so many consumers."""
        if not pauses_now(self._storage, settings, self._now):
            return None
        return Consumers(self._storage, settings, self._now).paused(queue, counted)

    def median_wait(self, record: TaskRecord) -> float | None:
        """Seconds that half of the other tasks of this name waited at most."""
        waits = [
            sample.wait
            for sample in self.samples
            if sample.name == record.name
            and sample.date_created != record.date_created
            and sample.wait is not None
        ]
        return median(waits) if waits else None

    def p95_run(self, name: str | None) -> float | None:
        """Seconds that 95 of 100 tasks of this name ran at most."""
        found = percentiles([s.run for s in self.samples if s.name == name and s.run is not None])
        return found.p95 if found else None

    def begun_per_second(self, queue: str) -> float:
        """Tasks of *queue* that workers began, a second, in the last minute."""
        recent = self._now - timedelta(minutes=1)
        begun = [each.first_started for each in self.samples if each.queue == queue]
        return sum(when is not None and when > recent for when in begun) / 60

    def get(self, task_id: str) -> TaskRecord | None:
        return self._storage.get(task_id)

    def overtaken_by(self, record: TaskRecord, since: datetime) -> TaskRecord | None:
        """A task of its queue and priority that was published after *since* and has been started.

        Looks at the first 20 of the hour from then on.
        """
        if record.queue is None:
            return None
        query = TaskQuery(
            queue=record.queue,
            since=since,
            until=since + timedelta(hours=1),
            not_state=_STATES_BEFORE_START,
            order="oldest",
            limit=20,
        )
        return next(
            (
                other
                for other in self._storage.find(query)
                if other.task_id != record.task_id
                and other.priority == record.priority
                and other.start is not None
                and (other.date_published or other.date_created) > since
            ),
            None,
        )

    def running_on(self, worker: str) -> list[TaskRecord]:
        """The tasks that a worker runs now, by the records."""
        query = TaskQuery(worker=worker, state="STARTED", open=True, order="oldest", limit=20)
        return self._storage.find(query)

    def ran_on(self, worker: str, since: datetime, until: datetime) -> list[TaskRecord]:
        """The tasks created shortly before, or in, this time that a worker ran in it."""
        query = TaskQuery(worker=worker, since=since - timedelta(minutes=10), until=until, limit=50)
        return [
            record
            for record in self._storage.find(query)
            if record.date_started is not None
            and record.date_started < until
            and (record.date_done is None or record.date_done > since)
        ]

    def audit(self, task_id: str) -> list[AuditEntry]:
        """What people did to it, the newest first."""
        if not isinstance(self._storage, AuditStorage):
            return []
        return self._storage.find_audit(AuditQuery(task_id=task_id, limit=10))

    def resends(self, task_id: str) -> list[TaskRecord]:
        return self._storage.find(TaskQuery(retry_of=task_id, order="oldest", limit=5))

    def replay_of(self, old_id: str, task_id: str) -> Replay | None:
        """The replay that sends the task *old_id* again as *task_id*, among the newest 100."""
        if not isinstance(self._storage, ReplayStorage):
            return None
        known = self._storage.find_replays(limit=100)
        return next((each for each in known if each.new_id(old_id) == task_id), None)

    def group(self, group_id: str) -> list[TaskRecord]:
        return self._storage.find(TaskQuery(group_id=group_id, order="oldest", limit=1_000))

    def knowing(self, name: str, cards: dict[str, list[str]]) -> list[str]:
        """Of the lists of names in *cards*, the workers whose list has *name*."""
        if not isinstance(self._storage, CardStorage):
            return []
        kept = self._storage.find_names([*cards])
        return [
            w
            for names_id, text in kept.items()
            if name in options_in(text)
            for w in cards[names_id]
        ]

    def options_of(self, name: str | None, names_id: str) -> dict[str, Any] | None:
        """The options of the task *name* in a list of names; None if that does not have it."""
        if not isinstance(self._storage, CardStorage) or not names_id:
            return None
        text = self._storage.find_names([names_id]).get(names_id, "{}")
        found = options_in(text).get(name or "")
        return dict(found) if isinstance(found, dict) else None

    def last_sweep(self, namespace: str) -> datetime | None:
        """When a sweeper of *namespace* was last at work; None: never."""
        storage = self._storage
        return storage.last_sweep(namespace) if isinstance(storage, ScheduleStorage) else None

    def naming(self, task_id: str) -> tuple[TaskRecord, dict[str, Any]] | None:
        """A record, open or failed, whose links name *task_id*, and those links."""
        for record in self._with_links(task_id):
            return record, record.embed
        return None

    def all_naming(self, task_id: str) -> list[TaskRecord]:
        """The records, open or failed, whose links name *task_id*: as many as are found quickly."""
        return list(islice(self._with_links(task_id, _QUICK), 1_000))

    def _with_links(self, task_id: str, seconds: float = _SECONDS) -> Iterator[TaskRecord]:
        until = time.monotonic() + seconds
        for query in (TaskQuery(open=True, limit=_PAGE), TaskQuery(state=FAILURE, limit=_PAGE)):
            after: str | None = None
            for _ in range(_NAMING // _PAGE // 2):
                page = self._storage.find(replace(query, after=after))
                for record in page:
                    if record.task_id != task_id and _links_to(record, task_id):
                        yield record
                if len(page) < _PAGE or time.monotonic() > until:
                    break
                after = page[-1].cursor


def _links_to(record: TaskRecord, task_id: str) -> bool:
    """True if its links name *task_id*; they are decoded only where the message mentions it."""
    sent = record.message
    if sent is None:
        return False
    mentions = task_id in (sent.embed or "") or task_id.encode() in (sent.body or b"")
    return mentions and find(record.embed, task_id) is not None
