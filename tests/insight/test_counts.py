"""Counts by state where more is open than one looks at: honest, and bounded."""

from __future__ import annotations

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.insight import counts, orphans, search
from fullresult.record.stamps import Attempt
from fullresult.record.worker import Worker
from fullresult.storage import StatisticsStorage, TaskQuery
from fullresult.testing import samples
from tests.kit.scheduling import app_on

LOOKED = 10


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "LOOKED", LOOKED)
    monkeypatch.setattr(orphans, "_LOOKED", LOOKED)


@pytest.fixture
def app(storage_url: str) -> Celery:
    with app_on({"broker_url": "memory://"}, storage_url) as app:
        yield app


def fill(full: FullResult, *states: str) -> None:
    """Tasks of these states, the oldest first."""
    tasks = [
        samples.task(f"{number:03}", samples.after(number), state=state)
        for number, state in enumerate(states)
    ]
    full.storage.write(tasks)


def count(full: FullResult, query: TaskQuery, cap: int = 1_000) -> counts.StateCounts:
    storage = full.storage
    assert isinstance(storage, StatisticsStorage)
    return counts.count_states(storage, query, cap)


def test_all_is_counted_where_little_is_open(app: Celery) -> None:
    fill(app.fullresult, *["PENDING"] * 4, "STARTED", "FAILURE", "SUCCESS", "RETRY")

    found = count(app.fullresult, TaskQuery())

    assert {state: number for state, number in found.by_state.items() if number} == {
        "PENDING": 4,
        "STARTED": 1,
        "FAILURE": 1,
        "SUCCESS": 1,
        "RETRY": 1,
    }
    assert found.at_least == frozenset()
    assert found.shown("STARTED") == "1"


def test_behind_a_backlog_what_runs_is_counted_and_said_to_be_a_part(app: Celery) -> None:
    fill(app.fullresult, "SUCCESS", "STARTED", "RETRY", *["PENDING"] * 40, "STARTED", "FAILURE")

    found = count(app.fullresult, TaskQuery(), cap=9)

    assert found.by_state["STARTED"] == 1
    assert found.by_state["FAILURE"] == 1
    assert found.by_state["PENDING"] == 9
    assert {"STARTED", "RETRY", "UNSENT"} <= found.at_least
    assert not found.at_least & {"PENDING", "FAILURE"}
    assert found.shown("STARTED") == "1+"
    assert found.shown("PENDING") == "9+"


@pytest.mark.parametrize("place", ["oldest", "newest"])
def test_what_runs_is_counted_at_both_ends(app: Celery, place: str) -> None:
    few, many = ["STARTED"] * 5, ["PENDING"] * 40
    fill(app.fullresult, *(few + many if place == "oldest" else many + few))

    assert count(app.fullresult, TaskQuery()).by_state["STARTED"] == 5


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (TaskQuery(open=True), {"PENDING": 2, "STARTED": 1}),
        (TaskQuery(open=False), {"SUCCESS": 2, "FAILURE": 1}),
        (TaskQuery(state=["SUCCESS", "STARTED"]), {"SUCCESS": 2, "STARTED": 1}),
        (TaskQuery(not_state=("SUCCESS",)), {"PENDING": 2, "STARTED": 1, "FAILURE": 1}),
        (TaskQuery(since=samples.after(2)), {"PENDING": 1, "SUCCESS": 2, "FAILURE": 1}),
    ],
    ids=str,
)
def test_the_query_is_heeded(app: Celery, query: TaskQuery, expected: dict[str, int]) -> None:
    fill(app.fullresult, "PENDING", "STARTED", "SUCCESS", "FAILURE", "PENDING", "SUCCESS")

    found = count(app.fullresult, query)

    assert {state: number for state, number in found.by_state.items() if number} == expected


def test_orphans_are_found_in_any_backlog(app: Celery) -> None:
    full, now = app.fullresult, samples.NOON
    fill(full, *["PENDING"] * 25, "STARTED", *["PENDING"] * 25)
    worker_id = "w" * 12
    full.storage.note_worker(Worker(worker_id, "w@host", now, now, now))
    started = samples.outcome("STARTED", samples.after(25), stamp=_stamp_of(worker_id))
    full.storage.write([samples.event("025", samples.after(25), outcome=started)])

    assert [record.task_id for record in full.get_orphaned_tasks()] == ["025"]


def _stamp_of(worker_id: str) -> str:
    return Attempt().stamp("STARTED", samples.moment(samples.after(26)).of_worker(worker_id, None))


def test_what_never_ran_is_not_looked_for_among_a_million_failures(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL databases have both in one section."""
    monkeypatch.setattr(counts, "LOOKED_AT_ENDED", LOOKED)
    fill(app.fullresult, "NOT_RUN", *["FAILURE"] * 20)

    found = count(app.fullresult, TaskQuery())
    looked = search.look(app.fullresult.storage, TaskQuery(state="NOT_RUN", limit=5))

    assert found.by_state["FAILURE"] == 20
    assert found.shown("FAILURE") == "20"
    assert found.shown("NOT_RUN") in ("0+", "1")
    assert [record.task_id for record in looked.records] == ["000"]
    assert looked.after is None
