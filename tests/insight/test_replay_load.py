"""The load of a batch of re-sends on its queues, and the workers that could not run it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fullresult import FullResult
from fullresult.insight.replay_load import loads_of, warnings_of
from fullresult.record import SUCCESS, TaskRecord
from fullresult.record.card import Card, WorkerCard, names_id_of, names_text
from fullresult.record.worker import Worker
from fullresult.testing import samples
from tests.kit import browsing

HOUR = timedelta(hours=1)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    with browsing.shop(f"sqlite:///{tmp_path / 'records.db'}") as app:
        yield app.fullresult


def worker(full: FullResult, name: str, *knows: str, **card: Any) -> None:
    storage: Any = full.storage
    now = storage.now()
    storage.note_worker(Worker(name, name, now, now, now + HOUR))
    known = Card(queues=("slow",), processes=4, release="4.2")
    told = replace(known, **{"namespace": full.settings.namespace, **card})
    names = names_text({each: {} for each in knows})
    storage.note_card(WorkerCard(name, now, names_id_of(names), told.text), names)


def failed(number: int, name: str = "shop.[pay]", release: str = "4.1") -> list[TaskRecord]:
    found = []
    for each in range(number):
        record = samples.task(f"{name} {each}", name=name, queue="slow")
        outcome = samples.outcome("FAILURE")
        stamp = f"{outcome.stamp}@w~{release}"
        found.append(replace(record, outcome=outcome._replace(stamp=stamp)))
    return found


def ran(full: FullResult, name: str, *seconds: float) -> None:
    now = full.storage.now()
    for number, runtime in enumerate(seconds):
        outcome = samples.outcome(SUCCESS, now, runtime=runtime, date_done=now)
        record = samples.task(f"{name} ran {number}", now - HOUR, name=name)
        full.storage.write([replace(record, outcome=outcome)])


def test_a_queue_is_kept_busy_by_its_part_of_the_rate_and_what_its_tasks_took(
    full: FullResult,
) -> None:
    worker(full, "w1", processes=4)
    worker(full, "w2", processes=8, queues=("slow", "fast"))
    ran(full, "shop.[pay]", *[0.1] * 9, 2.0)
    records = [*failed(3), *failed(1, "shop.mail")]
    records[3] = replace(records[3], message=samples.message(queue="fast", name="shop.mail"))

    slow, fast = loads_of(full.storage, full.settings, records)

    assert (slow.queue, slow.share, slow.seconds, slow.processes) == ("slow", 0.75, 2.0, 12)
    assert slow.busy(20) == 30.0
    assert slow.told(20) == (
        "slow: 15/s of up to 2 s keep 30 processes busy, of 12: more than there are."
    )
    assert (fast.queue, fast.share, fast.seconds, fast.processes) == ("fast", 0.25, None, 8)
    assert fast.told(20) == "fast: 5/s; no run of these tasks is known."
    (other,) = loads_of(full.storage, full.settings, records, "fast")
    assert (other.queue, other.share, other.processes) == ("fast", 1.0, 8)


def test_a_worker_that_does_not_say_how_many_processes_it_has_leaves_that_open(
    full: FullResult,
) -> None:
    worker(full, "w1")
    worker(full, "w2", processes=None)
    ran(full, "shop.[pay]", 1.0)

    (load,) = loads_of(full.storage, full.settings, failed(1))

    assert load.told(1) == (
        "slow: 1/s of up to 1 s keep 1 process busy; how many there are is not known."
    )


def test_who_would_discard_them_and_who_still_runs_their_release_is_said(full: FullResult) -> None:
    worker(full, "w1", "shop.[pay]", release="4.1")
    worker(full, "w2", "shop.mail")
    worker(full, "elsewhere", namespace="other")

    told = warnings_of(full.storage, full.settings, failed(2))

    assert told == [
        "w2 would discard 2 tasks: it does not know shop.[pay].",
        "2 tasks ended in the release 4.1, which 1 of 2 living workers still run.",
    ]
    assert warnings_of(full.storage, full.settings, failed(1), "fast")[0] == (
        "No living worker consumes fast, as far as is known."
    )


def test_nothing_is_said_where_all_is_well_or_a_worker_says_nothing(full: FullResult) -> None:
    assert warnings_of(full.storage, full.settings, failed(1)) == []
    worker(full, "w1", "shop.[pay]")
    assert warnings_of(full.storage, full.settings, failed(1)) == []

    storage: Any = full.storage
    storage.note_worker(Worker("mute", "mute", storage.now(), storage.now(), storage.now() + HOUR))
    assert warnings_of(full.storage, full.settings, failed(1, "unknown")) == []
