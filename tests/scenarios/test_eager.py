"""What a record says of tasks run where they are called: `apply()` and `task_always_eager`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import celery
import pytest
from celery import Celery, Task, chain, chord, group
from celery.exceptions import Ignore, Reject
from celery.result import EagerResult

from fullresult import FullResult, TaskRecord

EAGER_HAS_ROOT = celery.VERSION[:2] >= (5, 5)


@pytest.fixture
def full(storage_url: str) -> Iterator[FullResult]:
    """An app with a few tasks and no worker."""
    with Celery("eager", broker="memory://", backend="cache+memory://") as app:
        app.conf.fullresult_storage = storage_url
        full = FullResult(app)
        for function, options in TASKS:
            app.task(name=f"eager.{function.__name__}", shared=False, **options)(function)
        yield full
        full.close()


def add(x: int, y: int) -> int:
    return x + y


def fail(message: str) -> None:
    raise ValueError(message)


def flaky(self: Task, failures: int) -> int:
    """Fail so many times, with a retry each time."""
    if self.request.retries < failures:
        raise self.retry(exc=ValueError(f"attempt {self.request.retries}"), countdown=60)
    return int(self.request.retries)


def ignore() -> None:
    raise Ignore("enough")


def reject() -> None:
    raise Reject("not mine", requeue=False)


def reject_requeue() -> None:
    raise Reject("not mine", requeue=True)


def parent(self: Task) -> str:
    child = self.app.tasks["eager.add"].delay(1, 2)
    return str(child.id)


def tsum(numbers: list[int]) -> int:
    return sum(numbers)


TASKS: list[tuple[Any, dict[str, Any]]] = [
    (add, {}),
    (fail, {}),
    (flaky, {"bind": True, "max_retries": 3}),
    (ignore, {}),
    (reject, {}),
    (reject_requeue, {"acks_late": True}),
    (parent, {"bind": True}),
    (tsum, {}),
]


def task(full: FullResult, name: str) -> Task:
    return full.app.tasks[f"eager.{name}"]


def recorded(full: FullResult, result: EagerResult[Any]) -> TaskRecord:
    record = full.get(result.id)
    assert record is not None
    return record


def test_apply_is_recorded_whole(full: FullResult) -> None:
    """Arguments, result, dates and lineage, though nothing was published."""
    result = task(full, "add").apply((1,), {"y": 2})

    record = recorded(full, result)
    assert (record.state, record.name, record.result) == ("SUCCESS", "eager.add", 3)
    assert (record.args, record.kwargs) == ([1], {"y": 2})
    assert record.date_published is None
    assert record.date_started is not None
    assert record.date_done is not None
    assert record.date_started <= record.date_done
    assert record.root_id == (result.id if EAGER_HAS_ROOT else None)
    assert [execution.state for execution in record.executions] == ["SUCCESS"]


@pytest.mark.parametrize("call", ["delay", "apply_async", "countdown", "eta"])
def test_always_eager_is_recorded_like_apply(full: FullResult, call: str) -> None:
    """Also with a countdown or ETA, which an eager task does not wait for."""
    full.app.conf.task_always_eager = True
    how: dict[str, dict[str, Any]] = {
        "delay": {},
        "apply_async": {},
        "countdown": {"countdown": 3600},
        "eta": {"eta": datetime(2099, 1, 1, tzinfo=timezone.utc)},
    }

    if call == "delay":
        result = task(full, "add").delay(1, 2)
    else:
        result = task(full, "add").apply_async((1, 2), **how[call])

    record = recorded(full, result)
    assert (record.state, record.result, record.args) == ("SUCCESS", 3, [1, 2])


def test_always_eager_still_publishes_by_name(full: FullResult) -> None:
    """`app.send_task` goes to the broker whatever `task_always_eager` says."""
    full.app.conf.task_always_eager = True

    with pytest.warns(Warning, match="always_eager"):
        result = full.app.send_task("eager.add", (1, 2))

    assert recorded(full, result).state == "PENDING"


def test_failing(full: FullResult) -> None:
    result = task(full, "fail").apply(("broken",))

    record = recorded(full, result)
    assert record.state == "FAILURE"
    assert (record.exception_type, record.exception_message) == ("ValueError", "broken")
    assert record.traceback is not None
    assert "in fail" in record.traceback
    assert [execution.state for execution in record.executions] == ["FAILURE"]


@pytest.mark.filterwarnings("ignore:.*Exception raised outside body:RuntimeWarning")
def test_failing_with_propagation(full: FullResult) -> None:
    """`task_eager_propagates` cuts Celery's own failure signal short; the record still has it."""
    with pytest.raises(ValueError, match="broken"):
        task(full, "fail").apply(("broken",), task_id="one", throw=True)

    record = full.get("one")
    assert record is not None
    assert record.state == "FAILURE"
    assert (record.exception_type, record.exception_message) == ("ValueError", "broken")
    assert record.date_started is not None
    assert [execution.state for execution in record.executions] == ["FAILURE"]


def test_retrying(full: FullResult) -> None:
    """Every attempt is an execution, the waits between them are not waited for."""
    result = task(full, "flaky").apply((2,))

    record = recorded(full, result)
    assert (record.state, record.result, record.retries) == ("SUCCESS", 2, 2)
    told = [(run.state, run.retries, run.exception_message) for run in record.executions]
    assert told == [("RETRY", 0, "attempt 0"), ("RETRY", 1, "attempt 1"), ("SUCCESS", 2, None)]


def test_retrying_too_often(full: FullResult) -> None:
    result = task(full, "flaky").apply((9,))

    record = recorded(full, result)
    assert (record.state, record.retries) == ("FAILURE", 3)
    assert record.exception_message == "attempt 3"
    states = [execution.state for execution in record.executions]
    assert states == ["RETRY", "RETRY", "RETRY", "FAILURE"]


@pytest.mark.parametrize(
    ("name", "state"),
    [("ignore", "IGNORED"), ("reject", "REJECTED"), ("reject_requeue", "REJECTED")],
)
def test_giving_up(full: FullResult, name: str, state: str) -> None:
    """There is no broker to give a rejected message back to: it is over either way."""
    result = task(full, name).apply()

    record = recorded(full, result)
    assert record.state == state
    assert record.date_done is not None
    assert [execution.state for execution in record.executions] == [state]


def test_a_link_runs_inside_its_parent(full: FullResult) -> None:
    full.app.conf.task_always_eager = True

    result = task(full, "add").apply((1, 2), link=task(full, "add").s(10), task_id="first")

    records = {record.task_id: record for record in full.find()}
    first = records.pop(result.id)
    (second,) = records.values()
    assert (first.state, first.result) == ("SUCCESS", 3)
    assert (second.state, second.result) == ("SUCCESS", 13)


def test_a_canvas_leaves_a_record_of_each_member(full: FullResult) -> None:
    full.app.conf.task_always_eager = True
    adding, summing = task(full, "add"), task(full, "tsum")

    chained = chain(adding.s(1, 2), adding.s(3)).apply_async()
    grouped = group(adding.s(n, n) for n in range(3)).apply_async()
    total = chord([adding.s(n, n) for n in range(3)], summing.s()).apply_async()

    assert recorded(full, chained).result == 6
    assert recorded(full, chained.parent).result == 3
    assert [recorded(full, member).result for member in grouped.results] == [0, 2, 4]
    assert recorded(full, total).result == 6
    assert full.count() == 2 + 3 + 3 + 1


def test_what_a_task_publishes_while_it_runs_is_its_child(full: FullResult) -> None:
    result = task(full, "parent").apply()

    record = recorded(full, result)
    child = full.get(result.get())
    assert record.children == (result.get(),)
    assert child is not None
    assert (child.state, child.parent_id, child.root_id) == ("PENDING", result.id, result.id)


@pytest.mark.parametrize("call", [lambda task: task(1, 2), lambda task: task.run(1, 2)])
def test_a_plain_call_is_no_task_and_leaves_no_record(full: FullResult, call: Any) -> None:
    assert call(task(full, "add")) == 3

    assert full.count() == 0
