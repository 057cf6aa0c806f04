"""What a result backend keeps beside a result: the task, its children, its group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from tests.kit.backend_contract import (
    Contract,
    Place,
    echo,
    fail,
    new_id,
    request_of,
    since,
    succeed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class TestExtended(Contract):
    """`result_extended`: name, args, kwargs, worker, retries and queue of every task."""

    @pytest.fixture
    def app(self, place: Place) -> Iterator[Celery]:
        with place.app(result_extended=True) as app:
            yield app

    def test_the_fields(self, app: Celery) -> None:
        task_id = succeed(
            app,
            3,
            task="shop.add",
            args=[1, "é", None],
            kwargs={"key": {"deep": [1.5]}},
            hostname="w7@test",
            retries=2,
            delivery_info={"routing_key": "orders"},
        )

        result = app.AsyncResult(task_id)

        assert result.get(timeout=1) == 3
        assert result.name == "shop.add"
        assert list(result.args) == [1, "é", None]
        assert result.kwargs == {"key": {"deep": [1.5]}}
        assert (result.worker, result.retries, result.queue) == ("w7@test", 2, "orders")

    def test_of_a_failure(self, app: Celery) -> None:
        result = app.AsyncResult(fail(app, ValueError("x"), task="shop.add", args=[1]))

        assert (result.name, list(result.args)) == ("shop.add", [1])

    def test_of_what_runs(self, app: Celery) -> None:
        task_id = new_id()
        request = request_of(task_id, task="shop.add", retries=1)
        app.backend.store_result(task_id, {"pid": 1}, "STARTED", request=request)

        result = app.AsyncResult(task_id)

        assert (result.name, result.retries, result.worker) == ("shop.add", 1, "w1@test")

    def test_without_a_request(self, app: Celery) -> None:
        """A result that a client stores has no task."""
        task_id = new_id()
        app.backend.store_result(task_id, 1, "SUCCESS")

        result = app.AsyncResult(task_id)

        assert (result.get(timeout=1), result.name) == (1, None)

    def test_with_a_poor_request(self, app: Celery) -> None:
        """Messages of other languages, and failures seen from outside, say little."""
        task_id = new_id()
        request = request_of(task_id, args=None, kwargs=None, hostname=None, delivery_info=None)
        app.backend.store_result(task_id, 1, "SUCCESS", request=request)

        assert app.AsyncResult(task_id).get(timeout=1) == 1

    @since(5, 7)
    def test_stamps(self, app: Celery) -> None:
        task_id = succeed(app, 1, stamped_headers=["order"], stamps={"order": "7"})

        meta = app.backend.get_task_meta(task_id, cache=False)

        assert meta["order"] == "7"
        assert list(meta["stamped_headers"]) == ["order"]


class TestFamily(Contract):
    """Children and groups."""

    def test_no_children(self, app: Celery) -> None:
        assert not app.AsyncResult(succeed(app, 1)).children

    def test_children(self, app: Celery) -> None:
        """In the order of their publishing, as results of this app."""
        children = [app.AsyncResult(new_id()) for _ in range(3)]
        task_id = succeed(app, 1, children=children)

        found = app.AsyncResult(task_id).children

        assert found == children
        assert all(child.app is app for child in found)

    def test_a_group_as_a_child(self, app: Celery) -> None:
        members = [app.AsyncResult(new_id()) for _ in range(3)]
        grouped = app.GroupResult(new_id(), members)
        task_id = succeed(app, 1, children=[grouped, app.AsyncResult("single")])

        found = app.AsyncResult(task_id).children

        assert found[0].id == grouped.id
        assert found[0].results == members
        assert found[1].id == "single"

    def test_a_group_in_a_group_as_a_child(self, app: Celery) -> None:
        inner = app.GroupResult(new_id(), [app.AsyncResult(new_id())])
        outer = app.GroupResult(new_id(), [inner, app.AsyncResult(new_id())])
        task_id = succeed(app, 1, children=[outer])

        (found,) = app.AsyncResult(task_id).children

        assert found == outer

    def test_a_child_with_a_parent(self, app: Celery) -> None:
        child = app.AsyncResult(new_id(), parent=app.AsyncResult("before"))
        task_id = succeed(app, 1, children=[child])

        (found,) = app.AsyncResult(task_id).children

        assert found.parent.id == "before"

    def test_children_of_a_failure(self, app: Celery) -> None:
        child = app.AsyncResult(new_id())

        result = app.AsyncResult(fail(app, ValueError("x"), children=[child]))

        assert result.children == [child]

    def test_the_tree_of_results(self, app: Celery) -> None:
        """`collect` walks it."""
        leaves = [succeed(app, n) for n in (1, 2)]
        inner = succeed(app, 3, children=[app.AsyncResult(leaf) for leaf in leaves])
        root = app.AsyncResult(succeed(app, 4, children=[app.AsyncResult(inner)]))

        values = [value for _, value in root.collect()]

        assert values == [4, 3, 1, 2]
        assert root.get_leaf() == 2

    def test_group_and_parent_are_in_the_meta(self, app: Celery, place: Place) -> None:
        """Database has no columns for them."""
        if not place.native:
            pytest.skip("no columns")
        task_id = succeed(app, 1, group="group-7", parent_id="parent-7")

        meta = app.backend.get_task_meta(task_id, cache=False)

        assert (meta["group_id"], meta["parent_id"]) == ("group-7", "parent-7")

    def test_results_as_lists_of_ids(self, app: Celery) -> None:
        result = app.AsyncResult("c", parent=app.AsyncResult("b", parent=app.AsyncResult("a")))

        assert result.as_list() == ["c", "b", "a"]


class TestIgnored(Contract):
    """Results that nobody wants are not kept; failures, if so asked."""

    def test_an_ignored_success_is_not_stored(self, app: Celery) -> None:
        task_id = succeed(app, 1, ignore_result=True)

        assert app.AsyncResult(task_id).state == "PENDING"

    def test_eager_results(self, place: Place) -> None:
        """`task_store_eager_result` has them stored as if they came from a worker."""
        with place.app(task_always_eager=True, task_store_eager_result=True) as app:
            task_id = app.task(name="contract.eager")(echo).delay({"told": True}).id

        with place.app() as reader:
            assert reader.AsyncResult(task_id).get(timeout=5) == {"told": True}

    def test_eager_results_that_are_not_stored(self, place: Place) -> None:
        """Ours shows the record, and eager tasks are recorded; Celery's know nothing."""
        with place.app(task_always_eager=True) as app:
            task_id = app.task(name="contract.eager")(echo).delay(1).id

        with place.app() as reader:
            assert reader.AsyncResult(task_id).result == (1 if place.ours else None)
