"""Waiting for results: seen when stored, by whoever waits, and given up in time.

Long because its cases share the waiters and the storages they wait on.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from celery.exceptions import TimeoutError as GetTimeout
from celery.result import allow_join_result, denied_join_result

from tests.kit.backend_contract import (
    PATIENCE,
    Contract,
    NativeContract,
    Place,
    fail,
    new_id,
    place_of,
    soon,
    stopwatch,
    succeed,
)

if TYPE_CHECKING:
    from pathlib import Path

SEEN_BY = 2.0
"""Seconds within which a stored result is seen: redis looks at its clock once a second."""


class TestGet(Contract):
    """`AsyncResult.get`."""

    def test_of_what_is_there(self, app: Celery) -> None:
        task_id = succeed(app, 1)

        with stopwatch() as watch:
            assert app.AsyncResult(task_id).get(timeout=PATIENCE) == 1

        assert watch.seconds < 1

    def test_of_what_comes(self, app: Celery) -> None:
        task_id = new_id()

        with soon(lambda: succeed(app, 1, task_id)), stopwatch() as watch:
            assert app.AsyncResult(task_id).get(timeout=PATIENCE) == 1

        assert 0.05 < watch.seconds < SEEN_BY

    def test_without_a_timeout(self, app: Celery) -> None:
        task_id = new_id()

        with soon(lambda: succeed(app, 1, task_id)):
            assert app.AsyncResult(task_id).get() == 1

    def test_of_a_failure_that_comes(self, app: Celery) -> None:
        task_id = new_id()

        with soon(lambda: fail(app, KeyError("k"), task_id)), pytest.raises(KeyError):
            app.AsyncResult(task_id).get(timeout=PATIENCE)

    def test_without_propagating(self, app: Celery) -> None:
        task_id = new_id()

        with soon(lambda: fail(app, KeyError("k"), task_id)):
            error = app.AsyncResult(task_id).get(timeout=PATIENCE, propagate=False)

        assert isinstance(error, KeyError)

    def test_what_is_on_the_way_is_no_end(self, app: Celery) -> None:
        """Waiting goes on through starts, retries and states of one's own."""
        task_id = new_id()

        def live() -> None:
            app.backend.store_result(task_id, {}, "STARTED")
            app.backend.store_result(task_id, 1, "PROGRESS")
            app.backend.store_result(task_id, ValueError("again"), "RETRY")
            time.sleep(0.2)
            succeed(app, "done", task_id)

        with soon(live):
            assert app.AsyncResult(task_id).get(timeout=PATIENCE) == "done"

    @pytest.mark.parametrize("seconds", [0.3, 1.2])
    def test_it_gives_up_in_time(self, app: Celery, place: Place, seconds: float) -> None:
        result = app.AsyncResult(new_id())

        with stopwatch() as watch, pytest.raises(GetTimeout):
            result.get(timeout=seconds)

        # Redis looks at the clock once a second.
        assert seconds - 0.05 <= watch.seconds < seconds + (0.5 if place.ours else 1.5)

    def test_it_can_be_asked_again_after_giving_up(self, app: Celery) -> None:
        result = app.AsyncResult(new_id())
        with pytest.raises(GetTimeout):
            result.get(timeout=0.1)

        succeed(app, 1, result.id)

        assert result.get(timeout=PATIENCE) == 1

    def test_the_timeout_is_celerys(self, app: Celery) -> None:
        result = app.AsyncResult(new_id())

        with pytest.raises(result.TimeoutError):
            result.get(timeout=0.1)

    def test_no_time_at_all(self, app: Celery) -> None:
        """A look: what is there is given, what is not is not waited for."""
        ready, missing = app.AsyncResult(succeed(app, 1)), app.AsyncResult(new_id())

        with stopwatch() as watch:
            assert ready.get(timeout=0) == 1
            with pytest.raises(GetTimeout):
                missing.get(timeout=0)

        assert watch.seconds < 0.5

    def test_a_callback(self, app: Celery) -> None:
        called: list[Any] = []
        task_id = succeed(app, 5)

        app.AsyncResult(task_id).get(
            timeout=PATIENCE, callback=lambda task_id, value: called.append((task_id, value))
        )

        assert called == [(task_id, 5)]

    def test_on_interval_while_waiting(self, app: Celery) -> None:
        """It may tell the user, or give up by raising."""

        class Enough(Exception):
            pass

        def give_up() -> None:
            raise Enough

        with pytest.raises(Enough):
            app.AsyncResult(new_id()).get(timeout=PATIENCE, on_interval=give_up)

    def test_it_is_usable_after_a_callback_raised(self, app: Celery) -> None:
        def give_up() -> None:
            raise KeyError

        result = app.AsyncResult(new_id())
        with pytest.raises(KeyError):
            result.get(timeout=PATIENCE, on_interval=give_up)

        succeed(app, 1, result.id)

        assert result.get(timeout=PATIENCE) == 1

    def test_within_a_task_it_is_refused(self, app: Celery) -> None:
        result = app.AsyncResult(succeed(app, 1))

        with denied_join_result():
            with pytest.raises(RuntimeError, match="Never call"):
                result.get(timeout=1)
            with allow_join_result():
                assert result.get(timeout=1) == 1

    def test_of_an_ignored_result(self, app: Celery) -> None:
        """It is not waited for."""
        result = app.AsyncResult(new_id())
        result.ignored = True

        assert result.get() is None

    def test_then(self, app: Celery) -> None:
        """A callback for when it is there."""
        called: list[Any] = []
        result = app.AsyncResult(new_id())
        result.then(lambda done: called.append(done.result))

        with soon(lambda: succeed(app, 1, result.id)):
            result.get(timeout=PATIENCE)

        assert called == [1]


class TestMessages(Contract):
    """`on_message`: redis calls it with every state it hears of; a database refuses it."""

    def test_on_message(self, app: Celery, place: Place) -> None:
        heard: list[dict[str, Any]] = []
        result = app.AsyncResult(new_id())

        with soon(lambda: succeed(app, 1, result.id)):
            if place.native:
                assert result.get(timeout=PATIENCE, on_message=heard.append) == 1
                last = heard[-1]
                assert (last["task_id"], last["status"]) == (result.id, "SUCCESS")
                assert last["result"] == 1
            else:
                with pytest.raises(ImproperlyConfigured):
                    result.get(timeout=PATIENCE, on_message=heard.append)

    def test_a_failure_is_heard_once_it_is_an_exception(self, app: Celery, place: Place) -> None:
        if not place.native:
            pytest.skip("no on_message")
        heard: list[dict[str, Any]] = []
        result = app.AsyncResult(new_id())

        with soon(lambda: fail(app, KeyError("k"), result.id)), pytest.raises(KeyError):
            result.get(timeout=PATIENCE, on_message=heard.append)

        assert heard[-1]["status"] == "FAILURE"
        assert isinstance(heard[-1]["result"], KeyError)


class TestMany(Contract):
    """Sets and groups of results."""

    def test_in_order(self, app: Celery) -> None:
        """Whatever the order they come in."""
        ids = [new_id() for _ in range(20)]
        results = app.GroupResult(new_id(), [app.AsyncResult(task_id) for task_id in ids])

        def finish() -> None:
            for n in reversed(range(20)):
                succeed(app, n, ids[n])

        with soon(finish):
            assert results.get(timeout=PATIENCE) == list(range(20))

    @pytest.mark.parametrize("how", ["get", "join"])
    def test_of_what_is_there(self, app: Celery, how: str) -> None:
        results = app.ResultSet([app.AsyncResult(succeed(app, n)) for n in range(20)])

        assert getattr(results, how)(timeout=PATIENCE) == list(range(20))

    def test_a_failed_one_is_raised(self, app: Celery) -> None:
        ids = [succeed(app, 1), fail(app, KeyError("k")), succeed(app, 3)]
        results = app.ResultSet([app.AsyncResult(task_id) for task_id in ids])

        with pytest.raises(KeyError):
            results.get(timeout=PATIENCE)

    def test_a_failed_one_in_its_place(self, app: Celery) -> None:
        ids = [succeed(app, 1), fail(app, KeyError("k")), succeed(app, 3)]
        results = app.ResultSet([app.AsyncResult(task_id) for task_id in ids])

        first, error, last = results.get(timeout=PATIENCE, propagate=False)

        assert (first, last) == (1, 3)
        assert isinstance(error, KeyError)

    def test_it_gives_up_in_time(self, app: Celery, place: Place) -> None:
        """Though all but one are there."""
        results = app.ResultSet([app.AsyncResult(succeed(app, 1)), app.AsyncResult(new_id())])

        with stopwatch() as watch, pytest.raises(GetTimeout):
            results.get(timeout=0.4)

        assert 0.35 <= watch.seconds < (1 if place.ours else 2.5)

    def test_questions(self, app: Celery) -> None:
        ids = [succeed(app, 1), new_id(), fail(app, KeyError("k"))]
        results = app.ResultSet([app.AsyncResult(task_id) for task_id in ids])

        assert not results.ready()
        assert results.waiting()
        assert not results.successful()
        assert results.failed()
        assert results.completed_count() == 1

        succeed(app, 1, ids[1])
        assert results.ready()
        assert not results.waiting()
        assert results.completed_count() == 2

    def test_a_callback_for_each(self, app: Celery) -> None:
        called: dict[str, Any] = {}
        ids = [succeed(app, n) for n in range(5)]
        results = app.ResultSet([app.AsyncResult(task_id) for task_id in ids])

        results.get(timeout=PATIENCE, callback=called.__setitem__)

        assert called == {task_id: n for n, task_id in enumerate(ids)}

    def test_groups_in_groups(self, app: Celery) -> None:
        inner = app.GroupResult(new_id(), [app.AsyncResult(succeed(app, n)) for n in (1, 2)])
        outer = app.GroupResult(new_id(), [inner, app.AsyncResult(succeed(app, 3))])

        assert outer.get(timeout=PATIENCE) == [[1, 2], 3]

    def test_of_nothing(self, app: Celery) -> None:
        assert app.ResultSet([]).get(timeout=1) == []
        assert app.ResultSet([]).ready()

    def test_two_thousand(self, app: Celery, place: Place) -> None:
        """As many as a fan-out has; not one question to the storage for each of them in turn."""
        if not place.native:
            pytest.skip("a query for each")
        ids = [new_id() for _ in range(2000)]
        results = app.ResultSet([app.AsyncResult(task_id) for task_id in ids])
        for n, task_id in enumerate(ids[:1000]):
            succeed(app, n, task_id)

        def finish() -> None:
            for n, task_id in enumerate(ids[1000:]):
                succeed(app, 1000 + n, task_id)

        with soon(finish):
            assert results.get(timeout=PATIENCE) == list(range(2000))


class TestNativeJoin(NativeContract):
    """`join_native`, `iter_native` and `get_many`, of those that can."""

    def test_it_is_native(self, app: Celery) -> None:
        assert app.backend.supports_native_join
        assert app.AsyncResult(new_id()).supports_native_join

    def test_join_native(self, app: Celery) -> None:
        results = app.ResultSet([app.AsyncResult(succeed(app, n)) for n in range(20)])

        assert results.join_native(timeout=PATIENCE) == list(range(20))

    def test_iterating_as_they_come(self, app: Celery) -> None:
        """What is there first is given first, not what is asked for first."""
        late, early = new_id(), succeed(app, "early")
        results = app.ResultSet([app.AsyncResult(late), app.AsyncResult(early)])

        order = []
        for task_id, meta in results.iter_native(timeout=PATIENCE):
            order.append((task_id, meta["result"]))
            if task_id == early:
                succeed(app, "late", late)

        assert order == [(early, "early"), (late, "late")]

    def test_get_many(self, app: Celery) -> None:
        ids = [succeed(app, n) for n in range(20)]

        found = dict(app.backend.get_many(ids, timeout=PATIENCE))

        assert {task_id: meta["result"] for task_id, meta in found.items()} == {
            task_id: n for n, task_id in enumerate(ids)
        }

    def test_get_many_of_failures(self, app: Celery) -> None:
        ids = [fail(app, KeyError(n)) for n in range(3)]

        found = dict(app.backend.get_many(ids, timeout=PATIENCE))

        assert {meta["status"] for meta in found.values()} == {"FAILURE"}
        assert all(isinstance(meta["result"], KeyError) for meta in found.values())

    def test_get_many_gives_up_in_time(self, app: Celery) -> None:
        ids = [succeed(app, 1), new_id()]
        found: list[str] = []

        with stopwatch() as watch, pytest.raises(GetTimeout):
            found.extend(
                task_id for task_id, _ in app.backend.get_many(ids, timeout=0.5, interval=0.1)
            )

        assert 0.3 < watch.seconds < 2

    def test_get_many_once(self, app: Celery) -> None:
        """`max_iterations`: a look at those that are there."""
        ready = succeed(app, 1)

        found = [
            task_id
            for task_id, _ in app.backend.get_many(
                [ready, new_id()], timeout=PATIENCE, max_iterations=1, interval=0.01
            )
        ]

        assert found == [ready]

    def test_what_on_message_hears(self, app: Celery) -> None:
        heard: list[Any] = []
        ids = [new_id() for _ in range(3)]
        results = app.ResultSet([app.AsyncResult(task_id) for task_id in ids])

        def finish() -> None:
            for task_id in ids:
                succeed(app, 1, task_id)

        with soon(finish):
            results.get(timeout=PATIENCE, on_message=heard.append)

        assert {meta["task_id"] for meta in heard if meta["status"] == "SUCCESS"} == set(ids)


class TestThreads(Contract):
    """Many wait at once, for the same and for different tasks."""

    def test_each_gets_its_own(self, app: Celery) -> None:
        count = 50
        ids = [new_id() for _ in range(count)]

        def wait(task_id: str) -> Any:
            return app.AsyncResult(task_id).get(timeout=PATIENCE)

        with ThreadPoolExecutor(count) as pool:
            waiting = [pool.submit(wait, task_id) for task_id in ids]
            for n, task_id in enumerate(ids):
                succeed(app, n, task_id)
            values = [future.result(PATIENCE) for future in waiting]

        assert values == list(range(count))

    def test_all_for_the_same(self, app: Celery) -> None:
        task_id = new_id()
        gate = threading.Barrier(11)

        def wait() -> Any:
            result = app.AsyncResult(task_id)
            gate.wait(PATIENCE)
            return result.get(timeout=PATIENCE)

        with ThreadPoolExecutor(10) as pool:
            waiting = [pool.submit(wait) for _ in range(10)]
            gate.wait(PATIENCE)
            succeed(app, "same", task_id)
            values = [future.result(PATIENCE) for future in waiting]

        assert values == ["same"] * 10

    def test_two_results_of_one_task(self, app: Celery) -> None:
        task_id = new_id()
        first, second = app.AsyncResult(task_id), app.AsyncResult(task_id)

        with soon(lambda: succeed(app, 1, task_id)):
            assert first.get(timeout=PATIENCE) == 1
            assert second.get(timeout=PATIENCE) == 1

    def test_no_wake_up_is_lost(self, app: Celery, place: Place) -> None:
        """Stored at the very moment when the waiting begins, by another connection."""
        rounds = 20 if place.kind.startswith("database") else 60
        slow = []
        with place.app() as writer, ThreadPoolExecutor(1) as pool:
            for n in range(rounds):
                task_id, gate = new_id(), threading.Barrier(2)

                def store(task_id: str = task_id, gate: threading.Barrier = gate) -> None:
                    gate.wait(PATIENCE)
                    succeed(writer, 1, task_id)

                stored = pool.submit(store)
                result = app.AsyncResult(task_id)
                gate.wait(PATIENCE)
                time.sleep(n % 10 / 2000)
                with stopwatch() as watch:
                    assert result.get(timeout=PATIENCE) == 1
                stored.result(PATIENCE)
                if watch.seconds > SEEN_BY:
                    slow.append(watch.seconds)

        assert not slow

    def test_a_thread_that_gives_up_disturbs_no_other(self, app: Celery) -> None:
        task_id = new_id()

        def give_up() -> bool:
            try:
                app.AsyncResult(task_id).get(timeout=0.1)
            except GetTimeout:
                return True
            return False

        with ThreadPoolExecutor(6) as pool:
            patient = [
                pool.submit(app.AsyncResult(task_id).get, timeout=PATIENCE) for _ in range(3)
            ]
            gave_up = [pool.submit(give_up) for _ in range(3)]
            assert all(future.result(PATIENCE) for future in gave_up)
            succeed(app, 1, task_id)
            assert [future.result(PATIENCE) for future in patient] == [1, 1, 1]


class TestConnections:
    """Waiting is cheap for the server."""

    def test_waiting_threads_share_connections(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """Hundreds of web requests may wait at once; a server has a hundred connections."""
        count = 60
        ids = [new_id() for _ in range(count)]
        with (
            place_of("fullresult-postgresql", request, tmp_path) as place,
            place.app() as app,
            ThreadPoolExecutor(count) as pool,
        ):
            database = place.settings["fullresult_storage"]
            waiting = [
                pool.submit(lambda i: app.AsyncResult(i).get(timeout=PATIENCE), task_id)
                for task_id in ids
            ]
            time.sleep(1)
            with psycopg.connect(database) as connection:
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                ).fetchone()
            for task_id in ids:
                succeed(app, 1, task_id)
            assert [future.result(PATIENCE) for future in waiting] == [1] * count

        assert row is not None
        # Of all these the one that asks.
        assert row[0] - 1 <= 10
