"""An error at any call of the flusher's thread loses no event and does not end the thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.record import SUCCESS, TaskRecord
from fullresult.record.stamps import FIRST, Clock
from fullresult.recording.outcomes import outcome_of
from fullresult.storage import StorageError
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
