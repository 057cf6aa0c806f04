"""Each line of `docs/at-3-am.md`: in this situation, this command says this."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, signature
from celery.app.task import Context

from fullresult import FullResult
from fullresult.extension import asking
from fullresult.record import FAILURE, REVOKED, STARTED, SUCCESS
from fullresult.record.card import Card, WorkerCard, names_id_of, names_text
from fullresult.record.worker import Worker
from fullresult.testing import samples
from tests.kit import workers
from tests.kit.commands import run
from tests.kit.explaining import be_patient
from tests.kit.workers import Scene

PAGE = Path(__file__).parent.parent / "docs" / "at-3-am.md"
ROW = re.compile(r"^\| (?P<symptom>[A-Z][^|]+) \| `(?P<command>[^`]+)` \| `(?P<says>[^`]+)` \|$")
ROWS = [found for line in PAGE.read_text().splitlines() if (found := ROW.match(line))]
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)

Situation = Callable[[FullResult], str]


def situation(symptom: str) -> Callable[[Situation], Situation]:
    """That makes the situation of this line; it answers the id of the task."""

    def register(make: Situation) -> Situation:
        RECORDED[symptom] = make
        return make

    return register


RECORDED: dict[str, Situation] = {}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)
    monkeypatch.setattr(asking, "_PATIENCE", 30.0)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=f"sqlite:///{tmp_path}/records.db",
        fullresult_spool_directory=None,
        fullresult_schedule_eta=True,
        result_backend="fullresult://",
    )
    with closing(FullResult(app)) as full, closing(app):
        full.setup()
        yield full


def worker(full: FullResult, name: str = "w1@web", **known: Any) -> Worker:
    """A worker with a card; *known* are fields of it and of its life."""
    storage: Any = full.storage
    now = storage.now()
    life = {k: known.pop(k) for k in list(known) if k in Worker._fields}
    told = Worker(f"{name} {known}", name, now - HOUR, now, now + HOUR)._replace(**life)
    storage.note_worker(told)
    card = Card(queues=("celery",), pool="prefork", processes=4, visibility_timeout=60.0)
    names = names_text({each: {"acks_late": True} for each in known.pop("knows", ("shop.mail",))})
    card = replace(card, namespace=full.settings.namespace, **known)
    storage.note_card(WorkerCard(told.worker_id, now, names_id_of(names), card.text), names)
    return told


def runs(full: FullResult, task_id: str, by: Worker, name: str = "shop.report") -> str:
    """A task that this worker runs, or ran when it was last heard of."""
    now = full.storage.now()
    at = now - 45 * MINUTE
    started = samples.outcome(STARTED, at, worker=by.name, date_started=at)
    started = started._replace(stamp=f"{started.stamp}@{by.worker_id}")
    message = samples.message(at, name=name, queue="celery")
    full.storage.write([samples.event(task_id, at, outcome=started, message=message)])
    return task_id


def ended(full: FullResult, state: str, at: timedelta, **known: Any) -> str:
    """A task created, published and ended that long ago."""
    when = full.storage.now() - at
    record = samples.task("task", when, state=state, queue="celery", **known)
    full.storage.write([record])
    return "task"


def gone(full: FullResult) -> dict[str, Any]:
    now = full.storage.now()
    return {"date_seen": now - 40 * MINUTE, "alive_until": now - 39 * MINUTE}


def fail(full: FullResult, task_id: str, name: str) -> None:
    request = Context({"id": task_id, "task": name, "hostname": "w1@web", "args": [], "kwargs": {}})
    full.recorder.started(task_id, name, request)
    full.recorder.failed(task_id, name, request, ValueError("no stock"), None)


@situation("It does not run, though workers are idle")
def left_alone(full: FullResult) -> str:
    worker(full)
    return str(full.app.send_task("shop.store", queue="archive").id)


@situation("It does not run, and there may be no worker at all")
def no_worker(full: FullResult) -> str:
    worker(full, **gone(full), date_stopped=full.storage.now() - 40 * MINUTE)
    return str(full.app.send_task("shop.store").id)


@situation("It was scheduled, and did not go out")
def not_swept(full: FullResult) -> str:
    task_id = str(full.app.send_task("shop.later", countdown=7200).id)
    assert full.reschedule(task_id, full.storage.now() - HOUR)
    return task_id


@situation("It began, and never came back")
def orphan(full: FullResult) -> str:
    return runs(full, "task", worker(full, **gone(full)))


@situation("It came late")
def late(full: FullResult) -> str:
    now = full.storage.now()
    worker(full, date_started=now)
    outcome = samples.outcome(SUCCESS, now, worker="w1@web", date_done=now, runtime=0.2)
    record = samples.task("task", now - HOUR, queue="celery")
    full.storage.write([replace(record, outcome=outcome, start=samples.start(now, "w1@web"))])
    return "task"


@situation("It ran twice")
def twice(full: FullResult) -> str:
    now = full.storage.now()
    by = worker(full)
    ended(full, SUCCESS, HOUR)
    entries = []
    for name, ago in (("w1@web", 30 * MINUTE), ("w2@web", 29 * MINUTE)):
        entry = samples.entry(STARTED, now - ago, worker=name, date_started=now - ago)
        stamp = f"{entry.stamp}@{by.worker_id}" if name == "w1@web" else entry.stamp
        entries.append(entry._replace(stamp=stamp, date_done=None))
    full.storage.write([samples.event("task", now - HOUR, entries=tuple(entries))])
    return "task"


@situation("It fails since the deploy")
def not_registered(full: FullResult) -> str:
    worker(full, release="2026.1")
    worker(full, "w2@web", release="2026.2", knows=("shop.pay",))
    kind = "celery.exceptions.NotRegistered"
    return ended(full, FAILURE, MINUTE, name="shop.pay", worker="w1@web", exception_type=kind)


@situation("It is REVOKED, and nobody says why")
def revoked(full: FullResult) -> str:
    task_id = str(full.app.send_task("shop.later", countdown=7200).id)
    full.cancel(task_id, actor="ada")
    return task_id


@situation("It is REVOKED, by `expired`")
def expired(full: FullResult) -> str:
    published = full.storage.now() - HOUR
    done = published + 63 * SECOND
    return ended(
        full, REVOKED, full.storage.now() - published, worker="w1@web", date_done=done,
        exception_message="expired", expires=done - 3 * SECOND,
    )  # fmt: skip


@situation("A chain stopped, and this step has no record")
def step(full: FullResult) -> str:
    steps = [signature(f"shop.{name}", app=full.app, immutable=True) for name in ("pay", "ship")]
    last = chain(*steps, app=full.app).apply_async()
    fail(full, last.parent.id, "shop.pay")
    return str(last.id)


@situation("The body of a chord does not come")
def body(full: FullResult) -> str:
    members = [signature(f"shop.part{n}", app=full.app) for n in range(3)]
    result = chord(members, app=full.app)(signature("shop.total", app=full.app))
    first = full.find(name="shop.part0")[0].task_id
    known = {"id": first, "task": "shop.part0", "hostname": "w1@web", "args": [], "kwargs": {}}
    full.recorder.started(first, "shop.part0", Context(known))
    full.recorder.succeeded(Context(known), "shop.part0", 1, 0.1, ignored=False)
    fail(full, full.find(name="shop.part1")[0].task_id, "shop.part1")
    return str(result.id)


@situation("Who sent it?")
def sent(full: FullResult) -> str:
    return str(full.app.send_task("shop.store").id)


@situation("Is any worker alive?")
def fleet(full: FullResult) -> str:
    worker(full)
    return runs(full, "task", worker(full, "w2@web", **gone(full)))


@situation("A queue grows")
def queue(full: FullResult) -> str:
    return left_alone(full)


@situation("What did the worker that died leave behind?")
def left_behind(full: FullResult) -> str:
    return orphan(full)


@situation("What stands still?")
def stale(full: FullResult) -> str:
    return runs(full, "task", worker(full))


@situation("Scheduled tasks are late")
def overdue(full: FullResult) -> str:
    task_id = not_swept(full)
    assert full.reschedule(task_id, full.storage.now() - 3 * HOUR)
    return task_id


@situation("Things run twice, late or never")
def risks(full: FullResult) -> str:
    worker(full, knows=("shop.pay",))
    return ended(full, SUCCESS, MINUTE, name="shop.pay", runtime=70.0)


@situation("What will this deploy break?")
def renamed(full: FullResult) -> str:
    return sent(full)


@situation("Who did something to tasks tonight?")
def deeds(full: FullResult) -> str:
    return revoked(full)


def assert_said(row: re.Match[str], full: FullResult, task_id: str) -> None:
    words = [task_id if word == "ID" else word for word in row["command"].split()]
    parts = [re.escape(" ".join(part.split())) for part in row["says"].split("…")]

    result = run(full.app, *words)

    said = " ".join((result.stdout + result.stderr).split())
    assert re.search(".+?".join(parts), said), said


LIVE = {
    "It does not run, the workers are busy",
    "It does not run, and it has a countdown",
    "It does not run, its queue is empty, and no worker runs it",
}


def test_each_line_has_a_situation() -> None:
    symptoms = [row["symptom"] for row in ROWS]
    table = [line for line in PAGE.read_text().splitlines() if re.match(r"\| [A-Z]", line)]

    assert len(ROWS) == len(table) > 20
    assert len({*symptoms}) == len(symptoms)
    assert {*symptoms} == RECORDED.keys() | LIVE


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["symptom"] in RECORDED], ids=lambda row: row["symptom"]
)
def test_in_this_situation_the_command_says_this(row: re.Match[str], full: FullResult) -> None:
    task_id = RECORDED[row["symptom"]](full)

    assert_said(row, full, task_id)


@pytest.mark.slow
def test_and_so_it_does_of_tasks_that_a_worker_has(redis_url: str, tmp_path: Path) -> None:
    rows = {row["symptom"]: row for row in ROWS if row["symptom"] in LIVE}
    storage, gate = f"sqlite:///{tmp_path}/records.db", tmp_path / "gate"
    with (
        workers.scene(redis_url, storage, tmp_path, fullresult_heartbeat=1) as scene,
        scene.worker("-n", "w1@web"),
    ):
        held = scene.send("add", 1, 1, countdown=3600)
        scene.eventually(scene.send("wait_for", str(gate)), workers.is_started)
        taken, purged = scene.send("add", 1, 2), scene.send("add", 1, 3)
        assert workers.until(lambda: _verdict(scene, purged) == "waits in its queue")
        scene.app.control.purge()

        assert_said(rows["It does not run, and it has a countdown"], scene.full, held)
        assert_said(rows["It does not run, the workers are busy"], scene.full, taken)
        assert workers.until(lambda: _verdict(scene, purged) == "lost")
        assert_said(
            rows["It does not run, its queue is empty, and no worker runs it"], scene.full, purged
        )
        gate.touch()


def _verdict(scene: Scene, task_id: str) -> str:
    return scene.full.explain(task_id).verdict
