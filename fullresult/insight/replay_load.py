"""What a batch of re-sends would do to its queues, and whether workers are there that can run it.

The load is of what tasks of these names took lately, the guard of what workers say on their cards.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from fullresult.config import Settings
from fullresult.insight.fleet import Life, in_force, lives_of
from fullresult.insight.queues import sentence
from fullresult.insight.tally import percentiles
from fullresult.insight.words import count_of
from fullresult.record import SUCCESS, TaskRecord
from fullresult.record.card import options_in
from fullresult.record.stamps import release_in
from fullresult.storage import CardStorage, Storage, TaskQuery

_NAMES = 10
"""Names whose own history is looked at, those with the most tasks."""
_HISTORY = 100
"""The newest successes of a name whose runtimes are looked at."""
_SENTENCES = 5


@dataclass(frozen=True)
class QueueLoad:
    """What a queue would have to bear."""

    queue: str
    share: float
    """The part of the tasks that goes there."""
    seconds: float | None
    """What a task takes, by the 95 of 100 that ended soonest lately; None if none is known."""
    processes: int | None
    """Of the living workers that consume the queue; None if one of them does not say."""

    def busy(self, rate: float) -> float | None:
        """The number of processes that it keeps busy, if *rate* tasks a second are sent in all."""
        return None if self.seconds is None else rate * self.share * self.seconds

    def told(self, rate: float) -> str:
        """A sentence about it at *rate*."""
        queue, busy = self.queue or "no known queue", self.busy(rate)
        at = f"{queue}: {rate * self.share:.3g}/s"
        if busy is None:
            return f"{at}; no run of these tasks is known."
        number = ceil(busy)
        processes = f"{number:,} process{'' if number == 1 else 'es'}"
        told = f"{at} of up to {self.seconds:.3g} s keep {processes} busy"
        if self.processes is None:
            return f"{told}; how many there are is not known."
        more = ": more than there are" if busy > self.processes else ""
        return f"{told}, of {self.processes:,}{more}."


def loads_of(
    storage: Storage, settings: Settings, records: Sequence[TaskRecord], queue: str | None = None
) -> list[QueueLoad]:
    """The load of each queue to which *records* go, or of *queue*; the greatest part first."""
    runs = _runs(storage, records)
    lives = _living(storage, settings)
    where = Counter(queue or record.queue or "" for record in records)
    return [
        QueueLoad(
            name,
            number / len(records),
            _seconds([r for r in records if (queue or r.queue or "") == name], runs),
            _processes(name, lives),
        )
        for name, number in where.most_common(_NAMES)
    ]


def warnings_of(
    storage: Storage, settings: Settings, records: Sequence[TaskRecord], queue: str | None = None
) -> list[str]:
    """Sentences about workers that cannot run *records*, or that run what they failed in."""
    lives = _living(storage, settings)
    if not lives or not all(life.card for life in lives):
        return []  # one that says nothing may be the one that can
    return [*_cannot(storage, lives, records, queue), *_same_release(lives, records)]


def _living(storage: Storage, settings: Settings) -> list[Life]:
    now = storage.now()
    living = [life for life in lives_of(storage, now, gone=0) if not life.worker.is_gone(now)]
    return [
        life
        for life in in_force(living)
        if life.card is None or life.card.namespace == settings.namespace
    ]


def _runs(storage: Storage, records: Sequence[TaskRecord]) -> dict[str, float]:
    """Seconds that 95 of 100 successes took at most, by name."""
    found = {}
    for name, _ in Counter(record.name or "" for record in records).most_common(_NAMES):
        last = storage.find(TaskQuery(name=glob.escape(name), state=SUCCESS, limit=_HISTORY))
        known = percentiles([r.runtime for r in last if r.runtime is not None])
        if known is not None:
            found[name] = known.p95
    return found


def _seconds(records: Sequence[TaskRecord], runs: dict[str, float]) -> float | None:
    """The mean over *records* of what their names take."""
    known = [runs[record.name or ""] for record in records if (record.name or "") in runs]
    return sum(known) / len(known) if known else None


def _processes(queue: str, lives: Sequence[Life]) -> int | None:
    number = 0
    for life in lives:
        if life.card is None or (queue in life.card.queues and life.card.processes is None):
            return None
        if queue in life.card.queues:
            number += life.card.processes or 0
    return number


def _cannot(
    storage: Storage, lives: Sequence[Life], records: Sequence[TaskRecord], queue: str | None
) -> Iterator[str]:
    assert isinstance(storage, CardStorage)
    texts = storage.find_names({life.names_id for life in lives})
    known = {names_id: {*options_in(text)} for names_id, text in texts.items()}
    wanted = Counter((queue or record.queue, record.name) for record in records)
    for (where, name), number in wanted.most_common(_SENTENCES):
        if where is None or name is None:
            continue
        there = [life for life in lives if life.card and where in life.card.queues]
        if not there:
            yield sentence(where)
            continue
        without = [e.worker.name for e in there if name not in known.get(e.names_id, {name})]
        if without:
            who = without[0] if len(without) == 1 else f"{without[0]} and {len(without) - 1:,} more"
            yield f"{who} would discard {count_of(number)}: it does not know {name}."


def _same_release(lives: Sequence[Life], records: Sequence[TaskRecord]) -> Iterator[str]:
    failed = Counter(release_in(r.outcome.stamp) for r in records if r.outcome)
    now = Counter(life.card.release for life in lives if life.card and life.card.release)
    for release, number in failed.most_common(_SENTENCES):
        if release and now[release]:
            yield (
                f"{count_of(number)} ended in the release {release}, which "
                f"{now[release]:,} of {count_of(len(lives), 'living worker')} still run."
            )
