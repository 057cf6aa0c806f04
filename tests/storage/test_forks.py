"""Forks that Python does not tell of, as uWSGI makes them: nothing is lost, and nobody hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fullresult.storage.forks import notice_fork, watch_forks
from fullresult.storage.threads import ForkGate
from tests.kit import workers
from tests.kit.scripts import run_script

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import ctypes, os, sys, threading, time
from celery import Celery
from fullresult import FullResult

app = Celery("embedded", broker="memory://")
app.conf.update(
    fullresult_storage=sys.argv[1], fullresult_write_mode=sys.argv[2], result_backend="fullresult://"
)
full = FullResult(app)
full.setup()
app.send_task("of.parent")
while not full.find(name="of.parent"):  # a fork in the middle of a driver's work breaks the driver
    time.sleep(0.01)
time.sleep(0.1)

fork = ctypes.PyDLL(None).fork  # as a program does that embeds Python: no hook is run
children = []
for number in range(3):
    pid = fork()
    if not pid:
        app.send_task("of.child", args=[number])
        app.backend.store_result(f"result {number}", number, "SUCCESS")
        got = app.AsyncResult(f"result {number}").get(timeout=10)
        deadline = time.monotonic() + 10
        while not full.find(name="of.child", args=[number]) and time.monotonic() < deadline:
            time.sleep(0.05)
        os._exit(0 if got == number and full.find(name="of.child", args=[number]) else 1)
    children.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
full.close()
print(full.count(name="of.child"), full.count(name="of.parent"))
"""


@pytest.mark.parametrize("write_mode", ["direct", "spooled"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_child_forked_without_hooks_records_and_waits_for_results(
    kind: str, write_mode: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with workers.storage(kind, request, tmp_path) as url:
        told = run_script(SCRIPT, url, write_mode, directory=tmp_path)

    assert told.splitlines()[-2:] == ["[0, 0, 0]", "3 1"]


class Owner:
    forks = 0

    def forked(self) -> None:
        self.forks += 1


def test_without_a_fork_nothing_is_told() -> None:
    owner = Owner()
    watch_forks(owner, in_child=Owner.forked)

    notice_fork()

    assert owner.forks == 0


def test_a_gate_that_a_thread_of_the_parent_held_is_open_in_the_child() -> None:
    with ForkGate() as gate:
        gate._in_child()
        assert gate._lock.acquire(blocking=False)
        gate._lock.release()
        gate._lock.acquire()
