"""The cost of recording a task grows no faster than kombu's own of serialising its message."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, Task
from celery.utils.saferepr import saferepr
from kombu.serialization import dumps
from kombu.transport import memory

from fullresult import FullResult
from fullresult.extension.signals import RECEIVERS
from fullresult.recording import disguises

KILO, MEGA = 1024, 1024 * 1024
MOST = 100
"""Times what kombu takes. Measured are up to 20; quadratic work on a megabyte is beyond 200."""
FLOOR = 0.01
"""Seconds of CPU that any event may take."""

Args = tuple[Any, ...]


def rows(size: int) -> Args:
    return ([{"id": number, "name": "a customer"} for number in range(size // 36)],)


def numbers(size: int) -> Args:
    return tuple(range(size // 8))


def texts(size: int) -> Args:
    return tuple(f"item {number}" for number in range(size // 14))


def one_text(size: int) -> Args:
    return ("x" * size,)


SIZES: list[tuple[Callable[[int], Args], int]] = [
    *((make, KILO) for make in (rows, numbers, texts, one_text)),
    (rows, MEGA),
    (one_text, 16 * MEGA),
]
MODES = [("spooled", []), ("direct", ["password"]), ("spooled", ["0"])]
"""How events are written, and what is redacted: nothing, one value, all of the first argument."""


class Run:
    """A task with arguments, as a worker has it, and everything Celery reports of it."""

    def __init__(self, task: Task, args: Args, argsrepr: str) -> None:
        self._task, self._args = task, args
        self._kwargs = {"password": "hunter2hunter2", "comment": "as agreed"}
        self._argsrepr = argsrepr
        self._count = 0
        self._error = ValueError(*args[:1], "hunter2hunter2")
        self._einfo = SimpleNamespace(traceback=f"Traceback\n{args!r}")

    def serialised(self) -> tuple[str, str, Any]:
        return dumps((self._args, self._kwargs, None), serializer="json")  # type: ignore[no-any-return]

    def publish(self) -> None:
        self._task.apply_async(self._args, self._kwargs)

    def events(self) -> Mapping[str, Callable[[], None]]:
        """By the name of its signal, each event."""
        task, app = self._task, self._task.app
        content_type, encoding, body = self.serialised()
        delivery = SimpleNamespace(
            headers={"id": "unread", "task": task.name},
            properties={},
            delivery_info={},
            body=body,
            content_type=content_type,
            content_encoding=encoding,
        )
        consumer = SimpleNamespace(app=app, hostname="w")
        error, einfo = self._error, self._einfo
        told: dict[str, Callable[[Any], dict[str, Any]]] = {
            "task_received": lambda _: {
                "sender": consumer,
                "request": SimpleReceived(task.name),
            },
            "task_prerun": lambda r: {"task_id": r.id},
            "task_success": lambda _: {"result": self._args, "runtime": 1.0},
            "task_failure": lambda r: {"task_id": r.id, "exception": error, "einfo": einfo},
            "task_internal_error": lambda r: {
                "task_id": r.id,
                "request": vars(r),
                "exception": error,
                "einfo": einfo,
            },
            "task_retry": lambda r: {"request": r, "reason": error, "einfo": einfo},
            "task_postrun": lambda _: {"state": "IGNORED"},
            "task_revoked": lambda r: {"request": r},
            "task_rejected": lambda _: {"sender": consumer, "message": delivery, "exc": error},
            "task_unknown": lambda _: {"sender": consumer, "message": delivery, "name": task.name},
        }
        return {name: self._told(RECEIVERS[name], said) for name, said in told.items()}

    def store(self) -> None:
        """The result backend is given the result."""
        backend = self._task.app.backend
        self._inside(lambda request: backend.store_result(request.id, self._args, "SUCCESS"))

    def store_error(self) -> None:
        backend = self._task.app.backend
        self._inside(lambda r: backend.store_result(r.id, self._error, "FAILURE", request=r))

    def _told(
        self, receiver: Callable[..., None], said: Callable[[Any], dict[str, Any]]
    ) -> Callable[[], None]:
        return lambda: self._inside(
            lambda request: receiver(**{"sender": self._task, **said(request)})
        )

    def _inside(self, do: Callable[[Any], None]) -> None:
        self._count += 1
        request = {
            "id": f"{id(self):x}-{self._count}",
            "task": self._task.name,
            "args": list(self._args),
            "kwargs": self._kwargs,
            "argsrepr": self._argsrepr,
            "kwargsrepr": saferepr(self._kwargs, KILO),
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "hostname": "w",
            "retries": 0,
            "replaced_task_nesting": 0,
            "headers": {},
        }
        self._task.push_request(**request)
        try:
            do(self._task.request_stack.top)
        finally:
            self._task.pop_request()


class SimpleReceived:
    """A request of a worker's main process, as far as it is read there."""

    def __init__(self, name: str) -> None:
        self.task_name = name
        self.id = "received"


@pytest.fixture(params=MODES, ids=["spooled", "one hidden", "all hidden"])
def task(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Task]:
    mode, rules = request.param
    app = Celery("shop", broker="memory://", backend="fullresult://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'records.db'}"
    app.conf.fullresult_write_mode = mode
    app.conf.fullresult_redact = rules
    full = FullResult(app)
    full.setup()

    @app.task(name="shop.pay")  # type: ignore[untyped-decorator]
    def pay(*_: Any, **__: Any) -> None:
        """Never run."""

    yield pay
    full.close()


def seconds(do: Callable[[], object], times: int = 3) -> float:
    """CPU time of *do* in this thread: the median of some times, without a tracer's own."""
    taken = []
    tracer = sys.gettrace()
    sys.settrace(None)  # Coverage makes Python four times as dear, and kombu's C no dearer.
    try:
        for _ in range(times):
            begin = time.thread_time()
            do()
            taken.append(time.thread_time() - begin)
    finally:
        sys.settrace(tracer)
    return median(taken)


def too_slow(run: Run, events: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """The events that take more than they may, and how many times what kombu takes."""
    kombu = seconds(run.serialised)
    most = MOST * kombu + FLOOR
    slow = {name for name, do in events.items() if seconds(do, 1) > most}
    again = {name: seconds(events[name]) for name in slow}
    memory.Channel.queues.clear()
    return {name: round(each / kombu, 1) for name, each in again.items() if each > most}


def all_events(run: Run) -> dict[str, Callable[[], None]]:
    more = {"publish": run.publish, "store": run.store, "store_error": run.store_error}
    return {**run.events(), **more}


@pytest.mark.parametrize(("make", "size"), SIZES)
def test_an_event_costs_a_bounded_number_of_serialisings(
    task: Task, make: Callable[[int], Args], size: int
) -> None:
    args = make(size)
    run = Run(task, args, saferepr(args, KILO))
    events = all_events(run)
    if size > MEGA:
        # To measure all of them at that size takes as long as all other tests here.
        events = {name: events[name] for name in ("publish", "task_prerun", "task_failure")}

    assert too_slow(run, events) == {}


@pytest.mark.parametrize("make", [rows, one_text])
def test_a_long_repr_of_the_publisher_costs_no_more(
    task: Task, make: Callable[[int], Args]
) -> None:
    args = make(MEGA)
    run = Run(task, args, f"{str(args)[:-1]} ")

    assert too_slow(run, run.events()) == {}


def test_each_receiver_that_is_told_of_a_task_is_measured(task: Task) -> None:
    run = Run(task, (), "()")
    of_tasks = {name for name in RECEIVERS if name.startswith("task_")}

    assert set(run.events()) == of_tasks


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["x" * 100 * KILO], "x" * MEGA),
        ([f"customer no. {number:06}" for number in range(disguises.MOST)], "not said; " * 100_000),
        ([f"customer no. {number:06}" for number in range(disguises.MOST)], "customer no. " * 9999),
    ],
    ids=["one that repeats itself", "many, not found", "many, nearly found"],
)
def test_hidden_values_are_looked_for_in_bounded_time(values: list[str], text: str) -> None:
    hide = disguises.hider(values)

    assert seconds(lambda: hide(text)) < MOST * seconds(lambda: dumps([values, text], "json"))


def test_what_takes_too_long_to_look_through_is_hidden_whole() -> None:
    values = [f"customer no. {number:06}" for number in range(disguises.MOST)]
    hide = disguises.hider(values)

    assert hide("not said; " * 100_000) == "[redacted]"
    assert disguises.hider(values)(f"no {values[7]}") == "no [redacted]"
