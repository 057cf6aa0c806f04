"""A result backend among apps, threads, processes and forks; its URL, its expiry, its failures.

Long because its cases share the backends they are made with.
"""

from __future__ import annotations

import copy
import gc
import json
import pickle
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from celery.exceptions import TimeoutError as GetTimeout

from tests.kit import workers
from tests.kit.backend_contract import (
    OFTEN,
    PATIENCE,
    Contract,
    Place,
    current,
    fail,
    kinds,
    new_id,
    place_of,
    succeed,
)
from tests.kit.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery.result import AsyncResult


class TestUri(Contract):
    """What may be logged."""

    @pytest.fixture(
        params=[
            "redis://:hunter2@localhost:1/0",
            "db+postgresql+psycopg://user:hunter2@localhost:1/shop",
            "fullresult+postgresql://user:hunter2@localhost:1/shop",
            "fullresult+mongodb://user:hunter2@localhost:1/shop",
        ]
    )
    def secret(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_the_password_is_hidden(self, secret: str) -> None:
        """Opening connects to nothing; a worker's banner shows the URL."""
        with Celery("uri", set_as_current=False) as app:
            app.conf.update(
                broker_url="memory://",
                result_backend=secret,
                database_create_tables_at_setup=False,
            )

            shown = app.backend.as_uri()

        assert "hunter2" not in shown
        assert "localhost" in shown

    def test_a_password_in_the_storage_is_hidden(self) -> None:
        """`fullresult://` alone says not even where."""
        with Celery("uri", set_as_current=False) as app:
            app.conf.update(
                broker_url="memory://",
                result_backend="fullresult://",
                fullresult_storage="postgresql://user:hunter2@localhost:1/shop",
            )

            assert "hunter2" not in app.backend.as_uri()
            assert app.backend.as_uri().startswith("fullresult:")

    def test_of_a_working_one(self, app: Celery) -> None:
        assert isinstance(app.backend.as_uri(), str)
        assert app.backend.as_uri()


class TestPickling(Contract):
    """Results travel: to other processes, into caches, as arguments of tasks by pickle."""

    def carried(self, app: Celery, result: Any) -> Any:
        with current(app):
            return pickle.loads(pickle.dumps(result))

    def test_a_result(self, app: Celery) -> None:
        result: AsyncResult[Any] = app.AsyncResult(succeed(app, 1))

        with current(app):
            carried = self.carried(app, result)

            assert carried == result
            assert carried.get(timeout=5) == 1

    def test_a_result_that_is_to_come(self, app: Celery) -> None:
        with current(app):
            carried = self.carried(app, app.AsyncResult(new_id()))
            succeed(app, 1, carried.id)

            assert carried.get(timeout=PATIENCE) == 1

    def test_its_parents(self, app: Celery) -> None:
        result = app.AsyncResult("b", parent=app.AsyncResult("a"))

        assert self.carried(app, result).parent.id == "a"

    def test_a_group(self, app: Celery, place: Place) -> None:
        if place.kind == "redis":
            pytest.skip("its members wait in another backend than the group's, in vain")
        group = app.GroupResult("g", [app.AsyncResult(succeed(app, n)) for n in (1, 2)])

        with current(app):
            assert self.carried(app, group).get(timeout=5) == [1, 2]

    def test_a_copy(self, app: Celery) -> None:
        result = app.AsyncResult(succeed(app, 1))

        copied = copy.copy(result)

        assert copied == result
        assert copied.get(timeout=5) == 1

    def test_the_backend(self, app: Celery) -> None:
        """By its class and arguments; the copy works and is of the current app."""
        task_id = succeed(app, 1)

        with current(app):
            backend = self.carried(app, app.backend)

            assert type(backend) is type(app.backend)
            assert backend.get_result(task_id) == 1
        backend.forget(task_id)
        _close(backend)


def test_where_the_current_app_is_another_there_is_an_error_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Celery("shop", broker="memory://", set_as_current=False) as app:
        app.conf.update(
            result_backend="fullresult://", fullresult_storage=f"sqlite:///{tmp_path}/records.db"
        )
        pickled = pickle.dumps(app.backend)

    with Celery("other", set_as_current=False) as other, current(other):
        backend = pickle.loads(pickled)
        with pytest.raises(ImproperlyConfigured, match="'other' has neither FullResult nor"):
            backend.get_state("one")

    assert list(tmp_path.iterdir()) == []


def _close(backend: Any) -> None:
    """Close what redis's own backend leaves to the garbage collector."""
    if consumer := getattr(backend, "result_consumer", None):
        consumer.stop()
    if client := vars(backend).get("client"):
        client.close()


class TestSeveralApps:
    """Apps in one process keep their results apart, and together where their storage is one."""

    @pytest.fixture(params=kinds(*OFTEN))
    def places(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> Iterator[tuple[Place, Place]]:
        with (
            place_of(request.param, request, tmp_path / "one") as one,
            place_of(request.param, request, tmp_path / "two") as two,
        ):
            yield one, two

    def test_apart(self, places: tuple[Place, Place]) -> None:
        with places[0].app() as shop, places[1].app() as bank:
            task_id = succeed(shop, "shop")

            assert shop.AsyncResult(task_id).get(timeout=5) == "shop"
            assert bank.AsyncResult(task_id).state == "PENDING"
            succeed(bank, "bank", task_id)
            assert shop.AsyncResult(task_id).get(timeout=5) == "shop"

    def test_the_current_app_does_not_matter(self, places: tuple[Place, Place]) -> None:
        with places[0].app() as shop, places[1].app() as bank, current(bank):
            task_id = succeed(shop, "shop")
            group = shop.GroupResult(new_id(), [shop.AsyncResult(task_id)])
            group.save()

            assert shop.AsyncResult(task_id).get(timeout=5) == "shop"
            found = shop.GroupResult.restore(group.id, app=shop)
            assert found.get(timeout=5) == ["shop"]
            assert bank.AsyncResult(task_id).state == "PENDING"

    def test_together(self, places: tuple[Place, Place]) -> None:
        with places[0].app() as one, places[0].app() as other:
            task_id = new_id()

            with pytest.raises(GetTimeout):
                other.AsyncResult(task_id).get(timeout=0.1)
            succeed(one, 1, task_id)

            assert other.AsyncResult(task_id).get(timeout=PATIENCE) == 1

    def test_one_that_is_closed_disturbs_no_other(self, places: tuple[Place, Place]) -> None:
        with places[0].app() as staying:
            with places[0].app() as leaving:
                task_id = succeed(leaving, 1)
                assert leaving.AsyncResult(task_id).get(timeout=5) == 1

            assert staying.AsyncResult(task_id).get(timeout=5) == 1
            succeed(staying, 2)


class TestThreadsAndForks(Contract):
    """`app.backend` is one of each thread; what it opened is not for a child."""

    def test_another_thread_has_a_backend_that_works(self, app: Celery) -> None:
        task_id = succeed(app, 1)
        found: list[Any] = []

        def read() -> None:
            found.append(app.AsyncResult(task_id).get(timeout=5))
            succeed(app, 2, "from-a-thread")
            _close(app.backend)

        thread = threading.Thread(target=read)
        thread.start()
        thread.join(PATIENCE)

        assert found == [1]
        assert app.AsyncResult("from-a-thread").get(timeout=5) == 2

    def test_threads_that_come_and_go(self, app: Celery) -> None:
        """A server with a thread for each request: nothing piles up, nothing breaks."""
        found: list[Any] = []

        def read(task_id: str) -> None:
            found.append(app.AsyncResult(task_id).get(timeout=5))
            _close(app.backend)

        for n in range(30):
            thread = threading.Thread(target=read, args=(succeed(app, n),))
            thread.start()
            thread.join(PATIENCE)
        gc.collect()

        assert found == list(range(30))

    def test_a_child_after_a_fork(self, place: Place, tmp_path: Path) -> None:
        """Both go on, with connections of their own, though the parent has used its backend."""
        told = run_script(
            _FORKED, place.kind, _as_json(place), new_id(), directory=tmp_path, timeout=60
        )

        assert told == "child of a child 3"

    def test_a_child_forked_while_the_parent_waits(self, place: Place, tmp_path: Path) -> None:
        """A thread of the parent is within `get`: its locks must not be the child's."""
        if place.kind.startswith("database"):
            pytest.skip("hangs")
        told = run_script(
            _FORKED_WAITING, place.kind, _as_json(place), new_id(), directory=tmp_path, timeout=60
        )

        assert told == "seen by the parent"


def _as_json(place: Place) -> str:
    return json.dumps(place.settings)


_PRELUDE = """
import json, os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork with threads.
from celery import Celery
from fullresult import FullResult

kind, settings, task_id = sys.argv[1:]
app = Celery("forked")
app.conf.update(broker_url="memory://", **json.loads(settings))
if kind.startswith("fullresult"):
    FullResult(app).setup()

def in_child(work):
    "Do *work* in a child; fail where it fails."
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, f"the child failed: {code}"
"""
_FORKED = (
    _PRELUDE
    + """
app.backend.store_result(task_id + "0", "parent", "SUCCESS")
assert app.AsyncResult(task_id + "0").get(timeout=10) == "parent"

def child():
    assert app.AsyncResult(task_id + "0").get(timeout=10) == "parent"
    app.backend.store_result(task_id + "1", "child", "SUCCESS")
    def grandchild():
        assert app.AsyncResult(task_id + "1").get(timeout=10) == "child"
        app.backend.store_result(task_id + "2", "child of a child", "SUCCESS")
    in_child(grandchild)
    assert app.AsyncResult(task_id + "2").get(timeout=10) == "child of a child"

for _ in range(3):
    in_child(child)
    app.backend.store_result(task_id + "3", 3, "SUCCESS")
print(*(app.AsyncResult(task_id + n).get(timeout=10) for n in "23"))
sys.stdout.flush()
os._exit(0)
"""
)
_FORKED_WAITING = (
    _PRELUDE
    + """
seen = []
def wait():
    seen.append(app.AsyncResult(task_id).get(timeout=30))
waiter = threading.Thread(target=wait)
waiter.start()
time.sleep(0.5)
def child():
    app.backend.store_result(task_id + "1", 1, "SUCCESS")
    assert app.AsyncResult(task_id + "1").get(timeout=10) == 1
for _ in range(5):
    in_child(child)
app.backend.store_result(task_id, "seen by the parent", "SUCCESS")
waiter.join(30)
print(*seen)
sys.stdout.flush()
os._exit(0)
"""
)


class TestExpiry(Contract):
    """`result_expires`: by itself, or by the daily cleanup."""

    def test_a_result_expires(self, place: Place) -> None:
        with place.app(result_expires=timedelta(seconds=1)) as app:
            succeeded, failed = succeed(app, 1), fail(app, ValueError("x"))
            assert app.backend.get_task_meta(succeeded, cache=False)["status"] == "SUCCESS"

            def gone() -> bool:
                app.backend.cleanup()
                states = {
                    app.backend.get_task_meta(task_id, cache=False)["status"]
                    for task_id in (succeeded, failed)
                }
                return states == {"PENDING"}

            assert workers.until(gone, 10)

    def test_a_group_expires(self, place: Place) -> None:
        with place.app(result_expires=timedelta(seconds=1), result_cache_max=-1) as app:
            app.GroupResult("expiring", [app.AsyncResult(new_id())]).save()

            def gone() -> bool:
                app.backend.cleanup()
                return app.GroupResult.restore("expiring", app=app) is None

            assert workers.until(gone, 10)

    def test_what_is_younger_stays(self, place: Place) -> None:
        with place.app(result_expires=timedelta(days=1)) as app:
            task_id = succeed(app, 1)
            app.GroupResult("staying", [app.AsyncResult(task_id)]).save()

            app.tasks["celery.backend_cleanup"]()

            assert app.backend.get_task_meta(task_id, cache=False)["status"] == "SUCCESS"
            assert app.GroupResult.restore("staying", app=app) is not None

    def test_seconds_as_a_number(self, place: Place) -> None:
        if place.kind.startswith("database"):
            pytest.skip("Celery's takes a timedelta")
        with place.app(result_expires=3600) as app:
            task_id = succeed(app, 1)

            app.backend.cleanup()

            assert app.backend.get_task_meta(task_id, cache=False)["status"] == "SUCCESS"

    def test_never(self, place: Place) -> None:
        """`result_expires = None`."""
        if place.kind.startswith("database"):
            pytest.skip("Celery's fails in its cleanup")
        with place.app(result_expires=None) as app:
            task_id = succeed(app, 1)

            app.backend.cleanup()

            assert app.backend.get_task_meta(task_id, cache=False)["status"] == "SUCCESS"


class TestLifeCycle(Contract):
    """What Celery calls around a process's life."""

    def test_process_cleanup(self, app: Celery) -> None:
        """A pool's process calls it after each task; the backend goes on."""
        task_id = succeed(app, 1)

        app.backend.process_cleanup()

        assert app.AsyncResult(task_id).get(timeout=5) == 1

    def test_on_task_call_is_cheap_and_harmless(self, app: Celery) -> None:
        """It is called for each publish, before the task's message goes out."""
        task_id = new_id()

        app.backend.on_task_call(None, task_id)
        succeed(app, 1, task_id)

        assert app.AsyncResult(task_id).get(timeout=PATIENCE) == 1

    def test_ten_thousand_publishes_that_nobody_waits_for(self, place: Place) -> None:
        """A web server that never asks for its results must not grow by each of them."""
        if not place.ours:
            pytest.skip("redis subscribes to each until its result object is gone")
        with place.app() as app:
            app.backend.on_task_call(None, new_id())
            before = len(gc.get_objects())

            for _ in range(10_000):
                app.backend.on_task_call(None, new_id())

            gc.collect()
            assert len(gc.get_objects()) - before < 5_000

    def test_results_nobody_holds_are_let_go(self, place: Place) -> None:
        """After a `get` that gave up, nothing stays of the result."""
        if not place.ours:
            pytest.skip("redis keeps them until they are ready, as Celery 5.7 says itself")
        with place.app() as app:
            for _ in range(50):
                with pytest.raises(GetTimeout):
                    app.AsyncResult(new_id()).get(timeout=0.001)
            gc.collect()
            results = [o for o in gc.get_objects() if type(o) is app.AsyncResult]

            assert len(results) < 10
