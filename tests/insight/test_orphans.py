"""Which running tasks have lost their worker: the heartbeat, and the question."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context

from fullresult import FullResult, StorageError
from fullresult.insight.orphans import Orphans
from fullresult.record import FINISHED, PENDING, RETRY, SCHEDULED, SCHEDULED_SENT, STARTED, UNSENT
from fullresult.record.stamps import Clock, worker_in
from fullresult.record.worker import Worker
from fullresult.recording.heartbeat import Heartbeat
from fullresult.recording.this_worker import became_worker, worker_id
from fullresult.storage import Storage, TaskQuery, WorkerStorage
from fullresult.testing import open_storage, samples
from tests.kit import workers

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
OFTEN = timedelta(milliseconds=50)


@pytest.fixture
def app(storage_url: str) -> Iterator[Celery]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = storage_url
    full = FullResult(app)
    full.setup()
    yield app
    full.close()


@pytest.fixture
def full(app: Celery) -> FullResult:
    full: FullResult = app.fullresult
    return full


@pytest.fixture
def storage(full: FullResult) -> Storage:
    return full.storage


def kept(storage: Storage) -> WorkerStorage:
    assert isinstance(storage, WorkerStorage)
    return storage


def lives(storage: Storage, worker_id: str, ago: timedelta = timedelta(0), **known: Any) -> None:
    """A worker that was heard of so long ago."""
    seen = storage.now() - ago
    worker = Worker(worker_id, f"{worker_id}@host", seen - HOUR, seen, seen + 25 * SECOND)
    kept(storage).note_worker(worker._replace(**known))


def runs(storage: Storage, task_id: str, worker: str, state: str = STARTED, **message: Any) -> None:
    """A record that says that a task is in *state*, by that worker."""
    now = storage.now()
    tail = Clock().moment().of_worker(worker).tail
    outcome = samples.outcome(state, now)
    outcome = outcome._replace(stamp=f"{outcome.stamp}{tail}", worker=f"{worker}@host")
    event = samples.event(task_id, now, outcome=outcome, message=samples.message(now, **message))
    storage.write([event])


def ids(full: FullResult, *args: Any, **filters: Any) -> list[str]:
    return [record.task_id for record in full.get_orphaned_tasks(*args, **filters)]


# --- The question


def test_orphans_are_the_running_tasks_of_workers_that_are_gone(
    full: FullResult, storage: Storage
) -> None:
    lives(storage, "alive")
    lives(storage, "killed", 26 * SECOND)
    lives(storage, "stopped", date_stopped=storage.now())
    for worker in ("alive", "killed", "stopped", "unknown", ""):
        runs(storage, f"of {worker}", worker)

    found = ids(full)

    assert found == ["of killed", "of stopped"]


def test_a_worker_is_gone_as_soon_as_its_time_is_over(full: FullResult, storage: Storage) -> None:
    """Not by its name: one started anew under the same name has another id."""
    lives(storage, "a", name="w1@host", alive_until=storage.now())
    lives(storage, "b", name="w1@host")
    runs(storage, "lost", "a")
    runs(storage, "running", "b")

    assert workers.until(lambda: ids(full) == ["lost"])


def test_a_worker_that_comes_back_has_no_orphans(full: FullResult, storage: Storage) -> None:
    lives(storage, "frozen", 26 * SECOND)
    runs(storage, "a", "frozen")
    before = ids(full)

    lives(storage, "frozen")

    assert (before, ids(full)) == (["a"], [])


@pytest.mark.parametrize(
    "state", [PENDING, SCHEDULED, SCHEDULED_SENT, UNSENT, RETRY, *sorted(FINISHED)]
)
def test_what_does_not_run_is_no_orphan(full: FullResult, storage: Storage, state: str) -> None:
    lives(storage, "killed", HOUR)
    runs(storage, "a", "killed", state=state)

    assert ids(full) == []


def test_a_task_in_a_state_of_its_own_may_be_an_orphan(full: FullResult, storage: Storage) -> None:
    """It told of its progress when it was last heard of."""
    lives(storage, "killed", HOUR)
    runs(storage, "a", "killed", state="PROGRESS")

    assert ids(full) == ["a"]


def test_a_task_that_another_worker_began_anew_is_no_orphan(
    full: FullResult, storage: Storage
) -> None:
    """The broker delivered it again."""
    lives(storage, "killed", HOUR)
    lives(storage, "alive")
    runs(storage, "a", "killed")

    assert workers.until(lambda: storage.now() > last_update(storage, "a"))
    runs(storage, "a", "alive")

    assert ids(full) == []


def last_update(storage: Storage, task_id: str) -> datetime:
    record = storage.get(task_id)
    assert record is not None
    return record.date_updated


def test_only_those_whose_worker_has_been_gone_for_long(full: FullResult, storage: Storage) -> None:
    lives(storage, "a minute", timedelta(minutes=1))
    lives(storage, "an hour", HOUR)
    lives(storage, "stopped", HOUR, date_stopped=storage.now())
    for worker in ("a minute", "an hour", "stopped"):
        runs(storage, worker, worker)

    assert ids(full, timedelta(minutes=30)) == ["an hour"]
    assert len(ids(full, timedelta(0))) == 3


def test_filters_and_a_limit_narrow(full: FullResult, storage: Storage) -> None:
    lives(storage, "killed", HOUR)
    for number in range(3):
        runs(storage, f"pay {number}", "killed", name="shop.pay", kwargs={"n": number})
        runs(storage, f"ship {number}", "killed", name="shop.ship")

    assert sorted(ids(full, name="shop.pay")) == ["pay 0", "pay 1", "pay 2"]
    assert ids(full, kwargs={"n": 1}) == ["pay 1"]
    assert ids(full, name="shop.ship", worker="other@host") == []
    assert ids(full, not_state=["STARTED"]) == []
    assert len(ids(full, limit=4)) == 4
    assert ids(full, limit=0) == []


def test_the_oldest_come_first_however_many_there_are(full: FullResult, storage: Storage) -> None:
    lives(storage, "killed", HOUR)
    tail = Clock().moment().of_worker("killed").tail
    stamp = f"{samples.stamp(STARTED)}{tail}"
    started = samples.outcome(STARTED)._replace(stamp=stamp)
    for number in range(250):
        at = samples.after(250 - number)
        storage.write([samples.event(f"{number:03d}", at, outcome=started)])

    assert ids(full) == [f"{number:03d}" for number in reversed(range(250))]


def test_what_was_sent_again_is_no_orphan_any_more(full: FullResult, storage: Storage) -> None:
    """Nobody needs to hear of it twice. A re-send that the broker did not take does not count."""
    lives(storage, "killed", HOUR)
    runs(storage, "a", "killed")
    runs(storage, "b", "killed")
    runs(storage, "a again", "alive", state=PENDING, retry_of="a")
    runs(storage, "b again", "alive", state=UNSENT, retry_of="b")

    assert ids(full) == ["b"]


def test_a_storage_that_keeps_no_workers_says_so() -> None:
    with pytest.raises(StorageError, match="does not keep which workers are alive"):
        Orphans(object())  # type: ignore[arg-type]


class AWorker:
    """What Celery tells of a worker that begins."""


def test_the_record_of_a_running_task_names_the_life_of_its_worker(app: Celery) -> None:
    """By an id that was made when the worker began: its start, and what it tells of its state."""
    app.conf.result_backend = "fullresult://"
    full, request = app.fullresult, Context({"id": "a", "hostname": "w1@host", "task": "shop.pay"})
    worker = AWorker()
    became_worker(worker)
    made = worker_id()

    full.recorder.started("a", "shop.pay", request)
    started = full.get("a").outcome
    app.backend.store_result("a", {"step": 1}, "PROGRESS", request=request)
    told = full.get("a").outcome
    del worker
    app.backend.store_result("a", {"step": 2}, "PROGRESS")
    told_elsewhere = full.get("a").outcome

    assert made
    assert [o.state for o in (started, told, told_elsewhere)] == [STARTED, "PROGRESS", "PROGRESS"]
    assert [worker_in(o.stamp) for o in (started, told, told_elsewhere)] == [made, made, ""]
    assert worker_id() == ""


# --- The heartbeat


@pytest.fixture
def heartbeat(storage: Storage) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(storage, "a", "w1@host", OFTEN)
    heartbeat.start()
    yield heartbeat
    heartbeat.stop(workers.PATIENCE)


def only_worker(storage: Storage) -> Worker:
    (worker,) = kept(storage).find_workers()
    return worker


def test_a_heartbeat_goes_on_by_the_storages_clock(storage: Storage, heartbeat: Heartbeat) -> None:
    assert workers.until(kept(storage).find_workers)
    first = only_worker(storage)

    assert workers.until(lambda: only_worker(storage).date_seen > first.date_seen)

    later = only_worker(storage)
    assert (later.worker_id, later.name) == ("a", "w1@host")
    assert later.date_started == first.date_started <= first.date_seen <= storage.now()
    assert later.alive_until - later.date_seen == 2.5 * OFTEN
    assert later.date_stopped is None
    assert heartbeat is not None


def test_a_heartbeat_that_is_stopped_says_so(storage: Storage, heartbeat: Heartbeat) -> None:
    assert workers.until(kept(storage).find_workers)

    heartbeat.stop(workers.PATIENCE)

    worker = only_worker(storage)
    assert worker.date_stopped is not None
    assert worker.date_started <= worker.date_stopped <= storage.now()
    assert worker.is_gone(storage.now())


def test_a_worker_that_starts_forgets_those_gone_for_a_month(storage: Storage) -> None:
    lives(storage, "a month ago", timedelta(days=30))
    lives(storage, "less than a month ago", timedelta(days=29))
    heartbeat = Heartbeat(storage, "new", "w1@host", HOUR)

    heartbeat.start()

    def known() -> set[str]:
        return {worker.worker_id for worker in kept(storage).find_workers()}

    assert workers.until(lambda: known() == {"less than a month ago", "new"})
    heartbeat.stop(workers.PATIENCE)


class Failing:
    """A storage that fails some times before it answers."""

    def __init__(self, storage: Storage, failures: int) -> None:
        self._storage = storage
        self.left = itertools.count(failures, -1)
        self.told: list[Worker] = []

    def now(self) -> datetime:
        if next(self.left) > 0:
            raise StorageError("away")
        return self._storage.now()

    def note_worker(self, worker: Worker) -> None:
        self.told.append(worker)
        kept(self._storage).note_worker(worker)

    def find_workers(self) -> list[Worker]:
        return kept(self._storage).find_workers()

    def forget_workers(self, seen_until: datetime) -> None:
        kept(self._storage).forget_workers(seen_until)


def test_a_storage_that_is_away_is_told_again_soon_and_logged_once(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing(storage, failures=3)
    heartbeat = Heartbeat(failing, "a", "w1@host", 2 * SECOND)  # type: ignore[arg-type]

    with caplog.at_level(logging.WARNING, "fullresult"):
        heartbeat.start()
        assert workers.until(kept(storage).find_workers)
        heartbeat.stop(workers.PATIENCE)

    (line,) = caplog.messages
    assert "may be taken for orphans: away" in line
    assert only_worker(storage).date_stopped is not None


def test_a_worker_that_ends_does_not_wait_for_a_storage_that_was_away(
    tmp_path: Path,
) -> None:
    """What it could not say before it would not be able to say now."""
    storage = open_storage(f"sqlite:///{tmp_path}/records.db")
    failing = Failing(storage, failures=1000)
    heartbeat = Heartbeat(failing, "a", "w1@host", HOUR)  # type: ignore[arg-type]
    heartbeat.start()
    assert workers.until(lambda: next(failing.left) < 1000)

    heartbeat.stop(workers.PATIENCE)

    assert failing.told == []


def test_an_orphan_can_be_found_by_any_filter_of_a_query(full: FullResult) -> None:
    """A filter that is none is an error, as it is for `find`."""
    with pytest.raises(TypeError):
        full.get_orphaned_tasks(colour="red")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="aware"):
        full.get_orphaned_tasks(since=datetime(2026, 1, 1))  # noqa: DTZ001

    assert full.get_orphaned_tasks(**vars(TaskQuery(name="x")) | {"limit": None}) == []
