"""The case: all that is known of one task, gathered before any rule looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property

from fullresult.config import Settings, mark_of
from fullresult.insight.explain.explanation import Confidence, Evidence, Explanation, Finding, at
from fullresult.insight.explain.reading import Reading
from fullresult.insight.fleet import Life, in_force, may_be_on
from fullresult.insight.live import Answer, Now, QueueNow
from fullresult.record import FINISHED, SCHEDULED, SCHEDULED_SENT, TaskRecord
from fullresult.record.card import Card
from fullresult.record.schedule import Schedule
from fullresult.record.stamps import mark_in


@dataclass(frozen=True)
class Case:
    """All that is known of one task."""

    task_id: str
    now: datetime
    """By the storage's clock."""
    record: TaskRecord | None
    schedules: tuple[Schedule, ...]
    lives: tuple[Life, ...]
    """Every worker that is known, the last seen first."""
    keeps_workers: bool
    """False if the storage cannot say which workers live."""
    live: Now | None
    """None if nothing was asked."""
    unknown: tuple[str, ...]
    settings: Settings
    reading: Reading

    # ---- the record

    @property
    def name(self) -> str:
        return (self.record.name if self.record else None) or "its task"

    @property
    def queue(self) -> str | None:
        return self.record.queue if self.record else None

    @property
    def is_waiting(self) -> bool:
        """True if it was published, or is to be tried again, and no run of it is known to go on."""
        record = self.record
        return is_open(record) and record is not None and record.state in _WAITING

    @property
    def published(self) -> datetime | None:
        """When it was last given to the broker, as far as is known."""
        if self.record is None:
            return None
        again = self.record.state in ("RETRY", SCHEDULED_SENT) or self.record.retries > 0
        first = self.record.date_published or self.record.date_created
        return self.record.date_updated if again else first

    @property
    def is_young(self) -> bool:
        """True if it was published so lately that its message may be on its way."""
        return self.published is not None and self.now - self.published < _YOUNG

    @property
    def ready_since(self) -> datetime | None:
        """Since when a worker may begin it: it was given to the broker, and its ETA is over."""
        due = self.record.outcome.stale_from if self.record and self.record.outcome else None
        return max(filter(None, (self.published, due)), default=None)

    # ---- its broker

    @cached_property
    def home(self) -> str | None:
        """The broker to which it was given last, as its publisher names it.

        None if that is not known; "" for another one than this app's, of which no worker tells.
        """
        record = self.record
        mark = mark_in(record.outcome.stamp) if record and record.outcome else ""
        cards = (life.card.namespace for life in self.lives if life.card)
        known = (self.settings.namespace, *cards)
        return next((each for each in known if mark_of(each) == mark), "") if mark else None

    # ---- workers

    @cached_property
    def alive(self) -> tuple[Life, ...]:
        """The workers that live and are on this app's broker, as far as their cards say.

        They should answer.
        """
        mine = (None, self.settings.namespace)
        return tuple(
            life for life in in_force(self.living) if (life.card and life.card.namespace) in mine
        )

    @cached_property
    def perhaps(self) -> tuple[Life, ...]:
        """The workers that live and whose broker may be this app's under another name."""
        return tuple(
            life
            for life in in_force(self.living)
            if life.card and life not in self.alive and self._may_be_here(life)
        )

    @cached_property
    def living(self) -> tuple[Life, ...]:
        """The workers that live, on whatever broker."""
        return tuple(life for life in self.lives if not life.worker.is_gone(self.now))

    @property
    def answers(self) -> tuple[Answer, ...]:
        return self.live.workers.answers if self.live else ()

    @cached_property
    def silent(self) -> tuple[Life, ...]:
        """Of `alive` and `perhaps`, those that did not answer, if they were asked."""
        if self.live is None:
            return ()
        heard = {answer.worker_id or answer.worker for answer in self.answers}
        return tuple(
            life
            for life in (*self.alive, *self.perhaps)
            if heard.isdisjoint((life.worker.worker_id, life.worker.name))
        )

    def lost_since(self, when: datetime) -> tuple[Life, ...]:
        """The workers that may have taken it after *when*, and that are not heard of any more.

        They consumed its queue, as far as is known, and did not tell that they ended: they were
        killed, or are frozen, or live on without the storage.
        """
        here = {life.worker.worker_id for life in in_force(self.living)}
        return tuple(
            life
            for life in self.lives
            if life.worker.date_stopped is None
            and life.worker.worker_id not in here
            and max(life.worker.date_seen + _HEARD, life.worker.alive_until) > when
            and self._may_be_here(life)
            and self.could_take(life)
        )

    def _may_be_here(self, life: Life) -> bool:
        """True if nothing says that it is on another broker than this app's."""
        return life.card is None or may_be_on(life.card, self.settings.namespace)

    def queues_of(self, life: Life) -> tuple[str, ...]:
        """The queues that a worker consumes: as it answers, else as its card says."""
        for answer in self.answers:
            if answer.worker_id == life.worker.worker_id:
                return answer.queues
        return life.card.queues if life.card else ()

    def could_take(self, life: Life) -> bool:
        """True if nothing says that this worker does not consume its queue."""
        return self.queue is None or life.card is None or self.queue in life.card.queues

    @cached_property
    def consumed(self) -> tuple[str, ...]:
        """All queues that a living worker consumes."""
        found = {queue for answer in self.answers for queue in answer.queues}
        lives = (*self.alive, *self.perhaps)
        found |= {queue for life in lives for queue in self.queues_of(life)}
        return tuple(sorted(found))

    def life_of(self, worker_id: str | None) -> Life | None:
        return next((life for life in self.lives if life.worker.worker_id == worker_id), None)

    # ---- the broker

    @property
    def queue_now(self) -> QueueNow | None:
        """What the broker says of its queue."""
        if self.live is None:
            return None
        return next((each for each in self.live.queues if each.name == self.queue), None)

    @property
    def broker_has_it(self) -> bool:
        """True if this app's broker has it in its queue, or gave it to a worker."""
        queue = self.queue_now
        return queue is not None and bool(queue.found or queue.taken_at is not None)

    # ---- words

    def explanation(self, found: Sequence[Finding], *, known: bool) -> Explanation:
        """What was found as one answer, the first as its verdict."""
        first = found[0]
        return Explanation(
            task_id=self.task_id,
            at=self.now,
            known=known,
            verdict=first.verdict,
            sentence=first.sentence,
            confidence=first.confidence,
            evidence=first.evidence,
            commands=first.commands,
            also=tuple(found[1:]),
            unknown=self.unknown,
        )

    def at(self, when: datetime) -> str:
        return at(when, self.now)

    @property
    def by_exclusion(self) -> Confidence:
        """How sure is what nothing contradicts."""
        return "possible" if self.unknown else "likely"

    def of_record(self, said: str, when: datetime | None = None) -> Evidence:
        return Evidence("record", when, said)

    def of_broker(self, said: str) -> Evidence:
        return Evidence("broker", self.now, said)

    def of_life(self, life: Life) -> Evidence:
        worker = life.worker
        if worker.date_stopped:
            return Evidence(
                f"worker {worker.name}", worker.date_stopped, "it told that it had ended"
            )
        return Evidence(f"worker {worker.name}", worker.date_seen, "it was last heard of")

    def of_card(self, life: Life) -> Evidence:
        card = life.card or Card()
        said = f"consumes {', '.join(card.queues) or 'no queue'} on {card.namespace}"
        return Evidence(f"card of {life.worker.name}", life.worker.date_seen, said)

    def of_answer(self, answer: Answer, said: str) -> Evidence:
        when = from_epoch(answer.at) if answer.at else None
        return Evidence(f"worker {answer.worker}", when, said)


_YOUNG = timedelta(seconds=3)
_HEARD = timedelta(minutes=1)
"""Most workers are heard of within this time; one that is frozen may take a message after it."""
_WAITING = ("PENDING", "RETRY", SCHEDULED_SENT)


def is_open(record: TaskRecord | None) -> bool:
    """True if something may still be going on with it outside the storage."""
    if record is None or record.state in (*FINISHED, SCHEDULED):
        return False
    went_on = record.state == SCHEDULED_SENT and record.outcome and not record.outcome.open
    return not went_on  # under a new id


def from_epoch(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def since(seconds: float, answer: Answer) -> timedelta:
    """How long something lasts that began at *seconds* by the clock of the worker that answers."""
    return timedelta(seconds=max(answer.at - seconds, 0.0))
