"""The campaign of kills: whatever dies when, no record says what did not happen, none is silent.

    python -m tests.campaigns.crashes --rounds 1000 --storage postgresql --write spooled

Publishers, beat and a worker are at work; each round kills one of them, or a process of the
worker's pool, at a random moment, and starts it anew. In the end, what was left in the spool is
written, and then: every task that was published is recorded, no record is corrupt, none claims an
end that did not happen, and those without an end are what the stale query finds.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fullresult.record import FINISHED, TaskRecord
from tests.campaigns.outage import open_store
from tests.kit import servers, workers
from tests.kit.workers import SETTINGS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

MODULE = "tests.apps.scenario_outage_app"
VICTIMS = {"child": 14, "publisher": 8, "beat": 1, "worker": 1}
"""How often each is killed; the last two take a second to start anew."""
_LOST = "billiard.exceptions.WorkerLostError"
_PATIENCE = 60.0


def publish_until_killed(settings: dict[str, Any], directory: str, seed: int) -> None:
    """Be a publisher: each id is noted once the broker has the message."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    logging.getLogger("fullresult").addHandler(logging.NullHandler())
    choice = random.Random(seed)
    app = import_module(MODULE).make_app(settings)
    task = app.tasks["scenario.work"]
    with Path(directory, f"published-{os.getpid()}").open("a", buffering=1) as told:
        while True:
            seconds = choice.choice((0, 0, 0, 0.005, 0.02))
            result = task.apply_async((directory + "/done", seconds))
            told.write(f"{result.id}\n")
            time.sleep(choice.uniform(0, 0.02))


class Campaign:
    """One storage, one broker, and all who are killed."""

    def __init__(self, scene: workers.Scene, publishers: int) -> None:
        self.killed: Counter[str] = Counter()
        self._scene = scene
        self._number = publishers
        self._publishers: list[BaseProcess] = []
        self._beat: subprocess.Popen[bytes] | None = None
        self._worker = ExitStack()
        self._running: workers.Worker | None = None
        self._place = str(scene.directory)
        Path(self._place, "done").mkdir()

    # ---- who is at work

    def start(self, choice: random.Random) -> None:
        """Start whoever is not there."""
        if self._running is None or self._running.process.poll() is not None:
            self._worker.close()
            self._running = self._worker.enter_context(self._scene.worker(concurrency=2))
        if self._beat is None or self._beat.poll() is not None:
            self._beat = self._start_beat()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, MODULE])
        while len(self._publishers) < self._number:
            given = self._scene.settings, self._place, choice.randrange(10**9)
            process = context.Process(target=publish_until_killed, args=given, daemon=True)
            process.start()
            self._publishers.append(process)
            noted = Path(self._place, f"published-{process.pid}")
            assert until(lambda: noted.exists() and noted.stat().st_size), "it publishes nothing"  # noqa: B023

    def _start_beat(self) -> subprocess.Popen[bytes]:
        plan = {"task": "scenario.work", "schedule": 0.1, "args": [f"{self._place}/done", 0]}
        settings = {**self._scene.settings, "beat_schedule": {"often": plan}}
        command = [
            *(sys.executable, "-m", "celery", "-A", MODULE, "beat", "--loglevel=WARNING"),
            *("--pidfile=", f"--schedule={self._place}/beat", "--max-interval=0.1"),
        ]
        with Path(self._place, "beat.log").open("ab") as log:
            return subprocess.Popen(
                servers._launch(command, ""),
                cwd=workers.ROOT,
                env={**os.environ, SETTINGS: json.dumps(settings)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Have publishers and beat end, and the worker finish what it can."""
        for process in self._publishers:
            process.kill()
            process.join(_PATIENCE)
        self._publishers.clear()
        if self._beat is not None:
            self._beat.kill()
            self._beat.wait(_PATIENCE)
        if self._running is not None and self._running.process.poll() is None:
            self._running.stop(_PATIENCE)
        self._worker.close()

    # ---- rounds

    def round(self, seed: int) -> str:
        """Kill one at a random moment; returns who it was."""
        choice = random.Random(seed)
        self.start(choice)
        time.sleep(choice.uniform(0, 0.4))
        victim = choice.choices([*VICTIMS], [*VICTIMS.values()])[0]
        getattr(self, f"_kill_{victim}")(choice)
        self.killed[victim] += 1
        return victim

    def _kill_child(self, choice: random.Random) -> None:
        assert self._running is not None
        if children := self._running.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(choice.choice(children), signal.SIGKILL)

    def _kill_publisher(self, choice: random.Random) -> None:
        process = self._publishers.pop(choice.randrange(len(self._publishers)))
        process.kill()
        process.join(_PATIENCE)
        process.close()

    def _kill_beat(self, _: random.Random) -> None:
        assert self._beat is not None
        self._beat.kill()
        self._beat.wait(_PATIENCE)

    def _kill_worker(self, _: random.Random) -> None:
        assert self._running is not None
        self._running.kill()

    # ---- what came of it

    def check(self) -> str:
        """Raises `AssertionError` where a record is wrong; what there is in a few words."""
        full = self._scene.full
        assert until(self._is_flushed, _PATIENCE), f"left in the spool: {full.spool_status()}"
        records = {record.task_id: record for record in full.find(limit=None)}
        published, done = self._ids("published-*"), self._ids("done/*")
        for record in records.values():
            self._check_record(record, done)
        assert not (published - records.keys()), "published, and not recorded"
        assert not (done - records.keys()), "done, and not recorded"
        open_ids = {task_id for task_id, each in records.items() if each.state not in FINISHED}
        stale = {record.task_id for record in full.get_stale_tasks(timedelta(microseconds=1))}
        assert stale == open_ids, f"stale and not open, or the reverse: {stale ^ open_ids}"
        ends = Counter(record.state for record in records.values())
        return f"{len(records)} records: {dict(ends)}; killed: {dict(self.killed)}"

    def _is_flushed(self) -> bool:
        self._scene.full.flush_spool()
        status = self._scene.full.spool_status()
        return status is None or status.events == 0

    def _check_record(self, record: TaskRecord, done: set[str]) -> None:
        told = workers.describe(record)
        assert record.name == "scenario.work", told
        assert record.args is not None, told
        assert record.args[0] == f"{self._place}/done", told
        assert record.message is not None, told
        assert record.headers["id"] == record.task_id, told
        assert all(run.date_started for run in record.executions), told
        if record.state == "SUCCESS":
            assert record.task_id in done, told
            assert record.result == record.task_id, told
            assert record.date_started is not None, told
            assert record.date_done is not None, told
        elif record.state in FINISHED:
            assert (record.state, record.exception_type) == ("FAILURE", _LOST), told

    def _ids(self, pattern: str) -> set[str]:
        # Of a file whose writer was killed the last line may be half.
        return {
            line
            for file in Path(self._place).glob(pattern)
            for line in file.read_text().split("\n")[:-1]
        }


@contextmanager
def campaign(
    storage: str, directory: Path, *, write: str = "direct", publishers: int = 2
) -> Iterator[Campaign]:
    """A new storage, and a broker of its own."""
    with ExitStack() as stack:
        store = stack.enter_context(open_store(storage))
        broker = stack.enter_context(servers.redis())
        settings = {
            "fullresult_write_mode": write,
            "fullresult_spool_directory": str(directory / "spool"),
            "result_backend": None,
            "worker_prefetch_multiplier": 4,
        }
        scene = workers.scene(broker + "/0", store.direct, directory, module=MODULE, **settings)
        made = Campaign(stack.enter_context(scene), publishers)
        stack.callback(made.stop)
        yield made


def main(arguments: list[str] | None = None) -> None:
    given = _arguments(arguments)
    seed = given.seed if given.seed is not None else random.randrange(10**9)
    print(f"seed {seed}", flush=True)  # noqa: T201
    with TemporaryDirectory(prefix="fullresult-crashes-") as directory:
        os.environ["XDG_STATE_HOME"] = directory
        path = Path(directory, "scene")
        with campaign(given.storage, path, write=given.write, publishers=given.publishers) as made:
            for number in range(given.rounds):
                victim = made.round(seed + number)
                if sys.stdout.isatty():
                    print(f"\r\x1b[K{number + 1}/{given.rounds}: {victim}", end="", flush=True)  # noqa: T201
            made.stop()
            print(f"\n{given.storage}, {given.write}: {made.check()}")  # noqa: T201


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.crashes")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--storage", choices=["sqlite", "postgresql", "mongodb"], default="sqlite")
    parser.add_argument("--write", choices=["direct", "spooled"], default="direct")
    parser.add_argument("--publishers", type=int, default=2)
    parser.add_argument("--seed", type=int, help="of the first round; the next has one more")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
