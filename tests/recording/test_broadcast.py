"""A task that every worker runs: the end of each run is told."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

from fullresult import FullResult
from tests.kit.backend_contract import request_of

if TYPE_CHECKING:
    from pathlib import Path

    from fullresult.record import TaskRecord


def run_by_two_workers(tmp_path: Path, queue: Any) -> TaskRecord:
    """The record of a message that two workers had."""
    app = Celery("broadcast", broker="memory://", set_as_current=False)
    app.conf.update(task_queues=(queue,), fullresult_storage=f"sqlite:///{tmp_path}/records.db")
    with closing(FullResult(app)) as full, app:
        recorder = full.parts.recorder
        delivery = {"exchange": queue.exchange.name, "routing_key": ""}
        requests = [
            request_of("one", hostname=worker, delivery_info=delivery) for worker in ("a@x", "b@x")
        ]
        for request in requests:
            recorder.started("one", "contract.task", request)
        for request in requests:
            recorder.succeeded(request, "contract.task", 1, 0.1, ignored=False)
        record = full.get("one")
    assert record is not None
    return record


def test_each_run_of_a_broadcast_has_its_end(tmp_path: Path) -> None:
    record = run_by_two_workers(tmp_path, Broadcast("all"))

    runs = sorted((run.worker, run.state) for run in record.executions)
    assert runs == [("a@x", "SUCCESS"), ("b@x", "SUCCESS")]


def test_of_a_message_that_two_workers_had_the_end_that_loses_is_an_entry(tmp_path: Path) -> None:
    """Its exchange has a name, too, but nothing says that it is for all workers."""
    record = run_by_two_workers(tmp_path, Queue("orders", Exchange("orders", type="direct")))

    assert [(entry.worker, entry.state) for entry in record.entries] == [("a@x", "SUCCESS")]
