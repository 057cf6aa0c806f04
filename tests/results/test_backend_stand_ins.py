"""What other libraries hand over in place of a request, and signals of runs that have none.

celery-batches runs many tasks as one: under an id of its own, with an empty request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task, signals
from celery.app.task import Context

from tests.kit.backend_contract import Contract, Place, echo, new_id, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator


class SimpleRequest:
    """A member of a batch as celery-batches has it."""

    def __init__(self, task_id: str, **headers: Any) -> None:
        self.id, self.name = task_id, "contract.task"
        self.args, self.kwargs = (1,), {"key": 2}
        self.delivery_info = {"routing_key": "celery"}
        self.hostname = "w1@test"
        self.ignore_result = False
        self.reply_to = self.correlation_id = self.chord = None
        self.request_dict = {"id": task_id, "task": "contract.task", **headers}


class TestStandIns(Contract):
    @pytest.fixture
    def app(self, place: Place) -> Iterator[Celery]:
        if not place.ours:
            pytest.skip("it is of ours")
        with place.app() as app:
            app.task(name="contract.task")(echo)
            yield app

    def test_a_success_is_kept(self, app: Celery) -> None:
        task_id = new_id()

        app.backend.mark_as_done(task_id, 3, request=SimpleRequest(task_id, retries=2))

        record = app.fullresult.get(task_id)
        assert app.AsyncResult(task_id).get(timeout=5) == 3
        assert (record.name, record.args, record.kwargs) == ("contract.task", [1], {"key": 2})
        assert (record.worker, record.retries) == ("w1@test", 2)

    def test_a_failure_is_kept(self, app: Celery) -> None:
        task_id = new_id()

        app.backend.mark_as_failure(task_id, ValueError("x"), request=SimpleRequest(task_id))

        assert isinstance(app.AsyncResult(task_id).result, ValueError)

    def test_one_that_says_nothing_is_read_with_defaults(self, app: Celery) -> None:
        task_id = new_id()

        app.backend.mark_as_done(task_id, 3, request=object())

        assert app.AsyncResult(task_id).get(timeout=5) == 3

    def test_a_run_without_an_id_writes_nothing(self, app: Celery) -> None:
        task, made_up = app.tasks["contract.task"], new_id()
        before = app.fullresult.count()

        run_as_a_batch(task, made_up)

        assert app.fullresult.get(made_up) is None
        assert app.fullresult.get("None") is None
        assert app.fullresult.count() == before

    def test_a_result_without_an_id_is_an_error(self, app: Celery) -> None:
        with pytest.raises(ValueError, match="id of its task"):
            app.backend.store_result(None, 3, "SUCCESS")

    def test_what_a_batch_marks_as_done_is_the_only_record_of_a_member(self, app: Celery) -> None:
        before = app.fullresult.count()
        member = succeed(app, 3)

        run_as_a_batch(app.tasks["contract.task"], new_id())

        assert app.fullresult.count() == before + 1
        assert app.fullresult.get(member).state == "SUCCESS"


def run_as_a_batch(task: Task, task_id: str) -> None:
    """Send the signals that celery-batches sends of a batch."""
    task.request_stack.push(Context(loglevel=0, logfile=None))
    known = {"sender": task, "task_id": task_id, "task": task, "args": (), "kwargs": {}}
    try:
        signals.task_prerun.send(**known)
        signals.task_success.send(sender=task, result="whole")
        signals.task_postrun.send(**known, retval="whole", state="SUCCESS")
        signals.task_postrun.send(**known, retval=None, state=None)
    finally:
        task.request_stack.pop()
