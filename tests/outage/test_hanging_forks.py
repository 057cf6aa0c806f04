"""No fork waits for a storage that hangs, and no new process waits for what others know."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.recording.heartbeat import Heartbeat
from fullresult.recording.writer import Writer
from fullresult.results import bodies
from fullresult.storage import threads
from fullresult.testing import open_storage, samples
from fullresult_storage_sql import connections
from tests.kit import workers
from tests.outage.test_outage import frozen, own_storage

__all__ = ["own_storage"]

OURS = ("fullresult-heartbeat", "fullresult-sweeper", "fullresult-flusher", "fullresult-mender")


@contextmanager
def threads_of_a_worker(url: str) -> Iterator[Writer]:
    """The threads that a worker's main process has, in this one."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=url,
        fullresult_storage_timeout=30,
        fullresult_schedule_eta=True,
        fullresult_heartbeat=0.1,
        result_backend="fullresult://",
    )
    full = FullResult(app)
    full.setup()
    writer = full.parts.recorder.writer
    heartbeat = Heartbeat(
        full.parts.schedule_storage, "a", "w1@test", timedelta(seconds=0.1), ask=writer.listen
    )
    heartbeat.start()
    full.parts.start_sweeper()
    app.backend._here.mender.start()
    try:
        yield writer
    finally:
        full.parts.stop_sweeper()
        app.backend._here.mender._on_worker_shutdown()
        heartbeat.stop(workers.PATIENCE)
        full.close()


def hang() -> bool:
    """True if each of our threads waits for an answer of the storage."""
    frames = sys._current_frames()
    idents = {thread.name: thread.ident for thread in threading.enumerate()}
    return all(_waits(frames.get(idents.get(name) or 0)) for name in OURS)


def _waits(frame: object) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.endswith("postgresql_server.py"):  # type: ignore[attr-defined]
            return True
        frame = frame.f_back  # type: ignore[attr-defined]
    return False


def fork() -> int:
    """The exit code of a child that does nothing."""
    child = os.fork()
    if not child:
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, with threads
def test_no_fork_waits_for_an_answer_of_the_storage(
    own_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither heartbeat, sweeper, flusher nor mender has a gate closed while it waits for one."""
    monkeypatch.setattr(threads, "_PATIENCE", 60)
    monkeypatch.setattr(bodies, "lease", lambda _: 0.1)
    with threads_of_a_worker(own_storage) as writer, frozen(own_storage):
        writer.keep(samples.task("a"))
        all_hang = workers.until(hang)
        fork()
        unanswered = writer.failures

    assert all_hang
    assert not unanswered  # they still wait for the first answer


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_no_fork_waits_for_a_file_that_another_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what waited for the file is written after all."""
    monkeypatch.setattr(connections, "_PATIENCE", 60)
    file = tmp_path / "tasks.db"
    with (
        closing(open_storage(f"sqlite:///{file}")) as storage,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        storage.setup()
        other.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=storage.write, args=([samples.task("a")],))
        thread.start()
        busy = workers.until(lambda: storage._database._connections._lent)  # type: ignore[attr-defined]

        fork()
        waits = thread.is_alive()
        other.execute("COMMIT")
        thread.join(workers.PATIENCE)

        assert busy
        assert waits
        assert storage.get("a") is not None


@pytest.mark.slow
def test_a_worker_that_recycles_its_children_goes_on_while_the_database_hangs(
    own_storage: str, redis_url: str, tmp_path: Path
) -> None:
    """Each child that waited itself would take the timeout: these 12 know that it is away."""
    settings: dict[str, Any] = {
        "fullresult_storage_timeout": 5,
        "module": "tests.apps.scenario_outage_app",
    }
    notes = tmp_path / "notes"
    notes.mkdir()
    with (
        workers.scene(redis_url, own_storage, tmp_path, **settings) as scene,
        scene.worker("--max-tasks-per-child=1", concurrency=2) as worker,
    ):
        with frozen(own_storage):
            ids = [scene.send("work", str(notes), 0) for _ in range(12)]
            done = workers.until(lambda: _noted(notes) >= set(ids), 120)
            log = worker.read_log()

        recorded = workers.until(lambda: scene.full.count(state="SUCCESS") == 12)

    assert done
    # A child that is forked after its worker has said so knows it, too, and is silent.
    assert log.count("had no answer") + log.count("fullresult: no answer") >= 2
    assert log.count("fullresult: no answer") <= 4
    assert recorded


def _noted(directory: Path) -> set[str]:
    return {line for file in directory.iterdir() for line in file.read_text().split()}
