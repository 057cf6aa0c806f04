"""The doctor finds risks by their evidence, and none where there is none.

Long because each risk has a test or two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.extension.patient import patient_of
from fullresult.insight.doctor.doctor import examine
from fullresult.insight.doctor.risk import Risk
from fullresult.outage.directory import directory_of
from fullresult.outage.spool import Spool
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
    killed = entries[0]._replace(date_started=now - 70 * SECOND)
    entries = (killed._replace(date_done=now), entries[1])
    full.storage.write([samples.event("shop.pay 10", now - HOUR, entries=entries)])
    storage: Any = full.storage
    storage.note_worker(Worker("gone", "w1@a", now - HOUR, now - 60 * SECOND, now - 50 * SECOND))
    killed = killed._replace(stamp=f"{killed.stamp}@gone")
    full.storage.write([samples.event("shop.pay 9", now - HOUR, entries=(killed, entries[1]))])

    found = risks(full)["visibility timeout"]

    assert found.severity == "serious"
    assert found.sentence == "shop.pay runs for up to 1 m 10 s, longer than the visibility timeout."
    assert "the visibility timeout is 1 m 00 s" in found.evidence
    assert "1 of the newest 11 ran twice by it" in found.evidence
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

    assert found.sentence.startswith("1 task waits")
    assert any("later" in each for each in found.evidence)


def test_an_eta_that_is_over_or_is_near_for_a_retry_is_not_beyond_it(full: FullResult) -> None:
    worker(full)
    now = full.storage.now()
    waits(full, "over", name="shop.mail", queue="celery", eta=now - SECOND)
    moved = samples.outcome("RETRY", now, open=True, retries=9, stale_from=now + 30 * SECOND)
    message = samples.message(now, name="shop.mail", queue="celery", eta=now + 30 * SECOND)
    again = samples.event("again", now - HOUR, outcome=moved, message=message)
    full.storage.write([replace(again, date_updated=now, date_published=now - HOUR)])

    assert "eta beyond visibility timeout" not in risks(full)


def test_a_long_run_without_a_limit(full: FullResult) -> None:
    worker(full)
    ran(full, "shop.mail", *[2.0] * 9, 9 * 3600.0)

    found = risks(full)["no time limit"]

    assert found.sentence == ("shop.mail has no time limit, and one of its tasks ran for 9 h 00 m.")
    worker(full, time_limit=36_000.0)
    assert "no time limit" not in risks(full)


def test_what_a_worker_that_is_gone_began_does_not_hang(full: FullResult) -> None:
    worker(full)
    storage: Any = full.storage
    now = storage.now()
    began = now - 3 * HOUR
    for by, seen in (("w1@a", now), ("gone", began)):
        if by == "gone":
            storage.note_worker(Worker("gone", "gone", began, seen, seen))
        started = samples.outcome(STARTED, began, worker=by, date_started=began)
        started = started._replace(stamp=f"{started.stamp}@{by}")
        message = samples.message(began, name=f"shop.of_{by[:2]}", queue="celery")
        full.storage.write([samples.event(by, began, outcome=started, message=message)])

    found = [each.sentence for each in full.doctor(offline=True).risks]

    assert "shop.of_w1 has no time limit, and one of its tasks has run for 3 h 00 m." in found
    assert not any("shop.of_go has no time limit" in each for each in found)


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

    assert found.sentence == "1 member of chords has waited longer than result_expires."
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

    assert found.sentence.startswith("1 task of a week was published by programs without")
    assert "tasks: shop.pay" in found.evidence


def test_workers_that_are_gone_and_queues_left_alone(full: FullResult) -> None:
    now = full.storage.now()
    storage: Any = full.storage
    worker(full)
    storage.note_worker(Worker("x", "w2@a", now - HOUR, now - HOUR, now - HOUR))
    waits(full, "w", name="shop.mail", queue="archive")
    waits(full, "other", name="shop.mail", queue="celery")

    found = risks(full)

    gone = found["workers gone"]
    assert (gone.sentence, gone.severity) == ("1 worker gone, with 0 orphans.", "notable")
    assert "resend" not in gone.advice
    assert found["queue without a consumer"].sentence == (
        "No living worker consumes archive, as far as is known."
    )
    evidence = found["queue without a consumer"].evidence
    assert evidence == ("1 task of the 2 looked at wait in archive",)


def test_clocks_and_versions(full: FullResult) -> None:
    worker(full, clock_ahead=-7.0, host="db1", versions={"celery": "5.4.0"})
    worker(full, "w2@a", versions={"celery": "5.7.0"})

    found = risks(full)

    assert found["clocks differ"].evidence == ("w1@a (db1) is 7.0 s behind",)
    assert found["versions differ"].sentence == "Workers run 2 versions of Celery."


def test_records_that_are_kept_for_good(full: FullResult) -> None:
    now = full.storage.now()
    full.storage.write([samples.task("old", now - timedelta(days=400))])

    assert risks(full)["no retention"].sentence == (
        "Records are kept for good: the oldest is 400 d 00 h old."
    )
    with another(full, fullresult_retention="90d") as other:
        assert "no retention" not in risks(other)


@contextmanager
def another(full: FullResult, **settings: Any) -> Iterator[FullResult]:
    """Another app on the same storage."""
    url = full.app.conf.fullresult_storage
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=getattr(url, "whole", url), fullresult_spool_directory=None)
    app.conf.update(settings)
    with closing(FullResult(app)) as other, closing(app):
        yield other


def test_an_index_that_nobody_has_made(
    full: FullResult, storage_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where there are too many records to make one in passing, or nobody may."""
    monkeypatch.setattr("fullresult_storage_mongo.indexes.LARGE", 0)
    wanted = {"fullresult_index_kwargs": ["order", "site"]}
    may_make = storage_kind.startswith("mongodb")
    ran(full, "shop.mail", 1.0)

    with another(full, **wanted, fullresult_auto_setup=may_make) as other:
        found = risks(other)

    if storage_kind == "postgresql":  # one index has all arguments
        assert "index is missing" not in found
        return
    assert found["index is missing"].sentence == "There is no index for 2 keyword arguments."
    assert found["index is missing"].evidence[0] == "fullresult_index_kwargs has order"
    with another(full, **wanted) as other:
        other.setup()
        assert "index is missing" not in risks(other)


def test_a_spool_that_is_not_empty(full: FullResult, tmp_path: Path) -> None:
    with another(full, fullresult_spool_directory=str(tmp_path / "spool")) as other:
        assert "spool is not empty" not in risks(other)
        directory = directory_of(other.settings)
        assert directory is not None
        left_behind = Spool(directory, 1_000_000)
        assert left_behind.append(samples.task("shop.mail"))
        left_behind._after_fork_in_child()

        found = risks(other)["spool is not empty"]

    assert found.sentence == "1 event of this host wait to be written."
    assert f"in {tmp_path}/spool" in found.evidence[0]
    assert found.advice == "celery -A proj fullresult spool flush"


def test_a_storage_that_is_slow(full: FullResult) -> None:
    quick = patient_of(full.parts, list, offline=True)
    slow = replace(quick, answers_in=0.25)

    assert "storage is slow" not in {each.name for each in examine(quick).risks}
    found = {each.name: each for each in examine(slow).risks}["storage is slow"]

    assert found.sentence == "The storage takes 250 ms to tell the time."
    assert "Each publish waits for one answer of the storage" in found.why


def test_workers_without_a_heartbeat(full: FullResult) -> None:
    assert "no heartbeat" not in risks(full)

    with another(full, fullresult_heartbeat=0) as other:
        found = risks(other)["no heartbeat"]

    assert found.evidence == ("fullresult_heartbeat = 0",)
    assert found.advice == "fullresult_heartbeat = '10s'"


def test_workers_that_share_a_node_name(full: FullResult) -> None:
    storage: Any = full.storage
    now = storage.now()
    worker(full, "w1@a", host="db1", pid=7)
    killed = Worker("killed", "w2@a", now - HOUR, now - 5 * SECOND, now + SECOND)
    for told in (killed, Worker("anew", "w2@a", now - SECOND, now, now + HOUR)):
        storage.note_worker(told)
        card = WorkerCard(told.worker_id, now, "n", Card(namespace=full.settings.namespace).text)
        storage.note_card(card, "{}")
    assert "node name is shared" not in risks(full)  # w2 began anew, after the first was heard of

    twin = Worker("twin", "w1@a", now - HOUR, now, now + HOUR)
    storage.note_worker(twin)
    text = Card(namespace=full.settings.namespace, host="db2", pid=8).text
    storage.note_card(WorkerCard("twin", now, "n", text), "{}")
    found = risks(full)["node name is shared"]

    assert found.sentence == "w1@a is the name of several workers."
    assert [each[: len("w1@a on db1, process 7")] for each in sorted(found.evidence)] == [
        "w1@a on db1, process 7",
        "w1@a on db2, process 8",
    ]


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
