"""Workers that replace each child after one task, with a sweeper's thread in their parent.

A child that is forked while the thread holds a lock would wait for it for good.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import workers

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, Any] = {
    "fullresult_schedule_eta": True,
    "fullresult_sweep_interval": 0.05,
    "module": "tests.apps.scenario_sweeping_app",
}


def recycle(broker_url: str, storage_url: str, directory: Path, *, tasks: int) -> None:
    """Run *tasks*, half of them scheduled, each in a child of its own. Fails where one hangs."""
    with workers.scene(broker_url, storage_url, directory, **SETTINGS) as scene:
        # Finished in the order of their ids: less than that is a child that hangs.
        with scene.worker("--max-tasks-per-child=1", concurrency=4):
            done = 0
            while done < tasks:
                some = min(200, tasks - done)
                for i in range(some):
                    scene.send("nothing", i, countdown=0.05 + i * 0.005 if i % 2 else None)
                done += some

                before, finished = -1, 0
                # A machine that is slow is no child that hangs.
                while before < finished < done:
                    before = finished
                    workers.until(lambda: scene.full.count(state="SUCCESS") >= done, 60)  # noqa: B023
                    finished = scene.full.count(state="SUCCESS")

                told = f"{scene.full.count(state='SUCCESS')} of {done}: a child hangs"
                assert finished >= done, f"{told}\n{scene.logs()}"
        assert not scene.full.scheduled()
        assert "Traceback" not in scene.logs()
        assert "before fork" not in scene.logs()  # what PyMongo warns of


@pytest.mark.slow
@pytest.mark.parametrize("storage", workers.storages("sqlite"))
def test_no_child_hangs_when_each_is_replaced_after_one_task(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path, storage: str
) -> None:
    with workers.storage(storage, request, tmp_path) as url:
        recycle(redis_url, url, tmp_path, tasks=100)


@pytest.mark.campaign
@pytest.mark.parametrize("storage", workers.STORAGES)
def test_no_child_of_thousands_hangs(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path, storage: str
) -> None:
    tasks = int(os.environ.get("FULLRESULT_TEST_RECYCLED", "4000"))

    with workers.storage(storage, request, tmp_path) as url:
        recycle(redis_url, url, tmp_path, tasks=tasks)
