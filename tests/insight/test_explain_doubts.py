"""An explanation says no more than is known: each doubt is in its sentence and its confidence.

Long because each doubt has a few lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.config import mark_of
from fullresult.insight.explain.explain import explain
from fullresult.insight.explain.explanation import Explanation, Finding
from fullresult.insight.live import Answer, Now, QueueNow, WorkersNow
from fullresult.insight.queues import queues_of
from fullresult.record import FAILURE, SCHEDULED_SENT, STARTED, SUCCESS, Entry
from fullresult.record.card import Card, WorkerCard, names_id_of, names_text
from fullresult.record.stamps import Clock
from fullresult.record.worker import Worker
from fullresult.testing import samples

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    with closing(FullResult(app)) as full, closing(app):
        full.setup()
        yield full


class Said:
    """Workers and a broker that say what no real ones can be made to say at a wanted moment."""

    def __init__(self, workers: WorkersNow, **queue: Any) -> None:
        self._now = Now(workers, (QueueNow("celery", **queue),))

    def ask(
        self,
        ids: Collection[str],  # noqa: ARG002
        expected: Collection[str],  # noqa: ARG002
        queues: Collection[str],  # noqa: ARG002
        *,
        seek: str | None = None,  # noqa: ARG002
    ) -> Now:
        return self._now

    def queues(self, names: Collection[str]) -> tuple[QueueNow, ...]:  # noqa: ARG002
        return self._now.queues


def worker(full: FullResult, worker_id: str, *, card: bool = True, **known: Any) -> Worker:
    """A worker that lives; *known* are fields of its life and of its card."""
    storage: Any = full.storage
    now = storage.now()
    life = {name: known.pop(name) for name in list(known) if name in Worker._fields}
    told = Worker(worker_id, f"{worker_id}@host", now - HOUR, now, now + HOUR)._replace(**life)
    storage.note_worker(told)
    if card:
        mine = {"queues": ("celery",), "processes": 1, "namespace": full.settings.namespace}
        names = names_text({"shop.pay": {}})
        text = Card(**{**mine, **known}).text
        storage.note_card(WorkerCard(worker_id, now, names_id_of(names), text), names)
    return told


def waiting(
    full: FullResult,
    task_id: str = "task",
    ago: timedelta = HOUR,
    broker: str | None = None,
    **known: Any,
) -> str:
    """A task that was published that long ago, to this app's *broker* or another; "": not known."""
    at = full.storage.now() - ago
    told = {"queue": "celery", "name": "shop.pay", "state": "PENDING", "open": True, **known}
    record = samples.task(task_id, at, **told)
    assert record.outcome is not None
    moment = Clock(mark_of(full.settings.namespace if broker is None else broker)).moment()
    stamp = f"{record.outcome.stamp[:25]}{moment.tail[14:]}"
    outcome = record.outcome._replace(stamp=stamp if broker != "" else record.outcome.stamp)
    full.storage.write([replace(record, outcome=outcome)])
    return task_id


def why(full: FullResult, live: Said | None = None) -> Explanation:
    return explain(full.storage, full.settings, "task", live)


def also(found: Explanation, verdict: str) -> Finding | None:
    return next((each for each in found.also if each.verdict == verdict), None)


ANSWER = Answer("w1@host", "w1", queues=("celery",), processes=1)


def test_lost_is_likely_where_all_have_answered(full: FullResult) -> None:
    worker(full, "w1")
    waiting(full)

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False))

    assert (found.verdict, found.confidence) == ("lost", "likely")
    assert found.sentence.startswith(
        "It is most likely lost: the queue is empty, and no worker that answers has it. Then "
    )


def test_lost_is_only_possible_where_a_spool_may_tell_of_its_run(full: FullResult) -> None:
    """It may have run while the storage was away: to send it again would run it twice."""
    worker(full, "w1")
    waiting(full)

    found = why(full, Said(WorkersNow((replace(ANSWER, spooled=1),)), ready=0, found=False))

    assert (found.verdict, found.confidence) == ("lost", "possible")
    assert found.unknown == ("worker w1@host: 1 file of its spool may tell more of the task",)


@pytest.mark.parametrize("doubt", ["stranger", "failed", "mute", "nobody"])
def test_lost_is_only_possible_where_somebody_may_have_it(full: FullResult, doubt: str) -> None:
    for worker_id in {"mute": ("w1", "w2"), "nobody": ()}.get(doubt, ("w1",)):
        worker(full, worker_id)
    waiting(full)
    said = {
        "stranger": WorkersNow((ANSWER,), strangers=("old@host",)),
        "failed": WorkersNow((ANSWER,), failed=("ill@host",)),
        "mute": WorkersNow((ANSWER,)),
        "nobody": WorkersNow((), strangers=("old@host",)),
    }[doubt]

    found = why(full, Said(said, ready=0, found=False))

    assert (found.verdict, found.confidence) == ("lost", "possible")
    assert found.sentence.startswith("It may be lost: the queue is empty, and no worker ")
    assert found.unknown


@pytest.mark.parametrize("doubt", ["consumer", "gone"])
def test_lost_is_only_possible_where_a_worker_was_not_heard_that_may_have_it(
    full: FullResult, doubt: str
) -> None:
    """One that is frozen, or solo and busy: to send it again would run it twice."""
    worker(full, "w1")
    waiting(full)
    if doubt == "gone":
        now = full.storage.now()
        worker(full, "w2", date_seen=now - MINUTE, alive_until=now - SECOND)
    consumers = 2 if doubt == "consumer" else 1

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False, consumers=consumers))

    assert (found.verdict, found.confidence) == ("lost", "possible")
    assert found.sentence.startswith("It may be lost: the queue is empty, and no worker that ")


def test_a_worker_that_the_broker_no_longer_knows_is_not_said_to_live(full: FullResult) -> None:
    worker(full, "w1")
    waiting(full)

    found = {
        number: why(full, Said(WorkersNow(()), ready=1, found=True, ahead=0, consumers=number))
        for number in (1, 0)
    }

    assert found[1].verdict == "no answer"
    assert found[0].verdict == "waits in its queue"
    assert also(found[0], "no answer") is None


def test_what_was_not_looked_through_is_not_called_searched(full: FullResult) -> None:
    worker(full, "w1")
    waiting(full)
    later = full.storage.now() - MINUTE
    other = samples.task("later", later, queue="celery", name="shop.pay", state=SUCCESS)
    full.storage.write([replace(other, start=samples.start(later))])

    found = why(full, Said(WorkersNow((ANSWER,)), ready=30_000, found=None))

    assert found.verdict == "lost"
    assert "30,000 messages wait there, a later task of celery was begun" in found.sentence
    found = why(full, Said(WorkersNow((ANSWER,)), ready=3, found=False))
    assert "it is not among the 3 messages there" in found.sentence


def test_a_later_task_of_another_priority_is_no_proof(full: FullResult) -> None:
    worker(full, "w1")
    waiting(full)
    later = full.storage.now() - MINUTE
    other = samples.task("later", later, queue="celery", name="shop.pay", state=SUCCESS, priority=9)
    full.storage.write([replace(other, start=samples.start(later))])

    found = why(full, Said(WorkersNow((ANSWER,)), ready=30_000, found=None, looked=20_000))

    assert found.verdict == "waits in its queue"
    assert found.evidence[0].said == "30000 ready in celery; it is none of the first 20,000"


def test_who_has_what_was_taken_is_said_as_far_as_it_is_known(full: FullResult) -> None:
    """A busy solo worker without FullResult has no card and answers nothing: it may have it."""
    worker(full, "w1", visibility_timeout=60.0)
    worker(full, "w9", visibility_timeout=9.0, namespace="another broker")
    waiting(full)
    taken = (full.storage.now() - SECOND).timestamp()

    def said(workers: WorkersNow) -> Explanation:
        return why(full, Said(workers, ready=0, found=False, taken_at=taken, again_at=taken + 5))

    found = said(WorkersNow((ANSWER,)))
    assert found.verdict == "taken and not acknowledged"
    assert "that worker may be gone, or busy and without FullResult, or cut off" in found.sentence
    assert found.confidence == "possible"
    assert [each.partition(" until ")[0] for each in found.commands] == ["wait"]
    assert found.commands[0].endswith(": sent again, it runs twice")

    found = said(WorkersNow((ANSWER,), strangers=("old@host",)))
    assert "none that answers has it: old@host may have it." in found.sentence
    assert found.confidence == "possible"

    found = said(WorkersNow((), problem="the broker cannot be asked: no"))
    assert "none that answers has it: workers could not be asked." in found.sentence
    assert found.unknown == ("workers: the broker cannot be asked: no",)

    now = full.storage.now()
    worker(full, "w2", date_seen=now - SECOND, alive_until=now - SECOND / 2)
    found = said(WorkersNow((ANSWER,)))
    assert "most likely w2@host, gone since; else one that is busy and has no" in found.sentence
    assert found.confidence == "likely"


def test_a_worker_of_another_queue_or_of_later_is_not_said_to_have_taken_it(
    full: FullResult,
) -> None:
    now = full.storage.now()
    worker(full, "w1")
    gone: dict[str, Any] = {"date_seen": now - SECOND, "alive_until": now - SECOND / 2}
    worker(full, "other", queues=("mail",), **gone)
    worker(full, "later", **{**gone, "date_started": now - 2 * SECOND})
    worker(full, "abroad", namespace="another broker", **gone)
    waiting(full)
    taken = (now - MINUTE).timestamp()

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False, taken_at=taken))

    assert "that worker may be gone" in found.sentence
    assert found.confidence == "possible"


# ---- revoked


REVOKED_HERE = replace(ANSWER, revoked=frozenset({"task"}))


def test_who_does_not_consume_its_queue_drops_nothing(full: FullResult) -> None:
    worker(full, "w1", queues=("mail",))
    waiting(full)
    other = replace(REVOKED_HERE, queues=("mail",))

    found = why(full, Said(WorkersNow((other,)), ready=1))

    assert found.verdict == "nobody consumes its queue"
    assert found.sentence.endswith(" It was revoked, too, as w1@host knows.")
    assert not any("resend" in each for each in found.commands)


@pytest.mark.parametrize(
    ("how", "then"),
    [("eta", ", and is dropped then."), ("limited", ", and is dropped then."), ("running", ".")],
)
def test_what_a_worker_has_and_knows_to_be_revoked_is_said_to_be(
    full: FullResult, how: str, then: str
) -> None:
    worker(full, "w1")
    waiting(full)
    has = {"as": how, "eta": full.storage.now() + HOUR, "since": 0.0, "rate": "1/h", "ahead": 0}

    found = why(full, Said(WorkersNow((replace(REVOKED_HERE, held={"task": has}),)), ready=0))

    assert found.confidence == "certain"
    assert found.sentence.endswith(f" It was revoked, as w1@host knows{then}")
    assert found.commands == ()


@pytest.mark.parametrize("doubt", ["knows not", "mute", "stranger"])
def test_a_worker_that_does_not_know_that_it_is_revoked_runs_it(
    full: FullResult, doubt: str
) -> None:
    worker(full, "w1")
    worker(full, "w2")
    waiting(full)
    second = replace(ANSWER, worker="w2@host", worker_id="w2")
    told = {
        "knows not": WorkersNow((REVOKED_HERE, second)),
        "mute": WorkersNow((REVOKED_HERE,)),
        "stranger": WorkersNow(
            (REVOKED_HERE, replace(second, revoked=frozenset({"task"}))), strangers=("old@host",)
        ),
    }[doubt]

    found = why(full, Said(told, ready=1))

    may = {"knows not": "w2@host will", "mute": "w2@host may", "stranger": "old@host may"}[doubt]
    assert found.sentence == (
        f"It was revoked, and w1@host{' and w2@host' if doubt == 'stranger' else ''} will drop it "
        f"when it comes, but {may} run it."
    )
    assert found.confidence == "possible"
    assert found.commands == ("celery -A proj control revoke task",)


def test_what_is_no_longer_in_a_queue_that_nobody_consumes_may_be_taken(full: FullResult) -> None:
    """By a worker without FullResult, which is busy and answers nothing."""
    worker(full, "w1", queues=("mail",))
    waiting(full)
    answer = replace(ANSWER, queues=("mail",))

    found = why(full, Said(WorkersNow((answer,)), ready=0, found=False))

    assert (found.verdict, found.confidence) == ("nobody consumes its queue", "possible")
    assert found.sentence.endswith(
        " Nor is it in celery: a worker that is not known may have it, or it is lost."
    )
    assert found.commands[-1].endswith("  # it runs twice, if it is not lost")


def test_a_message_is_said_to_be_there_only_if_the_broker_has_it(full: FullResult) -> None:
    worker(full, "w1", queues=("mail",))
    waiting(full)
    answers = WorkersNow((replace(ANSWER, queues=("mail",)),))

    there = why(full, Said(answers, ready=1, found=True, ahead=0))
    silent = why(full, Said(answers, problem="the broker did not answer within 1.5 s"))

    assert there.commands[-1].endswith("its message is still there")
    assert silent.verdict == there.verdict == "nobody consumes its queue"
    assert silent.commands[-1].endswith(
        "  # it runs twice, if a worker has it, or its queue is consumed later"
    )


# ---- what moves while it is looked for


class Moves(Said):
    """While it is asked, the task goes on."""

    def __init__(self, full: FullResult, state: str, workers: WorkersNow, **queue: Any) -> None:
        super().__init__(workers, **queue)
        self._full, self._state = full, state

    def ask(self, *given: Any, **options: Any) -> Now:
        now = self._full.storage.now()
        outcome = samples.outcome(self._state, now, worker="w1@host", date_started=now)
        outcome = outcome._replace(stamp=f"{outcome.stamp}@w1")
        self._full.storage.write([samples.event("task", now, outcome=outcome)])
        return super().ask(*given, **options)


@pytest.mark.parametrize(("state", "verdict"), [(STARTED, "running"), (SUCCESS, "succeeded")])
@pytest.mark.parametrize("said", [{"ready": 0, "found": False}, {"ready": None}])
def test_a_record_is_read_again_before_it_is_said_to_wait(
    full: FullResult, state: str, verdict: str, said: dict[str, Any]
) -> None:
    worker(full, "w1")
    waiting(full)
    held = replace(ANSWER, held={"task": {"as": "running", "since": 0.0}})
    workers = WorkersNow((held if state == STARTED else ANSWER,))

    found = why(full, Moves(full, state, workers, **said))

    assert found.verdict == verdict


def test_a_run_that_its_worker_does_not_know_is_not_said_to_go_on(full: FullResult) -> None:
    """As where the storage did not take its end: the record says STARTED for ever."""
    worker(full, "w1")
    now = full.storage.now()
    started = samples.outcome(STARTED, now - HOUR, worker="w1@host", date_started=now - HOUR)
    started = started._replace(stamp=f"{started.stamp}@w1")
    full.storage.write([samples.event("task", now - HOUR, outcome=started)])

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False))

    assert found.verdict == "end is not recorded"
    assert found.sentence.startswith("w1@host began it at ")
    assert found.sentence.endswith("does not run it any more: how it ended was not written, or not "
                                   "yet.")  # fmt: skip
    assert found.confidence == "possible"


def test_what_a_sweeper_has_sent_waits_like_any_other(full: FullResult) -> None:
    """Until a worker begins it, it is SCHEDULED_SENT."""
    worker(full, "w1", queues=("mail",))
    waiting(full, state=SCHEDULED_SENT)

    found = why(full, Said(WorkersNow((replace(ANSWER, queues=("mail",)),)), ready=1))

    assert found.verdict == "nobody consumes its queue"
    assert full.queues(offline=True).queues[0].problem is not None


# ---- its queue


def test_the_pace_is_that_of_its_own_queue(full: FullResult) -> None:
    worker(full, "w1")
    waiting(full, ago=MINUTE / 2)
    now = full.storage.now()
    for number in range(60):
        other = samples.task(f"other{number}", now - SECOND, queue="mail", state=SUCCESS)
        full.storage.write([replace(other, start=samples.start(now))])

    found = why(full, Said(WorkersNow((ANSWER,)), ready=7, found=True, ahead=6))

    assert found.sentence.startswith("It waits in celery, with 6 messages before it")
    assert "a second" not in found.sentence


def test_what_has_expired_in_a_queue_of_rabbitmq_is_told(full: FullResult) -> None:
    worker(full, "w1")
    waiting(full, expires=full.storage.now() - MINUTE)

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, exists=True, consumers=1))

    assert found.verdict == "lost"
    assert "It expired at " in found.sentence
    assert "RabbitMQ drops what expires in a queue, and tells nobody" in found.sentence


def test_a_queue_that_the_broker_says_nobody_consumes(full: FullResult) -> None:
    """A card says otherwise until its lease is over: the worker is cut off, or dead."""
    worker(full, "w1")
    waiting(full)

    [celery] = queues_of(full.storage, full.settings, Said(WorkersNow(()), ready=1, consumers=0))[1]

    assert celery.workers == ("w1@host",)
    assert celery.problem == "No living worker consumes celery."


@pytest.mark.parametrize("consumers", [0, 1, None])
def test_that_no_worker_lives_is_certain_only_where_the_broker_says_so(
    full: FullResult, consumers: int | None
) -> None:
    now = full.storage.now()
    worker(full, "w1", date_seen=now - MINUTE, alive_until=now - SECOND)
    waiting(full)

    found = why(full, Said(WorkersNow(()), ready=1, consumers=consumers))

    assert found.verdict == "no worker"
    expected = {0: "certain", 1: "possible", None: "likely"}
    assert found.confidence == expected[consumers]
    doubt = (
        "; but the broker counts 1 consumer of celery: frozen, cut off from the storage, or "
        "without FullResult."
    )
    assert found.sentence.endswith(doubt) is (consumers == 1)


def test_a_queue_that_is_not_there_is_only_likely_to_have_been(full: FullResult) -> None:
    worker(full, "w1")
    waiting(full)

    found = why(full, Said(WorkersNow((ANSWER,)), exists=False))
    assert (found.verdict, found.confidence) == ("queue is gone", "likely")

    found = why(full, Said(WorkersNow(()), exists=False))
    assert found.confidence == "possible"
    assert found.sentence.endswith(", or w1@host may have taken it before.")


def test_it_is_delivered_again_by_the_timeout_of_workers_of_its_own_broker(
    full: FullResult,
) -> None:
    worker(full, "w9", visibility_timeout=9.0, namespace="another broker")
    worker(full, "w1", visibility_timeout=60.0)
    waiting(full)
    taken = full.storage.now()

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False, taken_at=taken.timestamp()))

    again = taken + MINUTE
    assert f"delivers it again after {again:%H:%M:%S} UTC (visibility timeout)" in found.sentence


def test_a_timeout_beyond_all_dates_is_not_told(full: FullResult) -> None:
    worker(full, "w1", visibility_timeout=1e15)
    waiting(full)
    taken = full.storage.now().timestamp()

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False, taken_at=taken))

    assert found.verdict == "taken and not acknowledged"
    assert "delivers it again" not in found.sentence


# ---- late


def late(full: FullResult, wait: timedelta = HOUR) -> Finding | None:
    now = full.storage.now()
    record = samples.task("task", now - wait, queue="celery", name="shop.pay")
    ended = samples.outcome(SUCCESS, now, worker="w1@host", date_done=now, runtime=0.2)
    stamped = ended._replace(stamp=f"{ended.stamp}@w1")
    full.storage.write([replace(record, outcome=stamped, start=samples.start(now, "w1@host"))])
    return also(why(full), "late")


def test_that_nobody_consumed_its_queue_is_said_if_all_workers_are_known(full: FullResult) -> None:
    now = full.storage.now()
    worker(full, "w1", date_started=now)

    found = late(full)

    assert found is not None
    assert " of it without a known consumer of celery" in found.sentence
    assert found.confidence == "likely"


def test_a_worker_without_a_card_may_have_consumed_its_queue(full: FullResult) -> None:
    now = full.storage.now()
    worker(full, "w1", date_started=now)
    worker(full, "old", card=False, date_started=now - 2 * HOUR)

    found = late(full)

    assert found is not None
    assert "without a known consumer" not in found.sentence
    assert found.confidence == "likely"


def test_workers_of_a_month_ago_are_forgotten(full: FullResult) -> None:
    worker(full, "w1", date_started=full.storage.now())

    found = late(full, timedelta(days=40))

    assert found is not None
    assert "without a known consumer" not in found.sentence


def running_before(full: FullResult, task_id: str) -> None:
    """A task that w1 ran in the last hour."""
    now = full.storage.now()
    record = samples.task(task_id, now - HOUR - SECOND, queue="celery", name="shop.report")
    ended = samples.outcome(
        SUCCESS, now, worker="w1@host", date_started=now - HOUR, date_done=now, runtime=3600.0
    )
    full.storage.write([replace(record, outcome=ended)])


def test_it_waited_behind_others_only_if_no_process_was_free(full: FullResult) -> None:
    worker(full, "w1", processes=2, date_started=full.storage.now() - 2 * HOUR)
    running_before(full, "one")

    found = late(full)
    assert found is not None
    assert "behind" not in found.sentence

    running_before(full, "two")
    found = also(why(full), "late")
    assert found is not None
    assert "behind 2 runs on w1@host, the longest shop.report with 1 h 00 m" in found.sentence


# ---- twice


def test_a_worker_that_was_gone_after_its_run_did_not_break_it_off(full: FullResult) -> None:
    now = full.storage.now()
    gone = worker(full, "w1", date_seen=now - 30 * MINUTE, alive_until=now - 29 * MINUTE)
    full.storage.write([samples.task("task", now - HOUR, name="shop.pay", queue="celery")])

    def run(ago: timedelta, name: str, done: timedelta | None) -> Entry:
        at = now - ago
        entry = samples.entry(SUCCESS if done else STARTED, at, worker=name, date_started=at)
        stamp = f"{entry.stamp}@{gone.worker_id}" if name == "w1@host" else entry.stamp
        return entry._replace(stamp=stamp, date_done=at + done if done else None)

    def told(first: Entry) -> str:
        entries = (first, run(20 * MINUTE, "w2@host", None))
        full.storage.write([samples.event("task", now - HOUR, entries=entries)])
        finding = also(why(full), "ran twice")
        assert finding is not None
        return finding.sentence

    assert " after it had ended; it was begun by w2@host " in told(
        run(40 * MINUTE, "w1@host", 5 * MINUTE)
    )


# ---- failed without a start


def test_a_failure_that_a_worker_told_was_begun_there(full: FullResult) -> None:
    now = full.storage.now()
    failed = samples.outcome(FAILURE, now, worker="w1@host", exception_type="builtins.OSError")
    full.storage.write([samples.event("task", now, outcome=failed)])

    assert why(full).verdict == "failed"
