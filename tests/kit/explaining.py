"""Explanations of tasks that real workers have: the scene, and waiting for a verdict."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from fullresult.insight.explain.explanation import Explanation
from fullresult.storage import CardStorage
from tests.kit import workers
from tests.kit.workers import Scene

MakeScene = Callable[..., AbstractContextManager[Scene]]


def scene_maker(broker: str, request: pytest.FixtureRequest, directory: Path) -> MakeScene:
    """What makes an app on that broker, whose workers have a fast heartbeat."""

    def make(**settings: Any) -> AbstractContextManager[Scene]:
        known = {"fullresult_heartbeat": 1, "module": "tests.apps.scenario_explain_app", **settings}
        url = known.pop("broker", None) or request.getfixturevalue(f"{broker}_url")
        storage = f"sqlite:///{directory}/records.db"
        return workers.scene(url, storage, directory, **known)

    return make


def explained(
    scene: Scene, task_id: str, verdict: str, *, offline: bool = False, wait: float = 10
) -> Explanation:
    """The explanation, once it has this verdict."""
    found: list[Explanation] = []

    def is_so() -> bool:
        found[:] = [scene.full.explain(task_id, offline=offline)]
        return found[0].verdict == verdict

    assert workers.until(is_so, wait), f"{found[0]}\n{scene.logs()}"
    return found[0]


def carded(scene: Scene, number: int = 1) -> None:
    """Wait until so many workers have left their cards."""
    storage = scene.full.storage
    assert isinstance(storage, CardStorage)
    assert workers.until(lambda: len(storage.find_cards()) >= number)
