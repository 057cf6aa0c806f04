"""A soft time limit, or a caller's own timeout, comes through wherever it meets us.

It costs no record.
"""

from __future__ import annotations

import ctypes
import linecache
import random
import signal
import sys
import time
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from celery import Celery
from celery.result import EagerResult

from fullresult import FullResult
from fullresult.outage.breaker import Breaker
from fullresult.storage import StorageError
from tests.kit import browsing, workers
from tests.kit.proxy import Delay, once, proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


RECEIVING = "receiving.py"
"""An exception at the first or last instruction of what Celery calls is caught by Celery."""


class Timeout(TimeoutError):
    """A caller's own; as many are, an `OSError`."""


def on_alarm(*_: Any) -> None:
    raise Timeout


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, on_alarm)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["direct", "spooled"])
def app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    # A pool of its own: what is interrupted as it takes or gives back a producer keeps that.
    app = Celery("shop", broker=f"memory://{uuid4().hex}", set_as_current=False)
    app.conf.update(
        broker_pool_limit=None,
        task_default_queue=uuid4().hex,
        fullresult_storage=f"sqlite:///{tmp_path}/records.db?synchronous=OFF",
        fullresult_spool_directory=str(tmp_path / "spool"),
        fullresult_write_mode=request.param,
    )

    @app.task(name="shop.add")  # type: ignore[untyped-decorator]
    def add(*_: Any) -> int:
        return 7

    with closing(FullResult(app)), app:
        app.fullresult.setup()
        add.delay()
        browsing.sent(app)
        yield app


def trip() -> None:
    """As if the signal had come just now: Python runs its handler at the next chance."""
    ctypes.pythonapi.PyErr_SetInterruptEx(ctypes.c_int(signal.SIGALRM))


def _may_come_at(file: str, number: int) -> bool:
    """False for the lines of `with` and `try`, at which Python runs no handler of a signal.

    It does after a call and at the end of a turn of a loop. A trace function is called at the exit
    of a `with`, too, before its lock is given back, and at a `try` that no `with` around it guards.
    """
    return not linecache.getline(file, number).lstrip().startswith(("with ", "try:"))


@contextmanager
def interrupted_at(point: int, module: str = "/fullresult/") -> Iterator[list[int]]:
    """The signal comes at the *point*-th line or call in our code. Counts how many there are."""
    counted = [0]

    def trace(frame: Any, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if module not in file or file.endswith(RECEIVING):
            return trace
        if event == "call" or (event == "line" and _may_come_at(file, frame.f_lineno)):
            counted[0] += 1
            if counted[0] == point:
                trip()
        return trace

    sys.settrace(trace)
    try:
        yield counted
    finally:
        sys.settrace(None)


def points(do: Callable[[], object], number: int) -> list[int]:
    """Places to interrupt *do* at: all of them, or so many of them."""
    with interrupted_at(-1) as counted:
        do()
    every = range(1, counted[0] + 1)
    return sorted(random.Random(7).sample(every, min(number, len(every))))


def came_through(do: Callable[[], Any], point: int) -> bool:
    """True if the timeout reached the caller of *do*, or the task, at once or a moment later."""
    try:
        with interrupted_at(point) as counted:
            result = do()
        if isinstance(result, EagerResult) and isinstance(result.result, Timeout):
            return True
        if counted[0] >= point:  # another run may have fewer
            time.sleep(3)
    except Timeout:
        return True
    return counted[0] < point


@pytest.mark.parametrize("number", [150, pytest.param(100_000, marks=pytest.mark.campaign)])
def test_a_callers_timeout_comes_out_of_a_publish_wherever_it_comes(app: Any, number: int) -> None:
    task = app.tasks["shop.add"]
    places = points(lambda: task.delay(1), number)
    browsing.sent(app)
    swallowed, wrong = [], []

    for point in places:
        task_id = f"task {point}"
        if not came_through(partial(task.apply_async, (1,), task_id=task_id), point):
            swallowed.append(point)
        app.fullresult.flush_spool()
        sent = [message["id"] for message in browsing.sent(app)]
        record = app.fullresult.get(task_id)
        if sent and record is None:
            wrong.append((point, "went out unrecorded"))
        if not sent and record is not None and record.state not in ("UNSENT", "PENDING"):
            wrong.append((point, record.state))

    assert (swallowed, wrong) == ([], [])


@pytest.mark.parametrize("number", [150, pytest.param(100_000, marks=pytest.mark.campaign)])
def test_a_callers_timeout_comes_out_of_the_receivers_of_a_run(app: Any, number: int) -> None:
    """An eager run: its caller's timeout may come before, in and after the task's own code."""
    task = app.tasks["shop.add"]
    places = points(lambda: task.apply((1,)), number)
    swallowed, wrong = [], []

    for point in places:
        task_id = f"task {point}"
        if not came_through(partial(task.apply, (1,), task_id=task_id), point):
            swallowed.append(point)
        app.fullresult.flush_spool()
        record = app.fullresult.get(task_id)
        if record is None or record.state not in ("SUCCESS", "FAILURE", "STARTED"):
            wrong.append((point, record))
        elif len(record.executions) > 1:
            wrong.append((point, record.executions))

    assert (swallowed, wrong) == ([], [])


@pytest.mark.parametrize(("after", "is_open"), [(0.0, False), (0.6, True)])
def test_a_long_wait_that_was_interrupted_counts_as_a_failure(after: float, is_open: bool) -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    kept = []

    def hang() -> None:
        now[0] += after
        raise Timeout

    def keep() -> bool:
        kept.append(1)
        return True

    with pytest.raises(Timeout):
        breaker.call(hang, None, keep)

    assert breaker.is_open is is_open
    assert kept == [1]


# --- a storage that hangs


@contextmanager
def hanging(url: str) -> Iterator[tuple[Any, str]]:
    """A way to a PostgreSQL that can stop answering, and the URL that goes there."""
    parts = urlsplit(url)
    with proxy(parts.hostname or "", parts.port or 0) as between:
        place = parts.netloc.rpartition("@")
        yield (
            between,
            parts._replace(netloc=f"{place[0]}{place[1]}127.0.0.1:{between.port}").geturl(),
        )


def test_a_timeout_that_a_driver_took_for_a_fault_of_the_network_comes_out() -> None:
    kept = []

    def ask() -> None:
        try:
            trip()
            time.sleep(1)
        except OSError as error:
            raise StorageError("no answer") from error

    def keep() -> bool:
        kept.append(1)
        return True

    with pytest.raises(Timeout):
        Breaker().call(ask, None, keep)
    with pytest.raises(Timeout):
        Breaker().ask(ask)

    assert kept == [1]


def test_a_callers_timeout_cuts_the_wait_for_a_storage_that_hangs(
    postgresql_url: str, tmp_path: Path
) -> None:
    with hanging(postgresql_url) as (between, url):
        app = Celery("shop", broker="memory://", set_as_current=False)
        app.conf.update(task_default_queue=uuid4().hex, fullresult_storage=url)
        app.conf.fullresult_spool_directory = str(tmp_path / "spool")
        with closing(FullResult(app)), app:
            app.send_task("shop.add")
            between.plan = lambda _: Delay(6)
            signal.setitimer(signal.ITIMER_REAL, 1)
            began = time.monotonic()

            with pytest.raises(Timeout):
                app.send_task("shop.add", task_id="late")

            took = time.monotonic() - began
            between.plan = lambda _: None
            between.cut_all()
            app.fullresult.flush_spool()
            record = app.fullresult.get("late")

    assert took < 3
    assert record is not None


def test_a_soft_time_limit_is_kept_while_the_storage_hangs_before_the_task(
    postgresql_url: str, redis_url: str, tmp_path: Path
) -> None:
    """It comes while the start is being written, for which the task waits; then the task has it."""
    settings: dict[str, Any] = {"fullresult_heartbeat": 0}
    settings["fullresult_spool_directory"] = str(tmp_path / "spool")
    with (
        hanging(postgresql_url) as (between, url),
        workers.scene(redis_url, url, tmp_path / "scene", **settings) as scene,
        scene.worker(),
    ):
        scene.settle()
        between.plan = once(b"STARTED", Delay(6))
        task_id = scene.send("wait_for", str(tmp_path / "never"), soft_time_limit=2)
        record = scene.eventually(task_id, workers.is_finished)

    assert record.exception_type == "billiard.exceptions.SoftTimeLimitExceeded"
    assert between.faults == 1
    assert record.date_done is not None
    assert record.date_published is not None
    assert (record.date_done - record.date_published).total_seconds() < 5
