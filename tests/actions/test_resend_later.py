"""A re-send that is to run later waits in the storage, as any other task."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.record.schedule import ScheduleQuery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    app = Celery("later", broker="memory://", set_as_current=False)
    app.conf.update(
        task_default_queue=uuid4().hex,
        fullresult_storage=f"sqlite:///{tmp_path}/records.db",
        fullresult_schedule_eta=True,
        fullresult_sweeper="off",
    )
    with closing(FullResult(app)), closing(app):
        yield app


def waiting(app: Celery) -> int:
    """The messages in the broker."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        return int(channel.queue_declare(app.conf.task_default_queue).message_count)


@pytest.mark.parametrize("when", [{"countdown": 3600}, {"eta": "2999-01-31T12:00:00+00:00"}])
@pytest.mark.parametrize("changed", [{}, {"args": [2]}])
def test_it_waits_in_the_storage(app: Celery, when: dict[str, object], changed: dict) -> None:  # type: ignore[type-arg]
    full = app.fullresult
    task_id = app.send_task("shop.pay", [1], queue=app.conf.task_default_queue).id
    before = waiting(app)

    new = full.resend(task_id, **when, **changed)

    record = full.get(new.id)
    assert record is not None
    assert (record.state, record.retry_of) == ("SCHEDULED", task_id)
    assert record.args == changed.get("args", [1])
    (schedule,) = full.storage.find_schedules(ScheduleQuery())
    assert (schedule.task_id, schedule.due) == (new.id, record.eta)
    assert waiting(app) == before


def test_without_a_time_it_goes_to_the_broker(app: Celery) -> None:
    task_id = app.send_task("shop.pay", [1], queue=app.conf.task_default_queue).id

    new = app.fullresult.resend(task_id)

    assert app.fullresult.get(new.id).state == "PENDING"
    assert waiting(app) == 2
