"""What became of a task that is nowhere: who may have it, and what may have happened to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.insight.explain import case
from fullresult.insight.explain.explanation import at
from fullresult.insight.live import WorkersNow
from tests.insight.test_explain_doubts import ANSWER, Said, waiting, why, worker

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
OF_MAIL = WorkersNow((replace(ANSWER, queues=("mail",)),))


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    app = Celery("shop", broker="redis://db:6379/0", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    with closing(FullResult(app)) as full, closing(app):
        full.setup()
        yield full


def vanished(full: FullResult, worker_id: str, seen: datetime, **known: Any) -> str:
    """A worker that was last heard of then; the time as sentences have it."""
    worker(full, worker_id, date_seen=seen, alive_until=seen + SECOND, **known)
    return at(seen, full.storage.now())


def test_a_worker_that_vanished_after_the_publish_may_have_what_is_in_no_queue(
    full: FullResult,
) -> None:
    """One that is frozen has in its socket what Redis gave it, and no list of Redis has that."""
    worker(full, "w1", queues=("mail",))
    seen = full.storage.now() - 30 * MINUTE
    when = vanished(full, "w2", seen)
    waiting(full, ago=full.storage.now() - seen + 20 * SECOND)

    found = why(full, Said(OF_MAIL, ready=0, found=False))

    assert (found.verdict, found.confidence) == ("nobody consumes its queue", "possible")
    assert found.sentence.endswith(
        f" Nor is it in celery: w2@host, last heard of at {when}, may have it, or it is lost."
    )
    assert "worker w2@host" in {each.source for each in found.evidence}
    assert found.commands[-1].endswith("  # it runs twice, if it is not lost")


@pytest.mark.parametrize(
    "known",
    [
        {"queues": ("mail",)},
        {"namespace": "redis://db:6379/5"},
        {"date_seen": timedelta(hours=2), "alive_until": timedelta(hours=2)},
        {"date_stopped": MINUTE},
    ],
    ids=["of another queue", "of another broker", "long before", "ended"],
)
def test_a_worker_that_cannot_have_taken_it_is_not_named(
    full: FullResult, known: dict[str, Any]
) -> None:
    now = full.storage.now()
    ago: dict[str, Any] = {
        key: now - value for key, value in known.items() if isinstance(value, timedelta)
    }
    worker(full, "w1", queues=("mail",))
    gone: dict[str, Any] = {"date_seen": now - MINUTE, "alive_until": now - SECOND}
    worker(full, "w2", **{**gone, **known, **ago})
    waiting(full)

    found = why(full, Said(OF_MAIL, ready=0, found=False))

    assert found.sentence.endswith(
        " Nor is it in celery: a worker that is not known may have it, or it is lost."
    )


def test_a_frozen_worker_takes_a_message_after_it_was_last_heard_of(full: FullResult) -> None:
    worker(full, "w1")
    now = full.storage.now()
    vanished(full, "w2", now - HOUR - 20 * SECOND)
    waiting(full)

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False))

    assert (found.verdict, found.confidence) == ("lost", "possible")
    assert "w2@host, last heard of at " in found.sentence


def test_what_is_lost_may_have_died_with_a_worker_that_acknowledged_it(full: FullResult) -> None:
    worker(full, "w1")
    waiting(full, ago=2 * HOUR)

    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False))
    assert (found.verdict, found.confidence) == ("lost", "likely")
    assert found.sentence.endswith(
        " Then celery was purged, or the broker was started anew without it, or a worker that is "
        "not known acknowledged it and died before its start was written."
    )

    seen = full.storage.now() - 30 * MINUTE
    when = vanished(full, "w2", seen)
    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False))
    assert (found.verdict, found.confidence) == ("lost", "possible")
    assert found.sentence.endswith(
        f" Then celery was purged, or the broker was started anew without it, or w2@host, last "
        f"heard of at {when}, took it, and is frozen or died before its start was written."
    )

    vanished(full, "w3", seen - SECOND)
    found = why(full, Said(WorkersNow((ANSWER,)), ready=0, found=False))
    assert (
        f" or one of w2@host and w3@host, the last heard of at {when}, took it, " in found.sentence
    )


def test_a_worker_that_began_anew_under_its_name_may_have_had_it_before(full: FullResult) -> None:
    """By its lease it lives for some seconds more, and it is not asked."""
    now = full.storage.now()
    worker(full, "w1", date_seen=now - 5 * SECOND, name="w@host")
    worker(full, "w2", date_started=now - SECOND, name="w@host")
    waiting(full, ago=MINUTE)

    found = why(full, Said(WorkersNow((replace(ANSWER, worker_id="w2"),)), ready=0, found=False))

    assert (found.verdict, found.confidence) == ("lost", "possible")
    assert "or w@host, last heard of at " in found.sentence


# ---- a queue of RabbitMQ, which does not show its messages


@pytest.mark.parametrize(
    ("ready", "says"),
    [(1, "among the 1 there"), (2_000, "among the 2,000 there")],
)
def test_a_message_that_was_not_seen_is_not_said_to_be_there(
    full: FullResult, ready: int, says: str
) -> None:
    worker(full, "w1", queues=("mail",))
    waiting(full)

    found = why(full, Said(OF_MAIL, exists=True, ready=ready, consumers=0))

    assert (found.verdict, found.confidence) == ("nobody consumes its queue", "certain")
    assert found.commands[-1].endswith(
        f"  # it runs twice, if its queue is consumed later: its message may be {says}"
    )


def test_a_queue_that_is_empty_has_no_message(full: FullResult) -> None:
    worker(full, "w1", queues=("mail",))
    waiting(full)

    found = why(full, Said(OF_MAIL, exists=True, ready=0, consumers=0))

    assert (found.verdict, found.confidence) == ("nobody consumes its queue", "possible")
    assert found.sentence == (
        "No living worker consumes celery; w1@host consumes mail. Nor is it in celery: a worker "
        "that is not known may have it, or it is lost."
    )
    assert found.commands[-1].endswith("  # it runs twice, if it is not lost")


def test_a_message_on_its_way_is_not_missed(
    full: FullResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For three seconds, which may pass here before the question is asked."""
    monkeypatch.setattr(case, "_YOUNG", 2 * MINUTE)
    worker(full, "w1", queues=("mail",))
    waiting(full, ago=SECOND)

    found = why(full, Said(OF_MAIL, exists=True, ready=0, consumers=0))

    assert found.sentence == "No living worker consumes celery; w1@host consumes mail."
