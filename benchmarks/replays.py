"""How long the preview of a replay takes where a million tasks match.

    python -m benchmarks.replays --rows 1000000 --storage sqlite

It promises two seconds. The first figure is of a storage that was just opened.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from celery import Celery

from benchmarks import filling
from fullresult import FullResult, TaskQuery
from tests.kit import servers

PROMISE = 2.0
_RUNS = 5


def main() -> int:
    options = _options()
    with ExitStack() as running:
        url = _filled(options.storage, options.rows, running)
        app = Celery("replays", broker="memory://", set_as_current=False)
        app.conf.fullresult_storage = url
        full = FullResult(app)
        running.callback(full.close)
        times = [_preview(full) for _ in range(_RUNS)]
    shown = ", ".join(f"{seconds:.2f} s" for seconds in times)
    sys.stdout.write(f"{options.storage}, {options.rows:,} tasks: {shown}\n")
    return int(max(times) > PROMISE)


def _preview(full: FullResult) -> float:
    began = time.perf_counter()
    seen = full.replays.preview(TaskQuery(name="*", until=full.storage.now()))
    took = time.perf_counter() - began
    assert seen.at_least or seen.count
    return took


def _filled(kind: str, rows: int, running: ExitStack) -> str:
    if kind == "sqlite":
        file = Path(running.enter_context(TemporaryDirectory())) / "records.db"
        _set_up(f"sqlite:///{file}")
        filling.fill_sqlite(file, rows)
        return f"sqlite:///{file}"
    server = running.enter_context(servers.postgresql())
    url = running.enter_context(servers.postgresql_database(server))
    _set_up(url)
    filling.fill_postgresql(url, rows)
    return url


def _set_up(url: str) -> None:
    app = Celery("replays", set_as_current=False)
    app.conf.fullresult_storage = url
    full = FullResult(app)
    full.setup()
    full.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--storage", choices=("sqlite", "postgresql"), default="sqlite")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
