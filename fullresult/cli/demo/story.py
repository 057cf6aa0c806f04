"""The story of the demo: tasks that are sent, what goes wrong, and what is recorded."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import click
from celery.result import AsyncResult

from fullresult.cli.demo.feed import Feed
from fullresult.cli.demo.interrupts import as_exceptions
from fullresult.cli.demo.pasted import celery, run
from fullresult.cli.demo.worker import Worker, running
from fullresult.cli.table import columns_of_terminal, short
from fullresult.cli.terminal import bold, dim, fit, in_colour, is_terminal, say
from fullresult.extension import FullResult
from fullresult.insight.words import ending, local_exactly
from fullresult.record import FINISHED, STARTED, TaskRecord

_PATIENCE = 15.0
"""Seconds that a worker which was killed has to be missed in."""


def tell() -> None:
    """Tell the story in a new temporary directory, which is kept."""
    _forget_the_surroundings()
    directory = Path(tempfile.mkdtemp(prefix="fullresult-demo-"))
    try:
        with as_exceptions():
            _story(directory)
    except KeyboardInterrupt:
        say(f"\nStopped: nothing is left running. What there is, is in {directory}", err=True)
        sys.exit(130)
    except (RuntimeError, TimeoutError) as error:
        raise click.ClickException(f"{error}\nThe worker's logs are in {directory}") from error


def _forget_the_surroundings() -> None:
    """Remove the environment variables that would lead the shop to a real broker."""
    for name in list(os.environ):
        if name.startswith("CELERY_") or name in ("APP", "BROKER_URL", "DJANGO_SETTINGS_MODULE"):
            del os.environ[name]


def _story(directory: Path) -> None:
    shop = _open_shop(directory)
    full: FullResult = shop.app.fullresult
    say(bold("fullresult: a shop's tasks, remembered"))
    say(f"In {directory}: the app shop.py, a folder as broker, SQLite as memory.")
    with _started(directory, "day") as day:
        feed = Feed(full)
        charge = _busy_hour(shop, feed)
        _power_cut(shop, feed, day)
    # It boots while we read.
    with running(directory, "night") as night:
        _look(shop, charge.id)
        _orphans(shop, full)
        _later(shop)
        new = _send_again(shop, full, feed, charge.id, night)
        night.ask_to_stop()
        _compare(full, charge.id, new)
        _farewell(directory, charge.id)
    if _shows_pages():
        say(dim("Both workers have ended."))
        _chapter("These very tasks in a browser: open the link. Ctrl-C ends the demo")
        run(shop.app, "web --port 0")
        say(dim("So have the pages; nothing is left running."))
    else:
        say(dim("Both workers have ended; nothing is left running."))


def _open_shop(directory: Path) -> ModuleType:
    """Copy the shop's app to *directory*, and import that copy."""
    file = directory / "shop.py"
    shutil.copyfile(Path(__file__).with_name("shop.py"), file)
    for folder in ("broker", "broker-control"):
        (directory / folder).mkdir()
    (directory / "bank-is-closed").touch()
    spec = spec_from_file_location("shop", file)
    assert spec
    assert spec.loader
    shop = sys.modules["shop"] = module_from_spec(spec)
    spec.loader.exec_module(shop)
    return shop


def _busy_hour(shop: ModuleType, feed: Feed) -> AsyncResult:
    _chapter(
        "An ordinary hour: tasks that succeed, fail, retry, wait, run long; one whose process dies"
    )
    charge: AsyncResult = shop.charge.delay(7, amount="19.90 EUR", card="…1234")
    shop.receipt.delay(6, to="ann@example.org")
    shop.parcel.delay(6)
    shop.report.delay("2026-01", seconds=1.5)
    shop.photo.delay("front.raw")
    shop.receipt.delay(5, to="bob@example.org")
    shop.receipt.apply_async((4,), {"to": "cleo@example.org"}, countdown=2)
    feed.until(lambda records: all(record.state in FINISHED for record in records.values()))
    return charge


def _power_cut(shop: ModuleType, feed: Feed, day: Worker) -> None:
    _chapter("The power fails: the whole worker is killed (SIGKILL) in the middle of a task")
    task = shop.stocktaking.delay(minutes=30)
    feed.until(lambda records: task.id in records and records[task.id].state == STARTED)
    day.kill()
    say("The worker is gone, and the message, acknowledged when it began, with it.")
    say("Nothing in Celery will ever mention this task again.")


def _look(shop: ModuleType, task_id: str) -> None:
    _chapter("What is remembered")
    run(shop.app, "list")
    _chapter("One failure in full: the first characters of an id are enough")
    run(shop.app, f"show {short(task_id)}")


def _orphans(shop: ModuleType, full: FullResult) -> None:
    _chapter("What never came back: its worker was not heard of for two heartbeats and a half")
    deadline = time.monotonic() + _PATIENCE
    while not full.get_orphaned_tasks() and time.monotonic() < deadline:
        time.sleep(0.1)
    run(shop.app, "orphans")


def _later(shop: ModuleType) -> None:
    _chapter("What is to run in a month waits in the storage, in no worker's memory")
    task = shop.receipt.apply_async((3,), {"to": "dan@example.org"}, countdown=30 * 86_400)
    run(shop.app, "scheduled")
    run(shop.app, f"cancel {short(task.id)} --yes")
    run(shop.app, "list --state REVOKED")


def _send_again(shop: ModuleType, full: FullResult, feed: Feed, task_id: str, night: Worker) -> str:
    _chapter("The bank opens: the failed charge is sent again, byte for byte, under a new id")
    shop.BANK_IS_CLOSED.unlink()
    run(shop.app, f"resend {short(task_id)} --yes")
    night.wait_until_ready()
    feed.until(
        lambda records: any(
            each.retry_of == task_id and each.state in FINISHED for each in records.values()
        )
    )
    (new,) = full.find(retry_of=task_id)
    return new.task_id


def _compare(full: FullResult, old_id: str, new_id: str) -> None:
    _chapter("The new record beside the old, which stays as it was")
    records = [record for task_id in (old_id, new_id) if (record := full.get(task_id))]
    rows = [_column(record) for record in records]
    room = min((columns_of_terminal() - 16) // 2, 40)
    for label in rows[0]:
        cells = [fit(row[label], room).ljust(room) for row in rows]
        if label == "state":
            cells = [
                in_colour(record.state, cell) for record, cell in zip(records, cells, strict=True)
            ]
        say(f"  {dim(label.ljust(10))}  {'  '.join(cells)}".rstrip())


def _column(record: TaskRecord) -> dict[str, str]:
    return {
        "id": short(record.task_id),
        "state": record.state,
        "re-send of": short(record.retry_of or ""),
        "published": local_exactly(record.date_published) if record.date_published else "",
        "worker": record.worker or "",
        "args": str(record.args),
        "kwargs": str(record.kwargs),
        "ended with": ending(record),
    }


def _farewell(directory: Path, task_id: str) -> None:
    name = f"{celery()} -A shop"
    _chapter("Now you: paste these, look into shop.py, change it")
    for line in (
        f"cd {shlex.quote(str(directory))}",
        f"{name} fullresult web   # these very tasks in a browser{_missing_pages()}",
        f"{name} fullresult list",
        f"{name} fullresult list --kwarg to=ann@example.org --json",
        f"{name} fullresult show {short(task_id)}",
        f"{name} fullresult failures",
        f"{name} fullresult --help",
        f"{name} worker --concurrency 2   # and send, fail, kill, look again",
    ):
        say(f"  {line}")
    say()
    say(f"Done with it? rm -r {shlex.quote(str(directory))}")


def _shows_pages() -> bool:
    """True before a person at a terminal: the pages are served until Ctrl-C."""
    person = sys.stdin.isatty() and is_terminal() and "CI" not in os.environ
    return person and not _missing_pages()


def _missing_pages() -> str:
    """What to install first for the pages; nothing if all is there."""
    there = all(find_spec(name) for name in ("starlette", "jinja2", "uvicorn", "prometheus_client"))
    return "" if there else ", after pip install 'fullresult[web]'"


@contextmanager
def _started(directory: Path, name: str) -> Iterator[Worker]:
    began = time.monotonic()
    say(dim(f"Starting a real worker with two prefork children (its log: {name}.log) …"))
    with running(directory, name) as worker:
        worker.wait_until_ready()
        say(f"It is ready after {time.monotonic() - began:.1f} s.")
        yield worker


def _chapter(title: str) -> None:
    say()
    say(bold(f"— {title}"))
