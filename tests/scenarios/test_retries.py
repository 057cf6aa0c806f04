"""What a record says of tasks that retry, or end by Ignore or Reject, in a real worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import celery
import pytest

from tests.kit import workers

if TYPE_CHECKING:
    pass

REJECT_IS_A_FAILURE = celery.VERSION[:2] >= (5, 7)
"""A task that rejects its message for good has failed; before, only the message was rejected."""


def test_retry_then_success(running: workers.Scene) -> None:
    """Each attempt is an execution with its own exception; the task ends as its last one did."""
    task_id = running.send("retry", 2, headers={"tenant": "a"})

    record = running.final(task_id, "SUCCESS")

    assert record.result == 2
    assert record.retries == 2
    assert record.exception_type is None
    assert workers.runs(record) == [
        (0, "RETRY", "ConnectionError"),
        (1, "RETRY", "ConnectionError"),
        (2, "SUCCESS", None),
    ]
    assert [run.exception_message for run in record.executions] == ["attempt 0", "attempt 1", None]
    assert "ConnectionError" in (record.executions[0].traceback or "")
    workers.assert_consistent(record)


def test_the_message_stays_the_first_one(running: workers.Scene) -> None:
    """A retry's message, which names its task as its parent, replaces nothing of the first."""
    task_id = running.send("retry", 1, headers={"tenant": "a"})

    record = running.final(task_id, "SUCCESS")

    assert (record.root_id, record.parent_id) == (task_id, None)
    assert record.headers["retries"] == 0
    assert record.headers["tenant"] == "a"
    assert record.eta is None


def test_retry_later(running: workers.Scene) -> None:
    """A task that waits for its next attempt is pending again, as that attempt."""
    task_id = running.send("retry_later", 1.0)

    waiting = running.eventually(
        task_id, lambda r: r.retries == 1 and workers.runs(r)[0][1] == "RETRY"
    )
    record = running.final(task_id, "SUCCESS")

    assert waiting.state == "PENDING"
    assert workers.runs(waiting) == [(0, "RETRY", "celery.exceptions.Retry")]
    assert record.executions[0].date_done is not None
    assert record.date_started is not None
    assert (record.date_started - record.executions[0].date_done).total_seconds() > 0.5


def test_autoretry(running: workers.Scene) -> None:
    """A retry by `autoretry_for` is one like any other."""
    task_id = running.send("autoretry", 1)

    record = running.final(task_id, "SUCCESS")

    assert workers.runs(record) == [(0, "RETRY", "ConnectionError"), (1, "SUCCESS", None)]
    workers.assert_consistent(record)


def test_autoretry_gives_up(running: workers.Scene) -> None:
    """When `autoretry_for` has no retries left the task has failed with its own exception."""
    task_id = running.send("autoretry", 9)

    record = running.final(task_id, "FAILURE")

    assert workers.runs(record) == [
        (0, "RETRY", "ConnectionError"),
        (1, "RETRY", "ConnectionError"),
        (2, "FAILURE", "ConnectionError"),
    ]
    assert record.exception_message == "attempt 2"
    workers.assert_consistent(record)


def test_no_retries_left_with_an_exception(running: workers.Scene) -> None:
    """`retry(exc=…)` with no retries left fails with that exception."""
    task_id = running.send("retry", 9)

    record = running.final(task_id, "FAILURE")

    assert record.retries == 3
    assert workers.runs(record) == [
        *((attempt, "RETRY", "ConnectionError") for attempt in range(3)),
        (3, "FAILURE", "ConnectionError"),
    ]
    assert record.exception_message == "attempt 3"
    workers.assert_consistent(record)


def test_no_retries_left_without_an_exception(running: workers.Scene) -> None:
    """`retry()` with no retries left fails with Celery's own exception."""
    task_id = running.send("retry_without_exception")

    record = running.final(task_id, "FAILURE")

    assert workers.runs(record) == [
        (0, "RETRY", "celery.exceptions.Retry"),
        (1, "FAILURE", "celery.exceptions.MaxRetriesExceededError"),
    ]
    workers.assert_consistent(record)


def test_retry_that_does_not_raise(running: workers.Scene) -> None:
    """After `retry(throw=False)` the attempt goes on and succeeds, and so does the next."""
    task_id = running.send("retry_and_go_on")

    record = running.final(task_id, "SUCCESS", retries=1)

    assert record.result == "attempt 1"
    assert [run.retries for run in record.executions] == [0, 1]
    workers.assert_consistent(record)


def test_retry_that_cannot_be_sent(running: workers.Scene) -> None:
    """A task whose retry could not be published is over, and says why."""
    task_id = running.send("retry_with_what_cannot_be_sent")

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "kombu.exceptions.EncodeError"
    assert [run.retries for run in record.executions] == [0]


def test_ignore(running: workers.Scene) -> None:
    """A task that raises Ignore has ended, without a result."""
    task_id = running.send("ignore")

    record = running.final(task_id, "IGNORED")

    assert record.result_form is None
    assert workers.runs(record) == [(0, "IGNORED", None)]
    workers.assert_consistent(record)


def test_ignore_after_a_state_of_its_own(running: workers.Scene) -> None:
    """What `update_state` said before is not how the task ended."""
    task_id = running.send("ignore", "HALFWAY")

    record = running.final(task_id, "IGNORED")

    workers.assert_consistent(record)


@pytest.mark.parametrize("name", ["reject", "reject_late"])
def test_reject(running: workers.Scene, name: str) -> None:
    """A task that rejects its message for good has ended; Celery 5.7 calls that a failure."""
    task_id = running.send(name)

    record = running.final(task_id, "FAILURE" if REJECT_IS_A_FAILURE else "REJECTED")

    assert record.exception_type == ("celery.exceptions.Reject" if REJECT_IS_A_FAILURE else None)
    assert workers.runs(record) == [(0, record.state, record.exception_type)]
    workers.assert_consistent(record)


def test_requeue_of_a_late_acknowledged_task(running: workers.Scene) -> None:
    """A task put back on the queue runs twice, both times as the same attempt."""
    task_id = running.send("reject_and_requeue_late")

    record = running.final(task_id, "SUCCESS")

    assert record.result == "redelivered"
    assert workers.runs(record) == [(0, "REJECTED", None), (0, "SUCCESS", None)]
    workers.assert_consistent(record)


def test_requeue_of_an_early_acknowledged_task(running: workers.Scene) -> None:
    """A message that was acknowledged cannot be put back: the task has ended."""
    task_id = running.send("reject_and_requeue")

    record = running.final(task_id, "REJECTED")

    assert workers.runs(record) == [(0, "REJECTED", None)]
    workers.assert_consistent(record)
