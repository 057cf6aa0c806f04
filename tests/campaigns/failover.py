"""The campaign of a failover: PostgreSQL's primary is killed under load and its standby promoted.

    python -m tests.campaigns.failover --seconds 10
    python -m tests.campaigns.failover --commits none --lag 0.2

Both servers come from the wheel; the standby is made by pg_basebackup and promoted by pg_ctl.
Then: no publish raised, every task ran and succeeded, and what the records of them lack is counted.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from tests.kit import servers, workers
from tests.kit.proxy import Delay, Proxy, proxy

TIMEOUT = 5
_LACKS = {
    "records": "task_id IS NULL",
    "publishes": "date_published IS NULL",
    "messages": "body IS NULL",
    "starts": "start_date IS NULL",
    "ends": "state IS DISTINCT FROM 'SUCCESS'",
}


@dataclass
class Told:
    """What came of a failover."""

    published: int = 0
    raised: list[str] = field(default_factory=list)
    """The errors of publishes."""
    ran: int = 0
    """The tasks of which Celery's own result backend has a success."""
    slowest: float = 0.0
    """Seconds of the longest publish."""
    lacking: dict[str, int] = field(default_factory=dict)
    """The tasks whose record lacks something."""

    def __str__(self) -> str:
        lost = ", ".join(f"{number} {name}" for name, number in self.lacking.items())
        return (
            f"{self.published} published, {len(self.raised)} raised, {self.ran} succeeded; "
            f"lost: {lost}; longest publish {self.slowest * 1000:.0f} ms"
        )


class Publisher:
    """Publishes at a steady rate until told to stop."""

    def __init__(self, scene: workers.Scene, rate: float) -> None:
        self._scene, self._rate = scene, rate
        self._stop = threading.Event()
        self.ids: list[str] = []
        self.told = Told()
        self._thread = threading.Thread(target=self._publish)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _publish(self) -> None:
        while not self._stop.wait(1 / self._rate):
            began = time.monotonic()
            try:
                self.ids.append(self._scene.send("add", 1, 2))
            except Exception as error:  # noqa: BLE001  (the campaign counts them)
                self.told.raised.append(str(error))
            self.told.slowest = max(self.told.slowest, time.monotonic() - began)


def fail_over(
    directory: Path, *, commits: str | None, options: str, lag: float, rate: float, seconds: float
) -> Told:
    """Kill the primary in the middle of so many *seconds* of load, and promote the standby.

    *commits* is the primary's `synchronous_commit`, None for a standby that nobody waits for;
    *options* go to the URL. The way to the standby is *lag* seconds long; what is on it is lost.
    """
    ways: list[Proxy] = []
    with (
        servers.postgresql_pair(partial(_reached, ways, lag), commits=commits) as pair,
        servers.redis() as broker,
    ):
        settings: dict[str, Any] = {
            "fullresult_storage_timeout": TIMEOUT,
            "fullresult_spool_directory": str(directory / "spool"),
        }
        with (
            workers.scene(broker, f"{pair.url}{options}", directory, **settings) as scene,
            scene.worker(concurrency=4),
        ):
            publisher = Publisher(scene, rate)
            with publisher.at_work():
                time.sleep(seconds / 2)
                ways[0].refuse()
                pair.kill()
                pair.promote()
                time.sleep(seconds / 2)
            told = publisher.told
            told.published = len(publisher.ids)
            told.ran = sum(workers.until(partial(_succeeded, scene, i)) for i in publisher.ids)
            assert workers.until(lambda: (s := scene.full.spool_status()) and not s.events)
            told.lacking = _lacking(pair.standby, publisher.ids)
            gc.collect()  # Celery's results talk to their broker when they go.
    return told


@contextmanager
def _reached(ways: list[Proxy], lag: float, port: int) -> Iterator[int]:
    with proxy(servers.HOST, port) as between:
        ways.append(between)
        if lag:
            between.plan = lambda _: Delay(lag)
        yield between.port


def _succeeded(scene: workers.Scene, task_id: str) -> bool:
    return bool(scene.app.backend.get_task_meta(task_id)["status"] == "SUCCESS")


def _lacking(url: str, ids: list[str]) -> dict[str, int]:
    counts = ", ".join(f"count(*) FILTER (WHERE {lacks})" for lacks in _LACKS.values())
    of_all = "unnest(%s::text[]) AS p (id) LEFT JOIN fullresult_task ON task_id = id"
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT {counts} FROM {of_all}".encode(), [ids]).fetchone()
    assert row is not None
    return dict(zip(_LACKS, row, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commits", default="remote_apply", help="%(default)s, or none")
    parser.add_argument("--options", default="&synchronous=FULL", help="of the URL (%(default)s)")
    parser.add_argument("--lag", type=float, default=0.0, help="seconds (%(default)s)")
    parser.add_argument("--rate", type=float, default=50, help="tasks a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="of load (%(default)s)")
    known = parser.parse_args()
    commits = None if known.commits == "none" else known.commits
    with TemporaryDirectory() as directory:
        told = fail_over(
            Path(directory),
            commits=commits,
            options=known.options,
            lag=known.lag,
            rate=known.rate,
            seconds=known.seconds,
        )
    print(told)  # noqa: T201


if __name__ == "__main__":
    main()
