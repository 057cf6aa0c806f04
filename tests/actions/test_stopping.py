"""What cannot be stopped: the reason, in a sentence, and in the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from fullresult import CannotStop
from fullresult.actions import stopping, told_workers
from fullresult.actions.audit import Actor
from fullresult.actions.batch import Pace
from fullresult.cli.preview import SHOWN
from tests.kit import browsing
from tests.kit.commands import run
from tests.kit.heartbeats import begun, working


class Counted:
    """Counts the calls of some methods of a storage."""

    def __init__(self, storage: Any, *names: str) -> None:
        self._storage, self._names, self.number = storage, names, 0

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in self._names:
            monkeypatch.setattr(self._storage, name, self._counting(getattr(self._storage, name)))

    def _counting(self, method: Any) -> Any:
        def counting(*given: Any, **more: Any) -> Any:
            self.number += 1
            return method(*given, **more)

        return counting


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop(f"sqlite:///{tmp_path / 'memory.db'}") as app:
        yield app


def test_without_a_living_worker_nobody_can_be_told(app: Celery) -> None:
    (task_id,) = browsing.charge(app)
    working(app, "w1@gone", "prefork", alive=False)

    with pytest.raises(CannotStop, match="no worker is alive that could be told"):
        app.fullresult.revoke(task_id)

    (entry,) = app.fullresult.audit_log(action="revoke")
    assert (entry.outcome, entry.task_ids) == ("failed", (task_id,))


def test_a_worker_that_does_not_confirm_may_still_run_it(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_workers, "WAIT", 0.1)
    (task_id,) = browsing.charge(app)
    working(app, "w1@deaf", "solo")

    with pytest.raises(CannotStop, match=r"may still run: w1@deaf did not confirm within 0.1 s"):
        app.fullresult.revoke(task_id)


def test_what_some_workers_were_told_is_said_where_the_broker_breaks_in_between(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first message went to all; the second, to those that were silent, did not."""
    monkeypatch.setattr(told_workers, "WAIT", 0.1)
    (task_id,) = browsing.charge(app)
    for name in ("w1@here", "w2@deaf"):
        working(app, name, "solo")
    told: list[Any] = []

    def broadcast(*_: Any, **more: Any) -> Any:
        told.append(more["destination"])
        if len(told) == 2:
            raise OperationalError("no route to host")
        return [{"w1@here": {"ok": "tasks flagged as revoked"}}]

    monkeypatch.setattr(app.control, "broadcast", broadcast)

    report = app.fullresult.stopping(Actor("ada", "python")).revoke([task_id])

    (fate,) = report.failed
    assert told == [None, ["w2@deaf"]]
    assert fate.problem == (
        f"task {task_id} may still run: w2@deaf did not confirm within 0.1 s, and the broker did "
        "not take a second message to them (no route to host); the other 1 will drop it"
    )
    (entry,) = app.fullresult.audit_log(action="revoke")
    assert (entry.outcome, entry.task_ids) == ("failed", (task_id,))


def test_a_hundred_are_revoked_by_one_message_and_few_questions(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_workers, "WAIT", 0.1)
    ids = [*browsing.charge(app, 100), "?"]
    (waits,) = browsing.charge(app, countdown=3600)
    working(app, "w1@deaf", "solo")
    sent: list[Any] = []

    def broadcast(*given: Any, **more: Any) -> Any:
        sent.append(given)
        return told(*given, **more)

    told = app.control.broadcast
    monkeypatch.setattr(app.control, "broadcast", broadcast)
    asked = Counted(
        app.fullresult.storage, "get", "find", "find_schedules", "find_workers", "find_cards"
    )
    with monkeypatch.context() as counted:
        asked.watch(counted)
        actor = Actor("ada", "python")
        report = app.fullresult.stopping(actor).revoke([waits, *ids])

    assert [len(report.done), len(report.failed)] == [0, 102]
    problems = {fate.task_id: fate.problem or "" for fate in report.failed}
    assert "cancel it" in problems[waits]
    assert "is recorded" in problems["?"]
    assert all("did not confirm" in problems[task_id] for task_id in ids[:100])
    assert len(sent) <= 4  # two portions, each asked twice
    assert asked.number <= 12, asked.number


def test_a_portion_that_was_told_is_written_down_whole_though_time_is_up(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_workers, "WAIT", 0.05)
    monkeypatch.setattr(stopping, "_AT_ONCE", 2)
    ids = browsing.charge(app, 4)
    working(app, "w1@deaf", "solo")

    report = app.fullresult.stopping(Actor("ada", "web")).revoke(ids, Pace(patience=0.0))

    assert [fate.task_id for fate in report.failed] == ids[:2]
    assert all("may still run" in str(fate.problem) for fate in report.failed)
    assert (report.unfinished, report.stopped, report.left(ids)) == (True, None, ids[2:])
    (entry,) = app.fullresult.audit_log(action="revoke")
    assert sorted(entry.task_ids) == sorted(ids[:2])


def test_what_waits_in_the_storage_is_cancelled_instead(app: Celery) -> None:
    (task_id,) = browsing.charge(app, countdown=3600)
    working(app, "w1@here", "prefork")

    with pytest.raises(CannotStop, match="waits in the storage, and no worker has it; cancel it"):
        app.fullresult.revoke(task_id)

    assert len(app.fullresult.scheduled()) == 1


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_pool_that_cannot_end_one_task_is_not_asked(app: Celery, pool: str) -> None:
    working(app, "w1@here", pool)
    begun(app, "a", "w1@here")

    with pytest.raises(CannotStop, match=f"has the pool {pool}, which cannot end one task"):
        app.fullresult.terminate("a")

    page = browsing.entered(app).get("/task?id=a")
    assert not [link for link in page.links if "/terminate" in link]
    asked = browsing.entered(app).get("/terminate?id=a")
    assert "cannot end one task" in asked.words
    assert [form for form in asked.forms if form.method == "post" and "term" in form.action] == []


def test_the_worker_of_an_orphan_is_not_asked(app: Celery) -> None:
    working(app, "w1@gone", "prefork", alive=False)
    begun(app, "a", "w1@gone")

    with pytest.raises(CannotStop, match="its worker w1@gone is gone; see orphans"):
        app.fullresult.terminate("a")


def test_an_unknown_id_or_signal_is_said(app: Celery) -> None:
    with pytest.raises(CannotStop, match="no task 'a' is recorded"):
        app.fullresult.revoke("a")
    with pytest.raises(ValueError, match="one of SIGTERM, SIGKILL, SIGINT, not 'SIGSTOP'"):
        app.fullresult.terminate("a", signal="SIGSTOP")


def test_the_commands_ask_before_they_stop_and_say_why_not(app: Celery) -> None:
    (task_id,) = browsing.charge(app)

    no = run(app, "revoke", task_id, answer="n\n")
    yes = run(app, "revoke", task_id[:8], answer="y\n")
    running = run(app, "terminate", task_id, "--yes")

    assert "About to revoke 1 task:" in no.stderr
    assert "shop.charge(0, amount=0.0)" in no.stderr
    assert no.exit_code == yes.exit_code == running.exit_code == 1
    assert "no worker is alive" in yes.stderr
    assert "does not run: it is PENDING" in running.stderr
    assert len(app.fullresult.audit_log(action="revoke")) == 1


def test_one_that_is_known_behind_many_that_are_not_is_asked_about(app: Celery) -> None:
    unknown = [str(uuid4()) for _ in range(SHOWN)]

    no = run(app, "revoke", *unknown, *browsing.charge(app), answer="n\n")

    assert no.exit_code == 1
    assert f"Revoke {SHOWN + 1} tasks?" in no.stderr
    assert app.fullresult.audit_log(action="revoke") == []
