"""Of many sweepers one sweeps, two look after it, and each task is sent once all the same."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult.scheduling import lease
from fullresult.scheduling.lease import Lease
from tests.kit import sweeping, workers
from tests.kit.scheduling import app_on, overdue, received, until

NAMESPACE = "shop"


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with workers.storage(request.param, request, tmp_path) as url:
        yield url


@pytest.fixture
def app(storage_url: str) -> Iterator[Celery]:
    with app_on({"broker_url": "memory://"}, storage_url) as app:
        yield app


class Told:
    """A real storage whose time passes when a test says so, and whose calls are counted."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._now: datetime = storage.now()
        self.calls: Counter[str] = Counter()

    def now(self) -> datetime:
        self.calls["now"] += 1
        return self._now

    def pass_by(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)

        def call(*given: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return method(*given, **options)

        return call


def looks(*leases: Lease) -> list[bool]:
    """Which of them are to sweep; each looks now."""
    for each in leases:
        each._next_look = 0.0
    return [each.sweeps() for each in leases]


def leases_of(storage: Any, number: int) -> list[Lease]:
    return [Lease(storage, NAMESPACE) for _ in range(number)]


def test_one_of_many_sweeps_and_goes_on_doing_so(app: Celery) -> None:
    storage = Told(app.fullresult.storage)
    leases = leases_of(storage, 6)

    for _ in range(5):
        assert looks(*leases) == [True, False, False, False, False, False]
        storage.pass_by(2)


def test_another_goes_on_within_seconds_of_the_end_of_the_holder(app: Celery) -> None:
    storage = Told(app.fullresult.storage)
    first, *others = leases_of(storage, 6)
    looks(first, *others)

    passed = 0
    while not any(looks(*others[:2])):  # those that look every two seconds
        storage.pass_by(2)
        passed += 2

    assert passed <= 8
    assert looks(*others).count(True) == 1


def test_one_that_comes_back_finds_its_lease_taken(app: Celery) -> None:
    storage = Told(app.fullresult.storage)
    first, second = leases_of(storage, 2)
    looks(first, second)
    storage.pass_by(7)
    looks(second)

    assert looks(first, second) == [False, True]


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_is_set_stops_no_sweeping(app: Celery, by: timedelta) -> None:
    """Notes that stand in the future bind nobody: several may sweep until then."""
    storage = Told(app.fullresult.storage)
    leases = leases_of(storage, 3)
    looks(*leases)

    storage.pass_by(by.total_seconds())

    for _ in range(3):
        assert any(looks(*leases))
        storage.pass_by(2)


def test_others_help_where_one_cannot_keep_up(app: Celery) -> None:
    storage = app.fullresult.storage
    leases = [Lease(storage, app.fullresult.settings.namespace) for _ in range(4)]
    alone = looks(*leases)
    overdue(app, "late", by=timedelta(seconds=10))

    helped = looks(*leases)
    for each in leases:
        each.is_done()

    assert (alone, helped) == ([True, False, False, False], [True] * 4)
    assert [each.sweeps() for each in leases] == alone


def test_those_without_a_lease_ask_seldom(app: Celery) -> None:
    storage = Told(app.fullresult.storage)
    leases = leases_of(storage, 6)
    looks(*leases)

    pauses = [each.pause for each in leases]

    assert all(1 < pause <= lease._RENEW for pause in pauses[:3])
    assert all(20 < pause <= lease._LOOK for pause in pauses[3:])


def test_sweepers_that_all_believe_to_hold_the_lease_send_each_task_once(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lease, "sweeps", lambda _: True)
    ids = [str(number) for number in range(40)]
    for task_id in ids:
        overdue(app, task_id)
    with ExitStack() as stack:
        for _ in range(4):
            sweeper = app.fullresult.parts.new_sweeper()
            sweeper.start()
            stack.callback(sweeper.join, 20)
            stack.callback(sweeper.stop)
        until(lambda: app.fullresult.count_scheduled() == 0)

    assert Counter(received(app)) == Counter(ids)


End = Callable[[int], None]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("end", [kill, stop])
def test_when_the_holder_is_killed_or_stopped_another_sends(
    storage_url: str, redis_url: str, end: End
) -> None:
    settings = {"broker_url": redis_url, "fullresult_storage": storage_url}
    full = sweeping.make(settings)
    full.setup()
    with sweeping.crowd(settings) as crowd:
        crowd.spawn(1)
        sweeping.schedule(full, 1, countdown=0.05)
        until(lambda: len(sweeping.redis_ids(redis_url)) == 1)  # it has the first lease
        crowd.spawn(3)
        time.sleep(3)
        holder = crowd.processes[0].pid
        assert holder
        end(holder)
        ended = time.monotonic()

        sweeping.schedule(full, 1, countdown=0.05)
        until(lambda: len(sweeping.redis_ids(redis_url)) == 2)

        assert time.monotonic() - ended < 12
    full.close()
