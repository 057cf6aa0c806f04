"""An error at any call of the flusher's thread loses no event and does not end the thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.outage.flusher_thread import FlusherThread
from fullresult.record import SUCCESS, TaskRecord
from fullresult.record.stamps import FIRST, Clock
from fullresult.recording.outcomes import outcome_of
from fullresult.storage import InLine, NoRoom, StorageError
from tests.kit import workers
from tests.kit.scheduling import until
from tests.scheduling.test_faults_at_each_call import Fault, Watched


@pytest.fixture(params=workers.storages("sqlite"))
def full(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FullResult]:
    monkeypatch.setattr("fullresult.outage.flusher._SHORTEST_PAUSE", 0.01)
    with workers.storage(request.param, request, tmp_path) as url:
        app = Celery("shop", set_as_current=False)
        app.conf.update(fullresult_storage=url, fullresult_write_mode="spooled")
        with closing(FullResult(app)) as full:
            full.setup()
            yield full


def event(name: str) -> TaskRecord:
    now = Clock().moment()
    outcome = outcome_of(SUCCESS, FIRST, now, date_started=now.at - timedelta(seconds=1))
    return TaskRecord(name, now.at, now.at, outcome=outcome)


@pytest.mark.parametrize("number", range(1, 13))
@pytest.mark.parametrize("error", [StorageError("away"), ValueError("injected")], ids=repr)
def test_after_an_error_at_any_call_every_event_is_written(
    full: FullResult, error: Exception, number: int
) -> None:
    flusher: Any = full.recorder.writer.flusher
    fault = Fault(number, error)
    real = flusher._spool
    flusher._storage = Watched(flusher._storage, fault)
    flusher._spool = OfTheThread(real, fault)
    names = [f"task {place}" for place in range(6)]

    for name in names:
        real.append(event(name))
        flusher.wake()
        until(lambda: real.is_idle)

    until(lambda: all(full.get(name) for name in names))
    assert fault.where, "the thread does not make so many calls"


class OfTheThread(Watched):
    """Fails only what the flusher's thread calls to do its work."""

    def __getattr__(self, name: str) -> Any:
        if name in {"take", "adopt", "done"}:
            return super().__getattr__(name)
        return getattr(self._real, name)


@pytest.mark.parametrize(("error", "rests"), [(StorageError, 0.01), (InLine, 0.01), (NoRoom, 0.5)])
def test_who_finds_no_room_asks_the_more_rarely_the_longer_that_took(
    full: FullResult, error: type[StorageError], rests: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask takes a connection: a crowd on a slow machine would have them all by asking."""
    rested: list[float] = []
    monkeypatch.setattr(FlusherThread, "rest", lambda _, seconds: rested.append(seconds))
    flusher: Any = full.recorder.writer.flusher
    real = flusher._storage
    flusher._storage = Crowded(real, error, times=5)

    flusher.keep(event("a"))
    until(lambda: full.get("a"))

    assert min(rested[:5]) >= rests * 0.8
    assert (max(rested[:5]) < 0.5) == (error is not NoRoom)


class Crowded:
    """A storage that a crowd keeps from writing a few times, each for 20 ms."""

    def __init__(self, storage: Any, error: type[StorageError], times: int) -> None:
        self._storage, self._error, self._times = storage, error, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def write(self, events: Any) -> Any:
        if self._times:
            self._times -= 1
            sleep(0.02)
            raise self._error("not now")
        return self._storage.write(events)
