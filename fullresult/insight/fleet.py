"""The fleet: which workers live, which are gone, and what each runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal, NamedTuple

from fullresult.config import may_be_one
from fullresult.insight.document import plain
from fullresult.insight.orphans import NOT_RUNNING
from fullresult.record import TaskRecord, pages
from fullresult.record.card import Card, WorkerCard
from fullresult.record.stamps import worker_in
from fullresult.record.worker import Worker
from fullresult.storage import CardStorage, Storage, StorageError, TaskQuery, WorkerStorage

_RUNNING = 2_000
"""Running tasks that are looked at."""
_RECENT = timedelta(days=7)
"""A worker that is gone for longer is folded away."""
_GONE = 200
"""Workers that are gone whose cards are read, the last seen."""


class Life(NamedTuple):
    """A worker's life, and its card if it left one."""

    worker: Worker
    card: Card | None
    names_id: str = ""
    """Names the list of the tasks that it knows."""

    @classmethod
    def of(cls, worker: Worker, kept: WorkerCard | None) -> Life:
        return cls(worker, None, "") if kept is None else cls(worker, kept.card, kept.names_id)


def lives_of(storage: Storage, now: datetime, gone: int = _GONE) -> tuple[Life, ...]:
    """Every worker that the storage knows, the last seen first.

    Those that live have their cards, and of those that are gone at *now* the last *gone*.
    """
    if not isinstance(storage, WorkerStorage):
        return ()
    found = sorted(storage.find_workers(), key=lambda each: each.date_seen, reverse=True)
    read = [each.worker_id for each in found if not each.is_gone(now)]
    read += [each.worker_id for each in found if each.is_gone(now)][:gone]
    cards = storage.find_cards(read) if isinstance(storage, CardStorage) else []
    known = {card.worker_id: card for card in cards}
    return tuple(Life.of(worker, known.get(worker.worker_id)) for worker in found)


def in_force(lives: Iterable[Life]) -> tuple[Life, ...]:
    """Of *lives*, those that no other one of their name began after.

    A worker that was killed lives for some seconds more by the storage; a new one of its name,
    which began after it was last heard of, is there in its place.
    """
    known = tuple(lives)
    begun: dict[str, datetime] = {}
    for life in known:
        worker = life.worker
        begun[worker.name] = max(begun.get(worker.name, worker.date_started), worker.date_started)
    return tuple(each for each in known if begun[each.worker.name] <= each.worker.date_seen)


def may_be_on(card: Card, namespace: str) -> bool:
    """True if a worker may be on that broker: a host has several names."""
    one = card.namespace
    return one == namespace or ("://" in one and "://" in namespace and may_be_one(one, namespace))


class RunningTask(NamedTuple):
    """A task that a worker was running when it was last heard of."""

    task_id: str
    name: str | None
    since: datetime | None


@dataclass(frozen=True)
class WorkerSeen:
    """One life of a worker, as it stands."""

    name: str
    worker_id: str
    state: Literal["alive", "gone", "ended"]
    """gone: it should have been heard of, and was not. ended: it said that it ended."""
    date_started: datetime
    date_seen: datetime
    card: Card
    """Empty if it left none."""
    running: tuple[RunningTask, ...]
    """The tasks it runs, or ran when it was last heard of and nobody sent again: orphans."""

    @property
    def orphans(self) -> int:
        """The number of tasks that it was running when it went away."""
        return 0 if self.state == "alive" else len(self.running)

    @property
    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found["card"] = dict(vars(self.card))
        found["running"] = [each._asdict() for each in self.running]
        return {name: plain(value) for name, value in found.items()}


@dataclass(frozen=True)
class Fleet:
    """The workers of a storage."""

    at: datetime
    """By the storage's clock."""
    workers: tuple[WorkerSeen, ...]
    """Those that live, by name, and those that are gone, the last seen first."""
    folded: tuple[WorkerSeen, ...]
    """Those that ended as they should, that began anew under their name, or are gone for a week."""

    @property
    def alive(self) -> int:
        return sum(each.state == "alive" for each in self.workers)

    @property
    def gone(self) -> int:
        return sum(each.state == "gone" for each in self.workers)

    @property
    def orphans(self) -> int:
        """The tasks that were running on workers that are gone."""
        return sum(each.orphans for each in (*self.workers, *self.folded))


def fleet_of(storage: Storage, *, running: bool | None = True) -> Fleet:
    """The workers that *storage* knows. Raises `StorageError`.

    Without *running*, the tasks that run are looked for only if a worker went away without a word:
    where a million tasks wait, that is work. If it is None, they are not looked for at all.
    """
    if not isinstance(storage, WorkerStorage):
        raise StorageError("this storage does not keep which workers are alive")
    now = storage.now()
    lives = lives_of(storage, now)
    wanted = running or (running is not None and any(_crashed(each.worker, now) for each in lives))
    alive = {each.worker.worker_id for each in lives if not each.worker.is_gone(now)}
    tasks = _running(storage, alive) if lives and wanted else {}
    seen = [_seen(life, now, tasks.get(life.worker.worker_id, ())) for life in lives]
    living = {each.name for each in seen if each.state == "alive"}
    shown = [each for each in seen if _is_shown(each, living, now)]
    shown.sort(key=lambda each: (each.state != "alive", each.state == "alive" and each.name))
    chosen = {each.worker_id for each in shown}
    return Fleet(now, tuple(shown), tuple(e for e in seen if e.worker_id not in chosen))


def _crashed(worker: Worker, now: datetime) -> bool:
    is_recent = now - worker.date_seen < _RECENT
    return worker.is_gone(now) and worker.date_stopped is None and is_recent


def _seen(life: Life, now: datetime, running: Iterable[RunningTask]) -> WorkerSeen:
    worker = life.worker
    state: Literal["alive", "gone", "ended"] = "alive"
    if worker.is_gone(now):
        state = "gone" if worker.date_stopped is None else "ended"
    return WorkerSeen(
        worker.name,
        worker.worker_id,
        state,
        worker.date_started,
        worker.gone_since,
        life.card or Card(),
        tuple(running),
    )


def _is_shown(seen: WorkerSeen, living: Collection[str], now: datetime) -> bool:
    if seen.state == "alive" or seen.orphans:
        return True
    is_old = now - seen.date_seen > _RECENT
    return seen.state == "gone" and seen.name not in living and not is_old


def _running(storage: Storage, alive: Collection[str]) -> dict[str, list[RunningTask]]:
    """The tasks that run by the records, by the id of the worker.

    Of a worker that is not *alive*, without those that were sent again: they need nobody any more.
    """
    query = TaskQuery(open=True, not_state=NOT_RUNNING, order="oldest", limit=100)
    found: dict[str, list[RunningTask]] = defaultdict(list)
    for record in islice(pages.walk(storage.find, query), _RUNNING):
        worker_id = worker_in(record.outcome.stamp) if record.outcome else None
        if worker_id is not None and (worker_id in alive or record.resent_as is None):
            found[worker_id].append(_task(record))
    return found


def _task(record: TaskRecord) -> RunningTask:
    return RunningTask(record.task_id, record.name, record.date_started)
