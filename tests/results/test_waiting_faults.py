"""An error in the one thread that waits for results is the error of those it is about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
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
from fullresult.results.waiting import Ticket, Waiter
from tests.kit import workers
from tests.kit.scheduling import until


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """One that has ended tasks called "sound" and "damaged"."""
    with workers.storage(request.param, request, tmp_path) as url:
        app = Celery("shop", set_as_current=False)
        app.conf.fullresult_storage = url
        with closing(FullResult(app)) as full:
            full.setup()
            now = Clock().moment()
            outcome = outcome_of(SUCCESS, FIRST, now, date_started=now.at - timedelta(seconds=1))
            full.storage.write(
                [TaskRecord(name, now.at, now.at, outcome=outcome) for name in ("sound", "damaged")]
            )
            yield full.storage


class Unreadable:
    """A storage with one record that cannot be read."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def get_ended(self, task_ids: Collection[str], *, messages: bool = True) -> list[TaskRecord]:
        if "damaged" in task_ids:
            raise ValueError("no date: 31 February")
        found: list[TaskRecord] = self._storage.get_ended(task_ids, messages=messages)
        return found


def names(ticket: Ticket) -> list[str]:
    assert ticket.news.wait(10)
    return [name for name, _ in ticket.take()]


def test_a_record_that_cannot_be_read_is_the_error_of_who_waits_for_it(storage: Any) -> None:
    broken: Any = Unreadable(storage)
    waiter = Waiter(broken)
    damaged, sound = waiter.enter(["damaged"]), waiter.enter(["sound"])

    assert names(sound) == ["sound"]
    with pytest.raises(ValueError, match="31 February"):
        names(damaged)
    waiter.leave(damaged)

    assert names(waiter.enter(["sound"])) == ["sound"]


def test_a_thread_that_could_not_begin_is_begun_by_the_next(
    storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiter = Waiter(storage)

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            waiter.enter(["sound"])

    assert names(waiter.enter(["sound"])) == ["sound"]


def test_threads_that_open_the_storage_at_once_all_have_the_same(
    storage: Any, tmp_path: Path
) -> None:
    del storage
    app = Celery("shop", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/other.db"
    parts = FullResult(app).parts
    barrier, found = threading.Barrier(8), []

    def open_it(open_parts: Callable[[], Any]) -> None:
        barrier.wait()
        found.append(open_parts())

    threads = [threading.Thread(target=open_it, args=[parts._open]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    until(lambda: len(found) == 8)
    assert len({id(pair) for pair in found}) == 1
