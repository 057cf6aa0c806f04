"""What a replay would send, before it is begun: counted, judged by some, with its load."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from fullresult.actions.replay_message import Preparing
from fullresult.insight.replay_load import QueueLoad, loads_of, warnings_of
from fullresult.insight.surgery.advice import advice_on
from fullresult.record import TaskQuery, TaskRecord
from fullresult.scheduling.replay_governor import LeftOut
from fullresult.storage import StatisticsStorage

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings
    from fullresult.recording.recorder import Recorder
    from fullresult.storage.replays import ReplayStorage

MOST_COUNTED = 100_000
"""A preview counts no further, nor is more of what was taken looked at."""
LOOKED_AT = 500
_ADVICE = 5


class Kind(NamedTuple):
    """Tasks that are alike to who is to send them again."""

    name: str
    queue: str
    ended: str
    """Its exception, or else its state."""
    group: str
    """Of failures; "" for none."""

    @classmethod
    def of(cls, record: TaskRecord) -> Kind:
        how = record.state if record.exception_type is None else record.exception_type
        group = record.outcome.fingerprint if record.outcome else None
        return cls(record.name or "", record.queue or "", how or "", group or "")


@dataclass(frozen=True)
class Preview:
    """What a replay would send."""

    query: TaskQuery
    count: int
    """The number of tasks that match, no more than `most`."""
    looked_at: int
    """The number of those, the oldest, on which the rest is based."""
    left_out: dict[str, int]
    """Of those looked at, the number that would not be sent, by the reason."""
    kinds: dict[Kind, int]
    """Of those that would be sent, the number of each kind."""
    first: list[TaskRecord] = field(default_factory=list)
    swept: bool = True
    """True if a sweeper was at work within the last minute."""
    oldest: datetime | None = None
    """When the first of all that match was created."""
    newest: datetime | None = None
    loads: list[QueueLoad] = field(default_factory=list)
    """What those that would be sent bring on each queue."""
    warnings: list[str] = field(default_factory=list)
    """Sentences about workers that cannot run them, or run the release that they failed in."""
    advice: list[str] = field(default_factory=list)
    """Sentences about some that are left out, and what does for them."""
    most: int = MOST_COUNTED

    @property
    def is_sampled(self) -> bool:
        return self.count > self.looked_at

    @property
    def sends_none(self) -> bool:
        """True if every one of the tasks would be left out."""
        all_of_them = self.looked_at > 0 and not self.is_sampled
        return all_of_them and sum(self.left_out.values()) >= self.looked_at

    @property
    def at_least(self) -> bool:
        """True if more may match."""
        return self.count >= self.most

    def drains_in(self, rate: float) -> timedelta:
        """The time that all that match take at *rate*, if none is left out."""
        return timedelta(seconds=round(self.count / rate))


def previewed(
    app: Celery,
    settings: Settings,
    storage: ReplayStorage,
    recorder: Recorder,
    query: TaskQuery,
    queue: str | None,
    most: int = MOST_COUNTED,
    looked_at: int = LOOKED_AT,
) -> Preview:
    """What a replay of *query* would send, to *queue* if that is given.

    Counted up to *most*, and judged by the oldest *looked_at*.
    """
    if isinstance(storage, StatisticsStorage):
        count = storage.count_capped(query, most)
    else:
        count = min(storage.count(query), most)
    page = storage.find(replace(query, order="oldest", limit=looked_at, after=None))
    last = storage.find(replace(query, order="newest", limit=1, after=None))
    preparing = Preparing(app, settings, storage, recorder)
    left_out: Counter[str] = Counter()
    sent: list[TaskRecord] = []
    advice: list[str] = []
    for record in page:
        try:
            preparing.check_whole(record)
        except LeftOut as why:
            left_out[str(why)] += 1
            sentence = advice_on(record) if len(advice) < _ADVICE else None
            advice += [sentence] if sentence else []
        else:
            sent.append(record)
    return Preview(
        query,
        count,
        len(page),
        dict(left_out),
        dict(Counter(map(Kind.of, sent)).most_common()),
        sent[:10],
        is_swept(storage, settings),
        page[0].date_created if page else None,
        last[0].date_created if last else None,
        loads_of(storage, settings, sent, queue),
        warnings_of(storage, settings, sent, queue),
        advice,
        most,
    )


def is_swept(storage: ReplayStorage, settings: Settings) -> bool:
    """True if a sweeper was at work within the last minute."""
    last = storage.last_sweep(settings.namespace)
    return last is not None and storage.now() - last < timedelta(minutes=1)
