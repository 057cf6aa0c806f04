"""Questions that are easily asked wrongly are answered as meant, or say what to ask."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult import FullResult


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'records.db'}"
    full = FullResult(app)
    full.setup()
    yield full
    full.close()


def test_no_acceptable_state_is_the_default(full: FullResult) -> None:
    full.app.conf.update(result_backend="fullresult://")
    full.app.send_task("shop.pay", task_id="open")
    full.app.backend.store_result("done", 7, "SUCCESS")

    found = full.get_stale_tasks(timedelta(0), acceptable_states=[])

    assert [record.task_id for record in found] == ["open"]


def test_a_database_in_memory_is_refused_and_makes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Celery("shop", set_as_current=False)
    app.conf.fullresult_storage = "sqlite:///:memory:"

    with pytest.raises(ImproperlyConfigured, match="name a file"):
        FullResult(app).setup()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("since", ["2h", timedelta(hours=2), 7200])
def test_a_date_that_is_none_is_named(full: FullResult, since: Any) -> None:
    with pytest.raises(ValueError, match="since must be an aware datetime"):
        full.find(since=since)


def test_a_state_in_the_place_of_a_query_says_how_to_give_it(full: FullResult) -> None:
    state: Any = "FAILURE"

    with pytest.raises(TypeError, match="state='FAILURE'"):
        full.count(state)


def test_a_length_of_time_may_be_text(full: FullResult) -> None:
    full.app.send_task("shop.pay", task_id="open")

    assert full.get_stale_tasks("2h") == []
    assert full.get_orphaned_tasks("2h") == []
    assert full.resend_missing(stale=True, age="2h", dry_run=True).would_send == []
    assert [record.task_id for record in full.get_stale_tasks("0s")] == ["open"]


@pytest.mark.parametrize("ask", ["get_stale_tasks", "get_orphaned_tasks"])
def test_what_is_no_length_of_time_is_named(full: FullResult, ask: str) -> None:
    wrong: Any = 7200
    with pytest.raises(TypeError, match="must be a timedelta, or text such as '2h', not 7200"):
        getattr(full, ask)(wrong)
    with pytest.raises(TypeError, match="age must be a timedelta, or text"):
        full.resend_missing(stale=True, age=wrong)
    with pytest.raises(ValueError, match="soon"):
        getattr(full, ask)("soon")


def test_a_dry_run_says_which_ids_are_unknown(full: FullResult) -> None:
    full.app.send_task("shop.pay", task_id="known")

    report = full.resend_many(ids=["known", "nobody"], dry_run=True)

    assert report.would_send == ["known"]
    assert [(fate.task_id, fate.problem) for fate in report.failed] == [
        ("nobody", "no task 'nobody' is recorded")
    ]
