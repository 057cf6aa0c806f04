"""Explanations of tasks that real workers have: the scene, and waiting for a verdict."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fullresult.insight.explain import in_time
from fullresult.insight.explain.explanation import Explanation
from fullresult.storage import CardStorage
from tests.kit import workers
from tests.kit.workers import Scene

_LONG = 30.0
MakeScene = Callable[..., AbstractContextManager[Scene]]


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have explanations wait for a storage that is slow because the machine has other work."""
    monkeypatch.setattr(in_time, "_LATE", _LONG)
    monkeypatch.setattr(in_time, "_LATEST", _LONG)


def scene_maker(broker: str, request: pytest.FixtureRequest, directory: Path) -> MakeScene:
    """What makes an app on that broker, whose workers have a fast heartbeat."""

    def make(**settings: Any) -> AbstractContextManager[Scene]:
        known = {"fullresult_heartbeat": 1, "module": "tests.apps.scenario_explain_app", **settings}
        url = known.pop("broker", None) or request.getfixturevalue(f"{broker}_url")
        storage = f"sqlite:///{directory}/records.db"
        return workers.scene(url, storage, directory, **known)

    return make


def explained(scene: Scene, task_id: str, verdict: str, *, offline: bool = False) -> Explanation:
    """The explanation, once it has this verdict."""
    found: list[Explanation] = []

    def is_so() -> bool:
        found[:] = [scene.full.explain(task_id, offline=offline)]
        return found[0].verdict == verdict

    assert workers.until(is_so), f"{found[0]}\n{scene.logs()}"
    return found[0]


def carded(scene: Scene, number: int = 1) -> None:
    """Wait until so many workers have left their cards."""
    storage = scene.full.storage
    assert isinstance(storage, CardStorage)
    assert workers.until(lambda: len(storage.find_cards()) >= number)


@contextmanager
def frozen(scene: Scene, pid: int) -> Iterator[None]:
    """Its process group is stopped, but not while it has the file of records: nobody else would."""
    while True:
        os.killpg(pid, signal.SIGSTOP)
        if _is_free(scene.app.conf.fullresult_storage.removeprefix("sqlite:///")):
            break
        os.killpg(pid, signal.SIGCONT)
    try:
        yield
    finally:
        os.killpg(pid, signal.SIGCONT)


def _is_free(file: str) -> bool:
    with closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        database.execute("ROLLBACK")
    return True
