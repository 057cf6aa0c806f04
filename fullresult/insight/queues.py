"""The queues: what waits in each, since when, and who consumes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from fullresult.config import Settings
from fullresult.insight.document import plain
from fullresult.insight.fleet import Life, lives_of, may_be_on
from fullresult.insight.live import Live, QueueNow
from fullresult.insight.pauses import PauseSeen, document_of, pauses_now, seen
from fullresult.insight.words import count_of
from fullresult.record import PENDING, RETRY, SCHEDULED_SENT, TaskRecord
from fullresult.record.sample import Sample
from fullresult.storage import StatisticsStorage, Storage, TaskQuery

_OLDEST = 1_000
"""Waiting records that are looked at, the oldest ones."""
_NEWEST = 5_000
"""Records of the last hour that rates are made of, the newest ones."""
_HOUR, _WINDOW = timedelta(hours=1), timedelta(minutes=5)
_MOST_NAMES = 200
_FOLLOWED = timedelta(minutes=1)
"""By then every worker has heard of a pause, or does not follow it."""
_WAITING = (PENDING, RETRY, SCHEDULED_SENT)


@dataclass(frozen=True)
class QueueSeen:
    """One queue, as it stands. None: that is not known."""

    name: str
    exists: bool | None
    """False if RabbitMQ has no such queue."""
    ready: int | None
    """Messages that no worker has taken, by the broker."""
    consumers: int | None
    """By RabbitMQ; otherwise the number of `workers`."""
    workers: tuple[str, ...]
    """The workers that live and consume it."""
    recorded: int
    """Tasks that wait in it by the records, among the 1,000 that wait longest."""
    oldest: datetime | None
    """Since when the task waits that waits longest."""
    per_minute_in: float
    """Tasks published to it, a minute, in the last 5 minutes."""
    per_minute_out: float
    """Tasks of it begun, a minute, in the last 5 minutes."""
    problem: str | None
    """A sentence about what is wrong with it."""
    paused: PauseSeen | None = None
    """Who paused it, and how workers follow."""

    @property
    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        found = {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return {**found, "paused": document_of(self.paused)}


class Queues(NamedTuple):
    """All queues that are known."""

    at: datetime
    """By the storage's clock."""
    queues: tuple[QueueSeen, ...]
    """Those with a problem first, then by name."""
    unknown: tuple[str, ...]
    """What could not be asked, and why."""


def queues_of(storage: Storage, settings: Settings, live: Live | None = None) -> Queues:
    """The queues of *storage*'s tasks and workers. Raises `StorageError`.

    The broker is asked by *live*; without it, records and cards are all that is known.
    """
    now = storage.now()
    consumers = Consumers(storage, settings, now)
    waiting, recent = _waiting(storage), _recent(storage, now)
    known = consumers.named | {*waiting, *(each.queue for each in recent if each.queue)}
    # What somebody consumes, or waits for, before what was only seen lately.
    ranked = sorted(
        known,
        key=lambda name: (
            name not in consumers.pauses,
            name not in consumers.by_queue,
            name not in waiting,
            name,
        ),
    )
    names, left_out = ranked[:_MOST_NAMES], max(len(ranked) - _MOST_NAMES, 0)
    told = {each.name: each for each in (live.queues(names) if live and names else ())}
    rates = _Rates(recent, now)
    found = [
        _seen(storage, told.get(name, QueueNow(name)), consumers, waiting.get(name, []), rates, now)
        for name in names
    ]
    found.sort(key=lambda each: (each.problem is None, each.paused is None, each.name))
    problems = dict.fromkeys(each.problem for each in told.values() if each.problem)
    silent = ["broker: it was not asked"] if live is None else [f"broker: {p}" for p in problems]
    if left_out:
        silent.append(f"{count_of(left_out, 'queue')} more: the first {_MOST_NAMES} are shown")
    return Queues(now, tuple(found), tuple(silent))


def known_queues(storage: Storage, settings: Settings, now: datetime) -> set[str]:
    """The names of the queues that living workers, records and pauses name."""
    consumers = Consumers(storage, settings, now)
    recent = {each.queue for each in _recent(storage, now) if each.queue}
    return consumers.named | {*_waiting(storage)} | recent


def left_alone(storage: Storage, settings: Settings, records: Collection[TaskRecord]) -> list[str]:
    """A sentence for each queue in which some of *records* wait that is paused or left alone.

    Left alone, as far as cards say: none if no worker has a card, or one that lives has none.
    """
    names = {record.queue for record in records if record.queue and _waits(record)}
    if not names:
        return []
    consumers = Consumers(storage, settings, storage.now())
    found = {name: consumers.paused(name) for name in sorted(names)}
    return [
        sentence(name) if pause is None else pause.sentence
        for name, pause in found.items()
        if pause is not None or consumers.is_left_alone(name)
    ]


def _waits(record: TaskRecord) -> bool:
    return record.state in _WAITING and (record.outcome is None or record.outcome.open)


def sentence(queue: str, *, proven: bool = False) -> str:
    """The one sentence for a queue without a consumer.

    Only a broker that counts consumers proves it: a worker without `FullResult` tells nothing.
    """
    return f"No living worker consumes {queue}{'' if proven else ', as far as is known'}."


class Consumers:
    """Which living workers of this app's broker consume which queue, by their cards.

    And which of them stopped because it is paused.
    """

    def __init__(self, storage: Storage, settings: Settings, now: datetime) -> None:
        living = [life for life in lives_of(storage, now, gone=0) if not life.worker.is_gone(now)]
        mine = [each for each in living if _is_mine(each, settings)]
        self.by_queue: dict[str, list[str]] = defaultdict(list)
        self.stopped: dict[str, list[str]] = defaultdict(list)
        self.pauses = pauses_now(storage, settings, now)
        self.now = now
        for life in mine:
            for queue in life.card.queues if life.card else ():
                self.by_queue[queue].append(life.worker.name)
            for queue in life.card.paused if life.card else ():
                self.stopped[queue].append(life.worker.name)
        self._is_known = bool(mine) and all(life.card for life in mine)

    @property
    def named(self) -> set[str]:
        """The queues that cards and pauses name."""
        return {*self.by_queue, *self.stopped, *self.pauses}

    def paused(self, queue: str, counted: int | None = None) -> PauseSeen | None:
        """The pause of *queue*, of which the broker counted so many consumers; None without."""
        pause = self.pauses.get(queue)
        if pause is None:
            return None
        stopped = sorted(self.stopped.get(queue, ()))
        return seen(pause, self.now, stopped, sorted(self.by_queue.get(queue, ())), counted)

    def is_left_alone(self, queue: str) -> bool:
        """True if workers live, and surely none of them consumes it."""
        return self._is_known and queue not in self.by_queue


def _is_mine(life: Life, settings: Settings) -> bool:
    return life.card is None or may_be_on(life.card, settings.namespace)


def _waiting(storage: Storage) -> dict[str, list[TaskRecord]]:
    """The records that wait longest, by queue."""
    query = TaskQuery(open=True, state=_WAITING, order="oldest", limit=_OLDEST)
    found: dict[str, list[TaskRecord]] = defaultdict(list)
    for record in storage.find(query):
        if record.queue:
            found[record.queue].append(record)
    return found


def _recent(storage: Storage, now: datetime) -> list[Sample]:
    if not isinstance(storage, StatisticsStorage):
        return []
    return storage.sample([now - _HOUR, now], _NEWEST)[0]


class _Rates:
    """Tasks a minute, in and out of each queue."""

    def __init__(self, recent: list[Sample], now: datetime) -> None:
        since = now - _WINDOW
        if len(recent) == _NEWEST:
            since = max(since, recent[-1].date_created)
        minutes = max((now - since).total_seconds() / 60, 1 / 60)
        came = Counter(s.queue for s in recent if s.date_published and s.date_published > since)
        went = Counter(s.queue for s in recent if s.first_started and s.first_started > since)
        self.came = {queue: number / minutes for queue, number in came.items()}
        self.went = {queue: number / minutes for queue, number in went.items()}


def _seen(
    storage: Storage,
    told: QueueNow,
    consumers: Consumers,
    waiting: list[TaskRecord],
    rates: _Rates,
    now: datetime,
) -> QueueSeen:
    workers = tuple(sorted(consumers.by_queue.get(told.name, ())))
    paused = consumers.paused(told.name, told.consumers)
    return QueueSeen(
        name=told.name,
        exists=told.exists,
        ready=told.ready,
        consumers=len(workers) if told.consumers is None else told.consumers,
        workers=workers,
        recorded=len(waiting),
        oldest=_oldest(storage, told, waiting, now),
        per_minute_in=rates.came.get(told.name, 0.0),
        per_minute_out=rates.went.get(told.name, 0.0),
        problem=_problem(told, consumers, paused, waits=bool(waiting)),
        paused=paused,
    )


def _oldest(
    storage: Storage, told: QueueNow, waiting: list[TaskRecord], now: datetime
) -> datetime | None:
    """Since when the task waits that waits longest: the broker's first, or by the records."""
    if told.ready == 0:
        return None
    if told.oldest_id is not None:
        record = storage.get(told.oldest_id)
        if record is not None:
            return min(_since(record), now)
    return min((when for when in map(_since, waiting) if when <= now), default=None)


def _since(record: TaskRecord) -> datetime:
    """When it was given to the broker last, or its ETA if that is later: until then it is held."""
    published = record.date_published or record.date_created
    return published if record.outcome is None else max(published, record.outcome.stale_from)


def _problem(
    told: QueueNow, consumers: Consumers, paused: PauseSeen | None, *, waits: bool
) -> str | None:
    if told.exists is False:
        return f"The broker has no queue {told.name}." if waits else None
    if paused is not None:
        is_late = consumers.now - paused.since > _FOLLOWED
        return paused.sentence if is_late and not paused.holds else None
    if told.consumers or not (waits or told.ready):
        return None
    if told.consumers == 0 or consumers.is_left_alone(told.name):
        return sentence(told.name, proven=told.consumers == 0)
    return None
