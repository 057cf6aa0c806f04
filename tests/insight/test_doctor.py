"""The doctor finds risks by their evidence, and none where there is none."""

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
from fullresult.insight.doctor.risk import Risk
from fullresult.record import PENDING, STARTED, SUCCESS
from fullresult.record.card import Card, WorkerCard, names_id_of, names_text
from fullresult.record.worker import Worker
from fullresult.testing import samples
from tests.kit import workers
from tests.kit.commands import run

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def full(storage_url: str) -> Iterator[FullResult]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=storage_url, fullresult_spool_directory=None)
    with closing(FullResult(app)) as full, closing(app):
        full.setup()
        yield full


def risks(full: FullResult) -> dict[str, Risk]:
    return {each.name: each for each in full.doctor(offline=True).risks}


def worker(full: FullResult, name: str = "w1@a", **card: Any) -> None:
    """A worker that lives and knows two tasks, one of which is acknowledged late."""
    storage: Any = full.storage
    now = storage.now()
    storage.note_worker(Worker(name, name, now, now, now + HOUR))
    known = Card(
        queues=("celery",), pool="prefork", processes=4, prefetch=4, visibility_timeout=60.0
    )
    told = replace(known, namespace=full.settings.namespace, **card)
    names = names_text({"shop.pay": {"acks_late": True}, "shop.mail": {}})
    storage.note_card(WorkerCard(name, now, names_id_of(names), told.text), names)


def ran(full: FullResult, name: str, *seconds: float) -> None:
    """Tasks that ran so long, just now."""
    now = full.storage.now()
    for number, runtime in enumerate(seconds):
        outcome = samples.outcome(SUCCESS, now, runtime=runtime, date_done=now)
        record = samples.task(f"{name} {number}", now - HOUR, name=name, queue="celery")
        full.storage.write([replace(record, outcome=outcome)])


def waits(full: FullResult, task_id: str, **known: Any) -> None:
    now = full.storage.now()
    record = samples.task(task_id, now - HOUR, state=PENDING, open=True, **known)
    full.storage.write([record])


def test_an_app_without_trouble_has_no_risk(full: FullResult) -> None:
    worker(full)
    ran(full, "shop.pay", *[1.0] * 30)
    ran(full, "shop.mail", *[90.0] * 30)  # acknowledged early, so never given away

    found = full.doctor(offline=True)

    assert found.risks == ()
    assert found.unknown == ("workers: they were not asked",)
    assert found.looked_at == 60
    assert run(full.app, "doctor", "--offline").exit_code == 0


def test_runs_beyond_the_visibility_timeout(full: FullResult) -> None:
    worker(full)
    ran(full, "shop.pay", *[1.0] * 10, 70.0)
    now = full.storage.now()
    begun = [samples.entry(STARTED, now - each * SECOND, worker="w1@a") for each in (70, 5)]
    entries = tuple(
        each._replace(
            date_started=each.date_started or now, stamp=samples.stamp(STARTED, now, tag=t)
        )
        for each, t in zip(begun, "ab", strict=True)
    )
    entries = (entries[0]._replace(date_started=now - 70 * SECOND), entries[1])
    full.storage.write([samples.event("shop.pay 10", now - HOUR, entries=entries)])

    found = risks(full)["visibility timeout"]

    assert found.severity == "serious"
    assert found.sentence == "shop.pay runs for up to 1 m 10 s, longer than the visibility timeout."
    assert "the visibility timeout is 1 m 00 s" in found.evidence
    assert "1 of the newest 11 ran twice" in found.evidence
    assert "ran twice: shop.pay 10" in found.evidence
    assert "'visibility_timeout': 141" in found.advice


def test_of_few_runs_no_share_is_told(full: FullResult) -> None:
    worker(full)
    ran(full, "shop.pay", 90.0, 1.0)

    told = risks(full)["visibility timeout"].evidence

    assert told[0] == "the longest of 2 runs of shop.pay took 1 m 30 s"


def test_an_eta_beyond_the_visibility_timeout(full: FullResult) -> None:
    worker(full)
    now = full.storage.now()
    waits(full, "later", name="shop.mail", queue="celery", eta=now + HOUR)
    waits(full, "soon", name="shop.mail", queue="celery", eta=now - HOUR + 30 * SECOND)

    found = risks(full)["eta beyond visibility timeout"]

    assert found.sentence.startswith("1 task wait")
    assert any("later" in each for each in found.evidence)


def test_a_long_run_without_a_limit(full: FullResult) -> None:
    worker(full)
    ran(full, "shop.mail", *[2.0] * 9, 9 * 3600.0)

    found = risks(full)["no time limit"]

    assert found.sentence == ("shop.mail has no time limit, and one of its tasks ran for 9 h 00 m.")
    worker(full, time_limit=36_000.0)
    assert "no time limit" not in risks(full)


def test_prefetch_by_the_time_that_tasks_take(full: FullResult) -> None:
    worker(full, prefetch=16)
    ran(full, "shop.mail", *[30.0] * 30)

    found = risks(full)["prefetch"]

    assert found.sentence.startswith("A task that w1@a has taken may wait 1 m 30 s in it")
    assert "it takes up to 16 messages, and runs 4 at once" in found.evidence


def test_a_chord_that_waits_longer_than_results_are_kept(full: FullResult) -> None:
    full.app.conf.result_expires = 600
    embed = json.dumps({"chord": {"task": "shop.total", "options": {"task_id": "body"}}})
    waits(full, "member", name="shop.part", queue="celery", group_id="g", embed=embed, body=None)

    found = risks(full)["chord beyond result_expires"]

    assert found.sentence == "1 member of chords have waited longer than result_expires."
    assert any("of the group g waits for 1 h 00 m" in each for each in found.evidence)


def test_a_periodic_task_that_went_silent(full: FullResult) -> None:
    full.app.conf.beat_schedule = {"nightly": {"task": "shop.report", "schedule": 600.0}}
    now = full.storage.now()
    headers = json.dumps({"task": "shop.report", "periodic_task_name": "nightly"})
    record = samples.task("r", now - HOUR, name="shop.report", headers=headers)
    full.storage.write([record])

    found = risks(full)["periodic task went silent"]

    assert found.sentence.startswith("The periodic task nightly should have been sent ")
    assert "shop.report, every 10" in found.evidence[0]


def test_what_others_published(full: FullResult) -> None:
    now = full.storage.now()
    record = samples.task("r", now - HOUR, name="shop.pay", state=SUCCESS)
    record = replace(record, date_published=None, start=samples.start(now - HOUR))
    full.storage.write([record])

    found = risks(full)["publishers without FullResult"]

    assert found.sentence.startswith("1 task of a week were published by programs without")
    assert "tasks: shop.pay" in found.evidence


def test_workers_that_are_gone_and_queues_left_alone(full: FullResult) -> None:
    now = full.storage.now()
    storage: Any = full.storage
    worker(full)
    storage.note_worker(Worker("x", "w2@a", now - HOUR, now - HOUR, now - HOUR))
    waits(full, "w", name="shop.mail", queue="archive")

    found = risks(full)

    assert found["workers gone"].sentence == "1 worker gone, with 0 orphans."
    assert found["queue without a consumer"].sentence == "No living worker consumes archive."


def test_clocks_and_versions(full: FullResult) -> None:
    worker(full, clock_ahead=-7.0, host="db1", versions={"celery": "5.4.0"})
    worker(full, "w2@a", versions={"celery": "5.7.0"})

    found = risks(full)

    assert found["clocks differ"].evidence == ("w1@a (db1) is 7.0 s behind",)
    assert found["versions differ"].sentence == "Workers run 2 versions of Celery."


def test_retention_and_indexes(full: FullResult, storage_kind: str) -> None:
    now = full.storage.now()
    full.storage.write([samples.task("old", now - timedelta(days=400))])

    assert risks(full)["no retention"].sentence == (
        "Records are kept for good: the oldest is 400 d 00 h old."
    )
    other = Celery("shop", broker="memory://", set_as_current=False)
    url = full.app.conf.fullresult_storage
    other.conf.update(
        fullresult_storage=getattr(url, "whole", url),
        fullresult_retention="90d",
        fullresult_index_kwargs=["order"],
        fullresult_auto_setup=False,
        fullresult_spool_directory=None,
    )
    with closing(FullResult(other)) as indexed, closing(other):
        found = risks(indexed)
    assert "no retention" not in found
    assert storage_kind != "sqlite" or "index is missing" not in found  # SQLite has none to miss


def test_sweepers_and_claims(full: FullResult) -> None:
    full.app.conf.fullresult_schedule_eta = True
    other = Celery("shop", broker="memory://", set_as_current=False)
    url = full.app.conf.fullresult_storage
    other.conf.update(
        fullresult_storage=getattr(url, "whole", url),
        fullresult_schedule_eta=True,
        fullresult_spool_directory=None,
    )
    with closing(FullResult(other)) as later, closing(other):
        ids = [other.send_task("shop.later", countdown=7200).id for _ in range(2)]
        for task_id in ids:
            assert later.reschedule(task_id, later.storage.now() - HOUR)
        storage, namespace = later.parts.schedule_storage, later.settings.namespace
        long_ago = later.storage.now() - HOUR / 2
        assert len(storage.claim_due(namespace, long_ago, "claim", 1)) == 1

        found = risks(later)

    assert found["no sweeper"].sentence == "Sweepers are 1 h 00 m behind."
    assert found["no sweeper"].evidence[1] == "sweepers: none was ever at work"
    assert found["claims are left"].sentence == "1 schedule claimed and never marked sent."


def test_the_command_says_all_of_it_and_its_exit_code(full: FullResult) -> None:
    worker(full, prefetch=16)
    ran(full, "shop.mail", *[30.0] * 30)

    said = run(full.app, "doctor", "--offline")

    assert said.exit_code == 3
    lines = said.stdout.splitlines()
    assert lines[0].startswith("notable: A task that w1@a has taken may wait")
    assert [line.split()[0] for line in lines[1:5]] == ["seen", "seen", "why", "set"]
    assert "1 risk found, in 30 records of a week." in said.stderr
    assert "Not known: workers: they were not asked" in said.stderr
    told = json.loads(run(full.app, "doctor", "--offline", "--json").stdout)
    assert told["risks"][0]["name"] == "prefetch"
    assert {*told["risks"][0]} == {*Risk._fields}


@pytest.mark.slow
def test_a_worker_without_fullresult_is_named(redis_url: str, tmp_path: Path) -> None:
    module = tmp_path / "plain.py"
    module.write_text(f"from celery import Celery\napp = Celery('p', broker={redis_url!r})\n")
    storage = f"sqlite:///{tmp_path}/records.db"
    with workers.scene(redis_url, storage, tmp_path) as scene:
        stranger = replace(scene, module="plain")
        with stranger.worker("-n", "x@plain", env={"PYTHONPATH": str(tmp_path)}):
            found = {each.name: each for each in scene.full.doctor().risks}

    assert "x@plain" in found["workers without FullResult"].sentence
