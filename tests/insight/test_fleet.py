"""Workers and queues as commands and Python tell of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.extension import asking
from fullresult.insight import queues
from fullresult.insight.needing import needing
from fullresult.insight.queues import left_alone
from fullresult.record.card import Card, WorkerCard
from fullresult.record.worker import Worker
from fullresult.testing import samples
from tests.kit import workers
from tests.kit.commands import ids, run

HOUR = timedelta(hours=1)


@pytest.fixture
def full(storage_url: str) -> Iterator[FullResult]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = storage_url
    with closing(FullResult(app)) as full, closing(app):
        full.setup()
        yield full


def live(full: FullResult, name: str, *queues: str, card: bool = True, **known: Any) -> Worker:
    """A worker that lives, or did."""
    storage: Any = full.storage
    now = storage.now()
    worker = Worker(f"{name} {len(storage.find_workers())}", name, now, now, now + HOUR)
    worker = worker._replace(**known)
    storage.note_worker(worker)
    if card:
        said = Card(queues=queues or ("celery",), pool="prefork", processes=4, release="r1")
        text = replace(said, namespace=full.settings.namespace).text
        storage.note_card(WorkerCard(worker.worker_id, now, "n", text), "{}")
    return worker


def runs(full: FullResult, task_id: str, worker: Worker) -> None:
    """A task that the worker runs."""
    now = full.storage.now()
    started = samples.outcome("STARTED", now, worker=worker.name, date_started=now - HOUR)
    stamped = started._replace(stamp=f"{started.stamp}@{worker.worker_id}")
    message = samples.message(now, name="shop.report")
    full.storage.write([samples.event(task_id, now, outcome=stamped, message=message)])


def test_workers_are_alive_gone_or_folded(full: FullResult) -> None:
    now = full.storage.now()
    long_ago: dict[str, Any] = {"date_seen": now - HOUR, "alive_until": now - HOUR}
    busy = live(full, "w2@a", "mail", "celery")
    live(full, "w1@a")
    killed = live(full, "w3@a", **long_ago)
    live(full, "w4@a", **long_ago, date_stopped=now - HOUR)
    live(full, "w1@a", **long_ago)
    days: dict[str, Any] = {"date_seen": now - 200 * HOUR, "alive_until": now - 200 * HOUR}
    live(full, "w5@a", **days)
    runs(full, "report", busy)
    runs(full, "lost", killed)

    found = full.workers()

    assert [(each.name, each.state) for each in found.workers] == [
        ("w1@a", "alive"),
        ("w2@a", "alive"),
        ("w3@a", "gone"),
    ]
    assert sorted((each.name, each.state) for each in found.folded) == [
        ("w1@a", "gone"),  # it began anew
        ("w4@a", "ended"),
        ("w5@a", "gone"),  # for a week
    ]
    assert (found.alive, found.gone, found.orphans) == (2, 1, 1)
    assert [task.task_id for task in found.workers[1].running] == ["report"]

    said = run(full.app, "workers")
    assert ids(said) == ["w1@a", "w2@a", "w3@a"]
    assert said.stdout.splitlines()[1].split("\t")[4:8] == ["mail,celery", "prefork", "4", "1"]
    assert "2 workers alive, 1 gone, with 1 orphan; 3 more with --all." in said.stderr
    assert len(ids(run(full.app, "workers", "--all"))) == 6
    assert run(full.app, "workers", "--fail").exit_code == 3
    told = json.loads(run(full.app, "workers", "--json").stdout)
    assert told["workers"][1]["card"]["queues"] == ["mail", "celery"]
    assert told["workers"][1]["running"][0]["task_id"] == "report"


def test_what_runs_is_not_looked_for_where_only_numbers_are_wanted(full: FullResult) -> None:
    now = full.storage.now()
    runs(full, "report", live(full, "w1@a"))
    assert [each.running for each in full.workers(running=False).workers] == [()]

    killed = live(full, "w2@a", date_seen=now - HOUR, alive_until=now - HOUR)
    runs(full, "lost", killed)

    assert full.workers(running=False).orphans == 1


def test_what_was_sent_again_needs_nobody_any_more(full: FullResult) -> None:
    now = full.storage.now()
    alive = live(full, "w1@a")
    killed = live(full, "w2@a", date_seen=now - HOUR, alive_until=now - HOUR)
    for task_id, worker in (("report", alive), ("lost", killed)):
        runs(full, task_id, worker)
    before = needing(full.storage, replace(full.settings, stale_after=timedelta(0)))

    for task_id in ("report", "lost"):
        record = full.get(task_id)
        assert record is not None
        again = record.sent_again(f"new {task_id}", now)
        assert again is not None
        full.storage.write([again])
    after = needing(full.storage, replace(full.settings, stale_after=timedelta(0)))

    assert (before.stale, before.orphans, before.lost) == (2, 1, 3)
    assert (after.stale, after.orphans, after.lost) == (0, 0, 0)
    assert full.workers().orphans == 0
    running = {
        each.name: [task.task_id for task in each.running] for each in full.workers().workers
    }
    assert running == {"w1@a": ["report"], "w2@a": []}


def test_a_worker_that_is_gone_and_ran_something_is_never_folded(full: FullResult) -> None:
    now = full.storage.now()
    days: dict[str, Any] = {"date_seen": now - 200 * HOUR, "alive_until": now - 200 * HOUR}
    live(full, "w1@a")
    runs(full, "lost", live(full, "w1@a", **days))

    assert [each.orphans for each in full.workers().workers] == [0, 1]


def test_queues_by_the_records_alone(full: FullResult) -> None:
    live(full, "w1@a")
    for number in range(3):
        full.app.send_task("shop.mail", (number,))
    full.app.send_task("shop.store", (1,), queue="archive")

    found = full.queues(offline=True)

    archive, celery = found.queues
    assert found.unknown == ("broker: it was not asked",)
    assert archive.problem == "No living worker consumes archive, as far as is known."
    assert (archive.recorded, archive.consumers, archive.workers) == (1, 0, ())
    assert (celery.recorded, celery.consumers, celery.workers) == (3, 1, ("w1@a",))
    assert (celery.problem, celery.ready) == (None, None)
    assert celery.oldest is not None
    assert celery.per_minute_in == pytest.approx(0.6)

    said = run(full.app, "queues", "--offline", "--fail")
    assert said.exit_code == 3
    assert "No living worker consumes archive, as far as is known." in said.stderr
    assert ids(said) == ["archive", "celery"]


def test_the_oldest_of_a_queue_waits_since_it_was_due(full: FullResult) -> None:
    """One whose ETA is ahead is held by a worker, and one that is tried again waits since then."""
    now = full.storage.now()
    known: dict[str, Any] = {"queue": "celery", "open": True}
    ahead = samples.task("ahead", now - 2 * HOUR, state="PENDING", stale_from=now + HOUR, **known)
    again = samples.task("again", now - HOUR, state="RETRY", stale_from=now - HOUR / 2, **known)
    full.storage.write([ahead, again])

    (celery,) = full.queues(offline=True).queues

    assert celery.recorded == 2
    assert celery.oldest is not None
    assert abs(celery.oldest - (now - HOUR / 2)) < timedelta(milliseconds=1)


def test_queues_beyond_the_bound_are_counted(
    full: FullResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "_MOST_NAMES", 1)
    live(full, "w1@a", "mail")
    for queue in ("a", "b"):
        full.app.send_task("shop.store", queue=queue)

    found = full.queues(offline=True)

    assert [each.name for each in found.queues] == ["mail"]
    assert "2 queues more: the first 1 are shown" in found.unknown


def test_a_worker_without_a_card_might_consume_anything(full: FullResult) -> None:
    live(full, "w1@a", card=False)
    full.app.send_task("shop.store", (1,), task_id="a", queue="archive")

    assert full.queues(offline=True).queues[0].problem is None
    assert left_alone(full.storage, full.settings, full.find()) == []


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_queues_by_the_broker(
    broker: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "_PATIENCE", 30.0)
    url = request.getfixturevalue(f"{broker}_url")
    storage = f"sqlite:///{tmp_path}/records.db"
    with workers.scene(url, storage, tmp_path, fullresult_heartbeat=0.5) as scene:
        first = scene.send("add", 1, 1)
        scene.send("add", 1, 2, priority=5)
        scene.send("add", 1, 3, queue="archive")
        for queue in ("celery", "archive"):
            # What is recorded and gone from the broker is not waiting there.
            assert queue in {each.name for each in scene.full.queues().queues}
        depths = {each.name: each.ready for each in scene.full.queues().queues}
        assert depths == {"celery": 2, "archive": 1}
        celery = next(each for each in scene.full.queues().queues if each.name == "celery")
        record = scene.full.get(first)
        assert record is not None
        assert celery.oldest == record.date_published
        # RabbitMQ counts consumers: nobody's card has to expire first.
        surely = "No living worker consumes celery." if broker == "rabbitmq" else None
        assert celery.problem == surely

        known = "" if broker == "rabbitmq" else ", as far as is known"
        with scene.worker():
            assert workers.until(
                lambda: (
                    [each.problem for each in scene.full.queues().queues]
                    == [f"No living worker consumes archive{known}.", None]
                )
            )
            archive, celery = scene.full.queues().queues
            assert (archive.ready, archive.consumers) == (1, 0)
            assert workers.until(lambda: scene.full.queues().queues[1].ready == 0)
            assert scene.full.queues().queues[1].workers == ("w1@test",)
            assert scene.full.queues().unknown == ()
            [seen] = scene.full.workers().workers
            assert (seen.name, seen.state, seen.card.queues) == ("w1@test", "alive", ("celery",))
