"""How long workers take to answer, `explain` to say why, and a worker to keep its card."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.places import Places
from fullresult import FullResult
from fullresult.extension.asking import Asking
from fullresult.recording.heartbeat import KeptCard
from fullresult.recording.worker_card import CardMaker
from fullresult.storage import CardStorage
from tests.kit import workers
from tests.kit.workers import Scene

BUDGET = 2.0
"""Seconds that an explanation may take, whoever does not answer."""
_IDS = 10
_TASKS = 500
"""Tasks that a worker knows."""
_BEAT = 10.0
"""Seconds between two heartbeats, by default."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=("redis", "rabbitmq"), default="redis")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--runs", type=int, default=30)
    asked = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        broker = stack.enter_context(Places(stack).broker(asked.broker))
        scene = stack.enter_context(_scene(broker, directory))
        for _ in range(asked.workers):
            stack.enter_context(scene.worker())
        storage = scene.full.storage
        assert isinstance(storage, CardStorage)
        assert workers.until(lambda: len(storage.find_cards()) == asked.workers)
        print(f"{asked.workers} workers on {asked.broker}")
        _ask(scene, asked.runs)
        _keep(scene.full, asked.runs)


@contextmanager
def _scene(broker: str, directory: Path) -> Iterator[Scene]:
    with workers.scene(
        broker,
        f"sqlite:///{directory}/records.db",
        directory,
        module="tests.apps.scenario_explain_app",
        fullresult_heartbeat=2,
    ) as scene:
        yield scene


def _ask(scene: Scene, runs: int) -> None:
    asking, names = Asking(scene.app), [each.name for each in scene.workers]
    held = [scene.send("add", 1, 2, countdown=3600) for _ in range(_IDS)]
    lost = scene.send("add", 1, 2, queue="nobody")
    full = scene.full
    assert workers.until(lambda: full.explain(held[0]).verdict == "held until its ETA")

    def ask() -> None:
        assert len(asking.ask(held, names, ()).workers.answers) == len(names)

    _tell(f"what all workers know of {_IDS} tasks", _times(ask, runs))
    _tell(
        "stock: inspect query_task",
        _times(lambda: scene.app.control.inspect().query_task(*held), 3),
    )
    _tell("explain, a worker has it", _times(lambda: full.explain(held[0]), runs))
    _tell("explain, nobody has it", _times(lambda: full.explain(lost), runs))
    _tell("explain --offline", _times(lambda: full.explain(held[0], offline=True), runs))
    for each in scene.workers:
        os.killpg(each.pid, signal.SIGSTOP)
    frozen = _times(lambda: full.explain(held[0]), 3)
    for each in scene.workers:
        os.killpg(each.pid, signal.SIGCONT)
    _tell(f"explain, no worker answers (promised: {BUDGET:.0f} s)", frozen)
    assert max(frozen) < BUDGET


def _keep(full: FullResult, runs: int) -> None:
    """The card of a worker that knows many tasks, as each heartbeat makes it."""
    for number in range(_TASKS):
        full.app.task(name=f"many.task_{number}", shared=False)(_nothing)
    consumer = SimpleNamespace(
        app=full.app,
        pool=SimpleNamespace(num_processes=4),
        task_consumer=SimpleNamespace(queues=[SimpleNamespace(name="celery")]),
    )
    storage, now = full.storage, full.storage.now()
    assert isinstance(storage, CardStorage)
    kept = KeptCard("benchmark", CardMaker(consumer, full.settings))
    first = _times(lambda: kept.keep(storage, now, 0.0), 1)
    began = time.process_time()
    again = _times(lambda: kept.keep(storage, now, 0.0), runs)
    used = (time.process_time() - began) / runs
    _tell(f"a card with {_TASKS} tasks, written", first)
    _tell("the same, unchanged", again)
    print(f"  of a worker's CPU, every {_BEAT:.0f} s: {100 * used / _BEAT:.4f} %")
    print("  for each task that it runs: nothing, as no code of the card is in its way")


def _nothing() -> None:
    pass


def _times(do: Callable[[], object], runs: int) -> list[float]:
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        do()
        found.append(time.perf_counter() - began)
    return found


def _tell(what: str, times: list[float]) -> None:
    median, worst = (f"{1000 * each:,.1f} ms" for each in (statistics.median(times), max(times)))
    print(f"  {what}: median {median}, worst {worst}")


if __name__ == "__main__":
    main()
