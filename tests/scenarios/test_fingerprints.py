"""The group that a failure gets in a real worker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from fullresult.record.stamps import worker_in
from fullresult.recording.fingerprint import of_text
from tests.kit import workers

if TYPE_CHECKING:
    from fullresult.record import TaskRecord


def failed(running: workers.Scene, name: str, *args: object) -> TaskRecord:
    return running.final(running.send(name, *args), "FAILURE")


def test_two_failures_of_one_cause_are_of_one_group(running: workers.Scene) -> None:
    first, second = failed(running, "fail", "card 17"), failed(running, "fail", "no 'money'")

    assert first.fingerprint == second.fingerprint
    assert re.fullmatch("1-[0-9a-f]{16}", str(first.fingerprint))


def test_the_group_is_of_the_exception_and_not_of_the_text_that_is_left(
    running: workers.Scene,
) -> None:
    record = failed(running, "fail", "card 17")

    told = of_text(record.name, record.exception_type, record.exception_message, record.traceback)

    assert "Traceback" in str(record.traceback)
    assert told not in (None, record.fingerprint)


def test_another_function_fails_in_another_group(running: workers.Scene) -> None:
    groups = {failed(running, name, 9).fingerprint for name in ("fail", "autoretry", "retry")}

    assert len(groups) == 3


def test_a_retry_and_a_success_are_in_no_group(running: workers.Scene) -> None:
    retried = running.final(running.send("retry", 1), "SUCCESS")

    assert retried.fingerprint is None


def test_a_lost_process_is_in_the_group_of_its_signal(running: workers.Scene) -> None:
    """The pool raises that error, always in the same place: what it says tells more."""
    record = failed(running, "kill_child")

    kind, message = record.exception_type, str(record.exception_message)
    assert record.fingerprint == of_text(record.name, kind, message, None)
    assert record.fingerprint == of_text(record.name, kind, message, record.traceback)
    assert record.fingerprint != of_text(record.name, kind, message.replace("SIGKILL", "-"), None)


@pytest.mark.parametrize("backend", [None, "fullresult://"])
def test_a_failure_knows_the_release_of_its_worker(
    request: pytest.FixtureRequest, backend: str | None
) -> None:
    """Also if the process was lost, or the task is unknown; a success names nobody."""
    settings: dict[str, Any] = {"fullresult_release": "4.1-rc.1", "result_backend": backend}
    with workers.running("sqlite", request, **settings) as running:
        failures = [failed(running, "fail", "card 17"), failed(running, "kill_child")]
        failures += [running.final(running.app.send_task("not.there").id, "FAILURE")]
        success = running.final(running.send("add", 1, 2), "SUCCESS")

        groups = running.full.failures.find()
        shown = running.full.failures.show(str(failures[0].fingerprint))

        assert [each.release for each in groups] == ["4.1-rc.1"] * 3
        assert shown is not None
        assert shown.releases == {"4.1-rc.1": 1}
        assert {worker_in(each.outcome.stamp) for each in failures if each.outcome} != {""}
        assert success.outcome is not None
        assert worker_in(success.outcome.stamp) == ""
