"""A countdown counts from the database's time, whichever of the three clocks is wrong or moves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from fullresult import FullResult
from fullresult.storage import StorageError
from tests.kit import servers, sweeping, workers
from tests.kit.scheduling import SECOND, until, with_all_methods

COUNTDOWN = 120
AHEAD, BEHIND = timedelta(minutes=10), timedelta(minutes=-10)
MakeApp = Callable[..., FullResult]


@with_all_methods
class Moved:
    """A real storage on a server whose clock is wrong; it can fail once."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.by = timedelta(0)
        self.fails = False

    def now(self) -> datetime:
        found: datetime = self._storage.now()
        return found + self.by

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)
        if name == "schedule" and self.fails:
            self.fails = False
            return servers_are_switched
        return method


def servers_are_switched(*_: object) -> None:
    raise StorageError("the connection was closed")


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with workers.storage(request.param, request, tmp_path) as url:
        yield url


@pytest.fixture
def make(storage_url: str, redis_url: str) -> Iterator[MakeApp]:
    with ExitStack() as stack:

        def make(**settings: Any) -> FullResult:
            known = {"broker_url": redis_url, "fullresult_storage": storage_url}
            full = sweeping.make({**known, **settings})
            stack.callback(full.close)
            full.setup()
            return full

        yield make


def moved_storage(full: FullResult) -> Moved:
    """Put one in the place of the app's storage, before anything uses that."""
    recorder = full.recorder
    moved = Moved(full.storage)
    stored: Any = moved
    recorder.writer._schedules = recorder.writer.storage = stored
    full.parts.opened = stored, recorder
    return moved


def wait_of(full: FullResult, task_id: str) -> float:
    """Seconds from now until the task is due, both by the database's clock."""
    (schedule,) = (each for each in full.scheduled(limit=None) if each.task_id == task_id)
    return (schedule.due - full.storage.now()).total_seconds()


def schedule(full: FullResult, countdown: float = COUNTDOWN) -> str:
    (task_id,) = sweeping.schedule(full, 1, countdown=countdown)
    return task_id


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_after_an_error_the_time_of_the_server_that_answers_now_counts(
    make: MakeApp, by: timedelta
) -> None:
    full = make()
    storage = moved_storage(full)
    schedule(full, 300)
    storage.fails = True
    with pytest.raises(OperationalError):
        schedule(full)
    storage.by = by
    ids: list[str] = []
    until(lambda: _is_taken(full, ids))

    (task_id,) = ids

    assert COUNTDOWN - 5 < wait_of(full, task_id) <= COUNTDOWN + 1


def _is_taken(full: FullResult, ids: list[str]) -> bool:
    try:
        ids.append(schedule(full))
    except OperationalError:
        return False
    return True


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_server_that_was_switched_without_an_error_counts_after_a_second(
    make: MakeApp, by: timedelta
) -> None:
    full = make()
    storage = moved_storage(full)
    schedule(full, 300)
    storage.by = by
    second_later = storage._storage.now() + SECOND * 1.1
    until(lambda: storage._storage.now() > second_later)

    task_id = schedule(full)

    assert COUNTDOWN - 5 < wait_of(full, task_id) <= COUNTDOWN + 1


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_the_clock_of_the_publisher_does_not_matter(make: MakeApp, by: timedelta) -> None:
    full = make()
    settings = {name: full.app.conf[name] for name in ("broker_url", "fullresult_storage")}

    (task_id,) = on_host(by, settings, "publish", str(COUNTDOWN), "1")

    assert COUNTDOWN - 30 < wait_of(full, task_id) <= COUNTDOWN + 1


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_the_clock_of_the_sweeper_does_not_matter(
    make: MakeApp, by: timedelta, redis_url: str
) -> None:
    full = make()
    settings = {name: full.app.conf[name] for name in ("broker_url", "fullresult_storage")}
    waits, due = schedule(full), schedule(full, 0.05)
    until(lambda: wait_of(full, due) < 0)

    on_host(by, settings, "sweep-once")

    assert sweeping.redis_ids(redis_url) == [due]
    assert [each.task_id for each in full.scheduled()] == [waits]


def on_host(by: timedelta, settings: dict[str, Any], *words: str) -> list[str]:
    """The ids that a process on a host whose clock is wrong says."""
    command = [sys.executable, "-m", "tests.kit.skewed_clock", str(by.total_seconds())]
    done = subprocess.run(
        servers._launch([*command, "tests.kit.host", *words], ""),
        cwd=workers.ROOT,
        env={**os.environ, workers.SETTINGS: json.dumps(settings)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    _, *said = done.stdout.split()
    return said
