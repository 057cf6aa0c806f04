"""The gate of forks: a child never inherits what a thread of its parent is in the middle of."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import pytest

from fullresult.storage.threads import ForkGate, Stop
from tests.kit import workers
from tests.kit.scripts import run_script

PRELUDE = """
    import os, threading, time
    from fullresult.storage.threads import ForkGate, Stop

    def fork(work):
        "The exit code of a child that does *work*."
        pid = os.fork()
        if not pid:
            try:
                os._exit(work() or 0)
            finally:
                os._exit(99)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def take(gate, seconds=5):
        "Whether another thread can enter."
        entered = threading.Event()
        def enter():
            with gate:
                entered.set()
        threading.Thread(target=enter, daemon=True).start()
        return entered.wait(seconds)
"""


def script(body: str, tmp_path: object) -> str:
    return run_script(PRELUDE + body, directory=tmp_path)  # type: ignore[arg-type]


def test_one_thread_at_a_time_is_inside() -> None:
    gate = ForkGate()
    entered = threading.Event()

    def enter() -> None:
        with gate:
            entered.set()

    thread = threading.Thread(target=enter)
    with gate:
        thread.start()
        inside_too = entered.wait(0.1)
    thread.join(5)

    assert not inside_too
    assert entered.is_set()


def test_it_can_be_entered_again_by_who_is_inside() -> None:
    gate = ForkGate()

    with gate, gate:
        again = True

    assert again


def test_what_is_raised_inside_opens_it_again() -> None:
    gate = ForkGate()

    with pytest.raises(ValueError, match="oops"), gate:
        raise ValueError("oops")

    thread = threading.Thread(target=gate.__enter__, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_fork_waits_for_the_thread_inside(tmp_path: object) -> None:
    """And neither side finds the gate closed afterwards."""
    body = """
    import fullresult.storage.threads
    fullresult.storage.threads._PATIENCE = 30
    gate, inside, done = ForkGate(), threading.Event(), []
    def work():
        with gate:
            inside.set()
            time.sleep(0.5)
            done.append(True)
    threading.Thread(target=work).start()
    inside.wait()
    code = fork(lambda: 0 if done and take(gate) else 1)
    print(code, take(gate))
    """

    assert script(body, tmp_path) == "0 True"


def test_a_fork_waits_no_longer_than_it_has_patience(tmp_path: object) -> None:
    """The child has a gate of its own all the same, and the parent's is held by whom it was."""
    body = """
    import fullresult.storage.threads
    fullresult.storage.threads._PATIENCE = 0.2
    gate, inside, leave = ForkGate(), threading.Event(), threading.Event()
    def work():
        with gate:
            inside.set()
            leave.wait()
    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    began = time.monotonic()
    code = fork(lambda: 0 if take(gate) else 1)
    held = not take(gate, 0.2)
    leave.set()
    thread.join()
    print(code, held, time.monotonic() - began < 4, take(gate))
    """

    assert script(body, tmp_path) == "0 True True True"


def test_who_is_inside_may_fork(tmp_path: object) -> None:
    body = """
    gate = ForkGate()
    with gate:
        code = fork(lambda: 0 if take(gate) else 1)
        held = not take(gate, 0.2)
    print(code, held, take(gate))
    """

    assert script(body, tmp_path) == "0 True True"


def test_threads_that_fork_at_once_leave_it_open(tmp_path: object) -> None:
    """One had no patience left, and what it then finds is the other's."""
    body = """
    import fullresult.storage.threads
    fullresult.storage.threads._PATIENCE = 0.2
    gate, inside, leave = ForkGate(), threading.Event(), threading.Event()
    def work():
        with gate:
            inside.set()
            leave.wait()
    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    gate._before()  # in vain
    leave.set()
    thread.join()
    meanwhile, done = threading.Event(), threading.Event()
    def other():
        gate._before()
        meanwhile.set()
        done.wait()
        gate._in_parent()
    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    meanwhile.wait()
    gate._in_parent()
    done.set()
    thread.join()
    print(take(gate, 1))
    """

    assert script(body, tmp_path) == "True"


def test_many_forks_beside_a_busy_thread(tmp_path: object) -> None:
    """No child finds the work half done."""
    body = """
    gate, stop, state = ForkGate(), threading.Event(), {"a": 0, "b": 0}
    def work():
        while not stop.is_set():
            with gate:
                state["a"] += 1
                time.sleep(0.001)
                state["b"] += 1
            time.sleep(0.0005)
    thread = threading.Thread(target=work)
    thread.start()
    codes = {fork(lambda: 0 if state["a"] == state["b"] and take(gate) else 1) for _ in range(30)}
    stop.set()
    thread.join()
    print(codes)
    """

    assert script(body, tmp_path) == "{0}"


def test_a_gate_that_nobody_has_any_more_is_forgotten() -> None:
    gate = ForkGate()
    reference = weakref.ref(gate)

    del gate
    gc.collect()

    assert reference() is None


def test_gates_that_come_and_go_leave_forks_as_fast_as_they_were(tmp_path: object) -> None:
    """A process that makes one a second makes a hundred thousand a day."""
    body = """
    import gc, tracemalloc
    ForkGate()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2000):
        ForkGate()
    gc.collect()
    print((tracemalloc.get_traced_memory()[0] - before) // 2000)
    """

    assert int(script(body, tmp_path)) < 20


# --- With storages


@pytest.mark.parametrize("storage_kind", workers.storages(slow=("mongodb",)), indirect=True)
def test_children_of_a_busy_process_record_without_a_warning(
    storage_url: str, tmp_path: Path
) -> None:
    """Each is forked while threads of its parent write, and drivers warn of what they inherit."""
    body = """
    import sys
    from celery import Celery
    from fullresult import FullResult

    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=sys.argv[1])
    full = FullResult(app)
    full.setup()
    full.storage.now()

    stop = threading.Event()
    def work(number):
        while not stop.is_set():
            full.storage.note_sweep(f"thread {number}", full.storage.now())
    threads = [threading.Thread(target=work, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()

    def record(number):
        app.send_task("shop.pay", task_id=f"child {number}")
        return 0 if full.get(f"child {number}") else 1

    codes = {fork(lambda: record(number)) for number in range(10)}
    stop.set()
    for thread in threads:
        thread.join()
    print(codes, full.count())
    full.close()
    """

    # Python 3.12 warns of any fork of a process with threads, for which it is too late here.
    warnings = "error,ignore:This process:DeprecationWarning"
    printed = run_script(PRELUDE + body, storage_url, directory=tmp_path, PYTHONWARNINGS=warnings)

    assert printed == "{0} 10"


# --- Stop


def test_who_waits_for_a_stop_is_answered_at_once_and_ever_after() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.set).start()

    assert stop.wait(20)
    assert stop.wait(20)
    assert stop.is_set()


def test_who_is_woken_is_answered_once_and_not_stopped() -> None:
    stop = Stop()
    stop.wake()

    assert stop.wait(20)
    assert not stop.wait(0.01)
    assert not stop.is_set()


def test_a_signal_handler_may_stop_the_thread_that_it_interrupts(tmp_path: Path) -> None:
    run_script(
        """
        import signal
        from fullresult.storage.threads import Stop

        stop = Stop()
        signal.signal(signal.SIGALRM, lambda *_: stop.set())
        signal.setitimer(signal.ITIMER_REAL, 0.2)

        assert stop.wait(20)
        """,
        directory=tmp_path,
    )
