"""The states of a task as a result backend keeps them: what is told last, and what is final.

Long because each state is held beside Celery's own backend, which is made here.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from celery import Celery, states
from celery.exceptions import TaskRevokedError

from tests.kit.backend_contract import (
    Contract,
    Place,
    fail,
    new_id,
    nothing,
    request_of,
    since,
    succeed,
)


class TestStates(Contract):
    """Every state can be stored, and read by another app."""

    def test_an_unknown_task_is_pending(self, app: Celery) -> None:
        result = app.AsyncResult(new_id())

        assert (result.state, result.result, result.traceback) == ("PENDING", None, None)
        assert not result.ready()
        assert not result.successful()
        assert not result.failed()

    def test_success(self, app: Celery) -> None:
        task_id = succeed(app, {"total": 3})

        result = app.AsyncResult(task_id)

        assert (result.state, result.result, result.traceback) == ("SUCCESS", {"total": 3}, None)
        assert result.ready()
        assert result.successful()
        assert not result.failed()

    def test_failure(self, app: Celery) -> None:
        task_id = fail(app, ValueError("broken"))

        result = app.AsyncResult(task_id)

        assert result.state == "FAILURE"
        assert isinstance(result.result, ValueError)
        assert result.result.args == ("broken",)
        assert result.traceback == "Traceback (most recent call last):\nValueError"
        assert result.ready()
        assert result.failed()

    def test_retry_has_the_reason(self, app: Celery) -> None:
        task_id = new_id()
        reason = ConnectionError("no route")
        app.backend.mark_as_retry(task_id, reason, traceback="tb", request=request_of(task_id))

        result = app.AsyncResult(task_id)

        assert result.state == "RETRY"
        assert isinstance(result.result, ConnectionError)
        assert result.traceback == "tb"
        assert not result.ready()

    def test_revoked(self, app: Celery) -> None:
        task_id = new_id()
        app.backend.mark_as_revoked(task_id, "expired", request=request_of(task_id))

        result = app.AsyncResult(task_id)

        assert result.state == "REVOKED"
        assert isinstance(result.result, TaskRevokedError)
        assert result.result.args == ("expired",)
        assert result.ready()

    def test_started_has_meta(self, app: Celery) -> None:
        task_id = new_id()
        meta = {"pid": 7, "hostname": "w1@test"}
        app.backend.store_result(task_id, meta, "STARTED", request=request_of(task_id))

        result = app.AsyncResult(task_id)

        assert (result.state, result.info) == ("STARTED", meta)
        assert not result.ready()

    def test_a_state_of_ones_own_has_meta(self, app: Celery) -> None:
        task_id = new_id()
        app.backend.store_result(task_id, {"done": 1, "of": 9}, "PROGRESS")

        result = app.AsyncResult(task_id)

        assert (result.state, result.info) == ("PROGRESS", {"done": 1, "of": 9})
        assert not result.ready()

    @pytest.mark.parametrize("meta", [None, "half way", 50, [1, 2]])
    def test_meta_may_be_anything(self, app: Celery, meta: Any) -> None:
        task_id = new_id()
        app.backend.store_result(task_id, meta, "PROGRESS")

        assert app.AsyncResult(task_id).info == meta

    def test_ignored(self, app: Celery) -> None:
        """`IGNORED` is no end to wait for: Celery does not count it among the ready states."""
        task_id = new_id()
        app.backend.store_result(task_id, None, states.IGNORED, request=request_of(task_id))

        result = app.AsyncResult(task_id)

        assert (result.state, result.result) == ("IGNORED", None)

    def test_update_state_of_a_task_by_id(self, app: Celery) -> None:
        task_id = new_id()
        task = app.task(name="contract.updating")(nothing)

        task.update_state(task_id=task_id, state="PROGRESS", meta={"step": 2})

        assert app.AsyncResult(task_id).info == {"step": 2}

    def test_only_ends_have_a_date(self, app: Celery) -> None:
        """`date_done` is when it was stored, and known to be UTC or naive UTC."""
        before = datetime.now(timezone.utc) - timedelta(seconds=1)
        ended, running = succeed(app, 1), new_id()
        app.backend.store_result(running, None, "PROGRESS")

        done = app.AsyncResult(ended).date_done

        assert app.AsyncResult(running).date_done is None
        aware = done if done.tzinfo else done.replace(tzinfo=timezone.utc)
        assert before <= aware <= datetime.now(timezone.utc) + timedelta(seconds=1)

    def test_the_backend_tells_it_by_id(self, app: Celery) -> None:
        """The older half of the interface: `get_state` and its siblings."""
        task_id = fail(app, KeyError("k"))

        assert app.backend.get_state(task_id) == "FAILURE"
        assert app.backend.get_status(task_id) == "FAILURE"
        assert isinstance(app.backend.get_result(task_id), KeyError)
        assert app.backend.get_traceback(task_id).endswith("KeyError")
        assert not app.backend.get_children(task_id)

    def test_the_meta_says_its_task(self, app: Celery) -> None:
        task_id = succeed(app, 5)

        meta = app.backend.get_task_meta(task_id)

        assert meta["task_id"] == task_id
        assert (meta["status"], meta["result"], meta["traceback"]) == ("SUCCESS", 5, None)

    @pytest.mark.parametrize(
        "task_id",
        [
            "short",
            "with spaces and/slashes\\",
            "quote'\"`; DROP TABLE x; --",
            "100%s %(id)s :id $1 ?1 {0}",
            "*?[a-z]",
            "ünïcödé-☃",
            "a" * 150,
            "$set.a.b",
        ],
    )
    def test_ids_of_every_kind(self, app: Celery, task_id: str) -> None:
        """Callers choose ids, and they are used as they are."""
        succeed(app, task_id, task_id)

        assert app.AsyncResult(task_id).get(timeout=1) == task_id
        assert app.AsyncResult(task_id + "x").state == "PENDING"

    def test_ids_differ_by_case(self, app: Celery) -> None:
        lower = f"case-{new_id()}-a"
        succeed(app, 1, lower)

        assert app.AsyncResult(lower.upper()).state == "PENDING"

    def test_an_id_may_be_a_uuid(self, app: Celery, place: Place) -> None:
        """Redis takes the object for its text; a database's driver does not."""
        if place.kind.startswith("database"):
            pytest.skip("not with SQLAlchemy")
        task_id = uuid.uuid4()
        app.backend.store_result(task_id, 1, "SUCCESS")

        assert app.AsyncResult(str(task_id)).get(timeout=1) == 1


class TestOrder(Contract):
    """What is told later is true, but for a success, which nothing undoes."""

    def tell(self, app: Celery, task_id: str, state: str, value: Any, retries: int = 0) -> None:
        request = request_of(task_id, retries=retries)
        app.backend.store_result(task_id, value, state, request=request)

    def test_a_life(self, app: Celery) -> None:
        """Each step is seen by a result that has been asked before: only ends are kept in mind."""
        task_id, error = new_id(), ValueError("again")
        result = app.AsyncResult(task_id)
        seen = [result.state]
        steps: list[tuple[str, Any, int]] = [
            ("STARTED", {"pid": 1}, 0),
            ("PROGRESS", 1, 0),
            ("RETRY", error, 0),
            ("STARTED", {"pid": 2}, 1),
            ("PROGRESS", 2, 1),
            ("SUCCESS", "done", 1),
        ]

        for state, value, retries in steps:
            self.tell(app, task_id, state, value, retries)
            seen.append(result.state)

        assert seen == ["PENDING", *(state for state, _, _ in steps)]
        assert result.result == "done"

    def test_meta_of_one_state_moves(self, app: Celery) -> None:
        """A progress bar: the same state again and again."""
        task_id = new_id()
        result = app.AsyncResult(task_id)

        seen = []
        for done in range(20):
            self.tell(app, task_id, "PROGRESS", {"done": done})
            seen.append(result.info["done"])

        assert seen == list(range(20))

    def test_states_of_ones_own_come_and_go(self, app: Celery) -> None:
        """There is no order between them but that of time."""
        task_id, names = new_id(), ["READING", "WRITING", "READING", "A", "ZZZ", "A"]
        result = app.AsyncResult(task_id)

        seen = []
        for name in names:
            self.tell(app, task_id, name, None)
            seen.append(result.state)

        assert seen == names

    def test_a_state_after_the_start_without_a_request(self, app: Celery) -> None:
        """What `update_state` of a client tells has no attempt; it is of the one that runs."""
        task_id = new_id()
        self.tell(app, task_id, "RETRY", ValueError("again"), retries=0)
        self.tell(app, task_id, "STARTED", {}, retries=1)

        app.backend.store_result(task_id, {"by": "client"}, "PROGRESS")

        assert app.AsyncResult(task_id).state == "PROGRESS"

    @pytest.mark.parametrize("state", ["FAILURE", "REVOKED", "RETRY", "STARTED", "PROGRESS"])
    def test_nothing_undoes_a_success(self, app: Celery, state: str) -> None:
        """A worker that was lost, or a second delivery, reports late."""
        task_id = succeed(app, "first")
        value: Any = ValueError("late") if state in {"FAILURE", "REVOKED", "RETRY"} else {}

        self.tell(app, task_id, state, value)

        meta = app.backend.get_task_meta(task_id, cache=False)
        assert (meta["status"], meta["result"]) == ("SUCCESS", "first")

    def test_a_success_after_a_failure(self, app: Celery) -> None:
        """A task that was thought lost, and was not."""
        task_id = fail(app, RuntimeError("lost"))

        self.tell(app, task_id, "SUCCESS", 1)

        result = app.AsyncResult(task_id)
        assert (result.state, result.result, result.traceback) == ("SUCCESS", 1, None)

    def test_a_failure_after_a_failure(self, app: Celery) -> None:
        """The hard time limit is told twice, and in the end as what it was."""
        task_id = fail(app, ValueError("first"))

        fail(app, KeyError("second"), task_id)

        assert isinstance(app.AsyncResult(task_id).result, KeyError)

    def test_a_failure_after_it_was_retried(self, app: Celery) -> None:
        """The last attempt's exception is the task's."""
        task_id = new_id()
        self.tell(app, task_id, "RETRY", ValueError("0"), 0)
        self.tell(app, task_id, "RETRY", ValueError("1"), 1)

        self.tell(app, task_id, "FAILURE", ValueError("2"), 2)

        assert app.AsyncResult(task_id).result.args == ("2",)

    def test_a_failure_told_without_a_request(self, app: Celery) -> None:
        """A worker's main process knows only the id of what it saw die."""
        task_id = new_id()
        self.tell(app, task_id, "STARTED", {}, retries=2)

        app.backend.mark_as_failure(task_id, RuntimeError("lost"))

        assert app.AsyncResult(task_id).state == "FAILURE"


class TestMemory(Contract):
    """What a backend may keep in mind, and what it must ask for again."""

    def test_another_app_sees_it(self, app: Celery, place: Place) -> None:
        task_id = succeed(app, 1)

        with place.app() as other:
            assert other.AsyncResult(task_id).get(timeout=1) == 1

    def test_a_result_keeps_the_end_it_saw(self, app: Celery) -> None:
        task_id = fail(app, ValueError("first"))
        result = app.AsyncResult(task_id)
        assert result.failed()

        succeed(app, 1, task_id)

        assert result.failed()
        assert app.AsyncResult(task_id).successful()

    def test_without_the_cache(self, app: Celery, place: Place) -> None:
        task_id = succeed(app, 1)
        assert app.backend.get_task_meta(task_id)["status"] == "SUCCESS"
        with place.app() as other:
            other.backend.forget(task_id)

        assert app.backend.get_task_meta(task_id, cache=False)["status"] == "PENDING"

    def test_reload(self, app: Celery, place: Place) -> None:
        task_id = succeed(app, 1)
        assert app.AsyncResult(task_id).get(timeout=1) == 1
        with place.app() as other:
            other.backend.forget(task_id)

        app.backend.reload_task_result(task_id)

        assert app.AsyncResult(task_id).state == "PENDING"

    def test_no_cache_at_all(self, place: Place) -> None:
        """`result_cache_max = -1`."""
        with place.app(result_cache_max=-1) as app:
            task_id = succeed(app, 1)

            assert app.AsyncResult(task_id).get(timeout=1) == 1
            assert not app.backend.is_cached(task_id)

    def test_what_one_reader_changes_no_other_reads(self, app: Celery, place: Place) -> None:
        """Not through the storage, at least: a backend's cache is shared by its readers."""
        task_id = succeed(app, [1])
        app.AsyncResult(task_id).get(timeout=1).append(2)

        with place.app() as other:
            assert other.AsyncResult(task_id).get(timeout=1) == [1]


class TestForgetting(Contract):
    """`forget` takes a result away, for every reader."""

    def test_forget(self, app: Celery) -> None:
        task_id = succeed(app, 1)
        result = app.AsyncResult(task_id)
        assert result.get(timeout=1) == 1

        result.forget()

        assert (result.state, result.result) == ("PENDING", None)
        assert app.AsyncResult(task_id).state == "PENDING"

    def test_forget_what_nobody_knows(self, app: Celery) -> None:
        app.AsyncResult(new_id()).forget()

    def test_forget_twice(self, app: Celery) -> None:
        result = app.AsyncResult(succeed(app, 1))

        result.forget()
        result.forget()

        assert result.state == "PENDING"

    def test_forget_a_failure(self, app: Celery) -> None:
        """Nothing of the exception stays."""
        result = app.AsyncResult(fail(app, ValueError("secret")))

        result.forget()

        assert (result.result, result.traceback) == (None, None)

    def test_the_parents_are_forgotten_too(self, app: Celery) -> None:
        first = app.AsyncResult(succeed(app, 1))
        last = app.AsyncResult(succeed(app, 2), parent=first)

        last.forget()

        assert (first.state, last.state) == ("PENDING", "PENDING")

    def test_a_forgotten_id_can_be_used_again(self, app: Celery) -> None:
        """Even for what ranks below the success that is forgotten."""
        task_id = succeed(app, "old")
        app.AsyncResult(task_id).forget()

        app.backend.store_result(task_id, {"new": True}, "STARTED", request=request_of(task_id))
        started = app.AsyncResult(task_id).state
        fail(app, ValueError("new"), task_id)

        assert started == "STARTED"
        assert app.AsyncResult(task_id).result.args == ("new",)

    def test_a_set_of_results(self, app: Celery) -> None:
        results = app.ResultSet([app.AsyncResult(succeed(app, n)) for n in range(3)])

        results.forget()

        assert not any(result.ready() for result in results)


@since(5, 7)
class TestExistence(Contract):
    """`AsyncResult.exists` tells what was never heard of from what is not done."""

    def test_of_what_nobody_knows(self, app: Celery) -> None:
        assert app.AsyncResult(new_id()).exists() is False

    @pytest.mark.parametrize("state", ["SUCCESS", "STARTED", "PROGRESS"])
    def test_of_what_was_told(self, app: Celery, state: str) -> None:
        task_id = new_id()
        app.backend.store_result(task_id, None, state)

        assert app.AsyncResult(task_id).exists() is True

    def test_of_what_failed(self, app: Celery) -> None:
        assert app.AsyncResult(fail(app, ValueError("broken"))).exists() is True

    def test_of_what_is_forgotten(self, app: Celery) -> None:
        result = app.AsyncResult(succeed(app, 1))

        result.forget()

        assert result.exists() is False
