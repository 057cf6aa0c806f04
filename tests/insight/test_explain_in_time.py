"""A storage that is locked or mute costs two seconds, and the answer says so."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.insight.explain import in_time
from fullresult.insight.explain.explain import explain
from fullresult.insight.explain.explanation import Explanation
from fullresult.insight.live import Answer, WorkersNow
from tests.insight.test_explain_doubts import Said
from tests.kit.commands import run
from tests.kit.explaining import be_patient
from tests.kit.proxy import Delay, proxy

BUDGET = 3.0
"""Seconds: 1.8, and what a busy machine adds. The storage itself would be waited for for 5."""
HELD = Answer("w1@host", "w1", held={"task": {"as": "running", "since": 0.0}})
ANSWER = Answer("w1@host", "w1", queues=("celery",))


@contextmanager
def recorded(storage: str, task_id: str = "task") -> Iterator[FullResult]:
    """An app with one task, which waits."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = storage
    app.conf.fullresult_spool_directory = None
    with closing(FullResult(app)) as full, closing(app):
        full.setup()
        app.send_task("shop.pay", task_id=task_id)
        yield full


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else can read the records."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    """Its storage is locked."""
    file = tmp_path / "records.db"
    with recorded(f"sqlite:///{file}") as full:
        full.storage.close()
        # Readers of a write-ahead log wait for nobody.
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
        with locked(file):
            yield full


def test_where_no_thread_could_be_started_the_next_one_is_answered_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_time._Apart, "_free", threading.BoundedSemaphore(2))
    be_patient(monkeypatch)
    with recorded(f"sqlite:///{tmp_path}/records.db") as full:
        with monkeypatch.context() as full_up:
            full_up.setattr(threading.Thread, "start", no_thread)
            for _ in range(3):
                with pytest.raises(RuntimeError, match="new thread"):
                    explain(full.storage, full.settings, "task", None)

        assert explain(full.storage, full.settings, "task", None).known


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def timed(full: FullResult, live: Said | None) -> Explanation:
    began = time.monotonic()
    found = explain(full.storage, full.settings, "task", live)
    assert time.monotonic() - began < BUDGET
    return found


def test_a_locked_storage_is_said_not_to_answer(full: FullResult) -> None:
    found = timed(full, None)

    assert (found.verdict, found.known) == ("storage does not answer", False)
    assert found.sentence == (
        "The storage did not answer within 1.8 s: what it has of this task is not known."
    )
    assert found.unknown == (
        "the storage did not answer within 1.8 s", "workers: they were not asked",
    )  # fmt: skip


def test_a_worker_that_has_the_task_says_so_all_the_same(full: FullResult) -> None:
    found = timed(full, Said(WorkersNow((HELD,))))

    assert (found.verdict, found.confidence) == ("running", "certain")
    assert found.sentence == "w1@host runs it."
    assert found.unknown == ("the storage did not answer within 1.8 s",)


def test_workers_that_do_not_have_it_are_no_proof(full: FullResult) -> None:
    found = timed(full, Said(WorkersNow((ANSWER,))))

    assert found.sentence.endswith(" is not known, and no worker that answers has it.")
    assert found.confidence == "possible"


def test_the_command_ends_with_1(full: FullResult) -> None:
    for task_id, patience in (("0" * 8 + "-0000" * 3 + "-" + "0" * 12, 0.0), ("0" * 8, 0.4)):
        began = time.monotonic()
        said = run(full.app, "explain", task_id, "--offline")

        assert time.monotonic() - began < BUDGET + patience
        assert said.exit_code == 1
        assert said.stdout.startswith("The storage did not answer within 1.8 s")


def test_the_beginning_of_an_id_is_no_unknown_id_where_the_storage_is_slow_for_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_time, "_SOON", 0.05)
    be_patient(monkeypatch)
    with recorded(f"sqlite:///{tmp_path}/records.db", "1a2db40c-x") as full:
        storage: Any = full.storage
        ids_beginning = storage.ids_beginning
        pauses = [0.3]

        def slow(*given: Any) -> Any:
            time.sleep(pauses.pop() if pauses else 0)
            return ids_beginning(*given)

        monkeypatch.setattr(storage, "ids_beginning", slow)
        said = run(full.app, "explain", "1a2db40c", "--offline")
        unknown = run(full.app, "explain", "ffffffff", "--offline")

    assert said.exit_code == 0
    assert "No record" not in said.stdout
    assert (unknown.exit_code, unknown.stdout.startswith("No record")) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mongodb"])
def test_a_server_that_has_fallen_mute(kind: str, request: pytest.FixtureRequest) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))
    scheme, _, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    address, slash, path = place.partition("/")
    host, _, port = address.partition(":")
    with proxy(host, int(port)) as between:
        through = f"{scheme}://{user}{at}127.0.0.1:{between.port}{slash}{path}"
        with recorded(through) as full:
            between.plan = lambda _: Delay(6)

            found = timed(full, Said(WorkersNow((HELD,))))

            between.plan = lambda _: None
            between.cut_all()
    assert found.sentence == "w1@host runs it."
