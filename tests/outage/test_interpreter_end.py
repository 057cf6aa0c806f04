"""A publish from `__del__` as the interpreter ends: it is sent, and nothing waits for a thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

from fullresult import FullResult
from tests.kit import workers
from tests.kit.scripts import ROOT

# Without greenlets, of which Celery asks for the running one, and which are gone by then.
SCRIPT = """
import sys
sys.modules["greenlet"] = None
from celery import Celery
from fullresult import FullResult

url, spool, mode = sys.argv[1:]
app = Celery("shop", broker="memory://", set_as_current=False)
app.conf.update(
    fullresult_storage=url,
    fullresult_spool_directory=spool or None,
    fullresult_write_mode=mode,
    fullresult_storage_timeout=2,
    fullresult_schedule_eta=True,
)
full = FullResult(app)

class Last:
    def __init__(self, options):
        self.options = options

    def __del__(self):
        try:
            app.send_task("shop.last", task_id="last", **self.options)
        except Exception as error:
            print(type(error).__name__, error)
        else:
            print("sent")

app.send_task("shop.first", task_id="first")
"""
PUBLISHING = "last = Last({})"
DELAYING = "last = Last({'countdown': 60})"


def run(
    last: str,
    directory: Path,
    url: str,
    *,
    mode: str = "direct",
    has_spool: bool = True,
    first: str = "",
) -> subprocess.CompletedProcess[str]:
    """What the script says; fails if it hangs."""
    spool = str(directory / "spool") if has_spool else ""
    command = [sys.executable, "-c", first + SCRIPT + last, url, spool, mode]
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def recorded(url: str, directory: Path) -> set[str]:
    """The ids of all records once what was spooled is written."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=url, fullresult_spool_directory=str(directory / "spool"))
    full = FullResult(app)
    full.flush_spool()
    ids = {record.task_id for record in full.find()}
    full.close()
    return ids


@pytest.mark.parametrize("mode", ["direct", "spooled"])
@pytest.mark.parametrize("storage", workers.storages("sqlite", "mongodb"))
def test_what_is_published_as_the_interpreter_ends_is_sent_and_recorded(
    request: pytest.FixtureRequest, tmp_path: Path, storage: str, mode: str
) -> None:
    with workers.storage(storage, request, tmp_path) as url:
        said = run(PUBLISHING, tmp_path, url, mode=mode)

        assert (said.stdout, "Traceback" in said.stderr) == ("sent\n", False), said.stderr
        assert recorded(url, tmp_path) == {"first", "last"}


def test_it_is_sent_and_not_waited_for_while_the_storage_is_away(tmp_path: Path) -> None:
    said = run(PUBLISHING, tmp_path, "sqlite:////no/such/directory/tasks.db")

    assert (said.stdout, "Traceback" in said.stderr) == ("sent\n", False), said.stderr


def test_what_a_thread_held_as_the_interpreter_ended_is_not_waited_for(tmp_path: Path) -> None:
    """A daemon thread stops wherever it is."""
    # Registered first, so called last: our own are over. In a namespace of its own, or the thread
    # would keep the one of the script, and what is in it.
    first = """
box = {}
exec('''
import atexit, threading, time
end, held = threading.Event(), threading.Event()

def hold(box):
    end.wait()
    with box["lock"]:
        held.set()
        time.sleep(60)

def let_it_hold():
    end.set()
    held.wait()

threading.Thread(target=hold, args=[box], daemon=True).start()
atexit.register(let_it_hold)
''', {"box": box})
"""
    lending = "box['lock'] = full.parts.recorder.writer.flusher._spool._lock\n"
    url = f"sqlite:///{tmp_path / 'tasks.db'}"

    said = run(lending + PUBLISHING, tmp_path, url, mode="spooled", first=first)

    assert (said.stdout, "Traceback" in said.stderr) == ("sent\n", False), said.stderr
    assert recorded(url, tmp_path) == {"first", "last"}


def test_without_a_spool_the_log_says_that_it_is_not_recorded(tmp_path: Path) -> None:
    said = run(PUBLISHING, tmp_path, f"sqlite:///{tmp_path / 'tasks.db'}", has_spool=False)

    assert said.stdout == "sent\n"
    assert "an event was not recorded, for the interpreter ends" in said.stderr


def test_what_was_to_wait_in_the_storage_is_refused_to_its_caller(tmp_path: Path) -> None:
    said = run(DELAYING, tmp_path, f"sqlite:///{tmp_path / 'tasks.db'}")

    assert "for the interpreter ends" in said.stdout
