"""Groups that are saved in a result backend, and restored."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.result import GroupResult

from tests.kit.backend_contract import Contract, Place, current, new_id, succeed


def saved(app: Celery, *values: object) -> GroupResult:
    """A saved group of tasks that returned *values*."""
    members = [app.AsyncResult(succeed(app, value)) for value in values]
    result = app.GroupResult(new_id(), members)
    result.save()
    return result


def restored(app: Celery, group_id: str) -> GroupResult | None:
    return app.GroupResult.restore(group_id, app=app)


class TestGroups(Contract):
    def test_restore(self, app: Celery, place: Place) -> None:
        result = saved(app, 1, 2, 3)

        with place.app() as other:
            found = restored(other, result.id)
            assert found is not None
            assert found.id == result.id
            assert [member.id for member in found] == [member.id for member in result]
            assert found.get(timeout=5) == [1, 2, 3]

    def test_restore_what_nobody_knows(self, app: Celery) -> None:
        assert restored(app, new_id()) is None

    def test_delete(self, app: Celery, place: Place) -> None:
        """The members' own results stay."""
        result = saved(app, 1)

        result.delete()

        assert restored(app, result.id) is None
        with place.app() as other:
            assert restored(other, result.id) is None
        assert result[0].get(timeout=1) == 1

    def test_delete_what_nobody_knows(self, app: Celery) -> None:
        app.GroupResult(new_id(), []).delete()

    def test_groups_in_groups(self, app: Celery, place: Place) -> None:
        inner = app.GroupResult(new_id(), [app.AsyncResult(succeed(app, n)) for n in (1, 2)])
        outer = app.GroupResult(new_id(), [inner, app.AsyncResult(succeed(app, 3))])
        outer.save()

        with place.app() as other:
            found = restored(other, outer.id)
            assert found == outer
            assert found.get(timeout=5) == [[1, 2], 3]

    def test_its_parents(self, app: Celery, place: Place) -> None:
        first = app.AsyncResult(new_id())
        second = app.AsyncResult(new_id(), parent=first)
        result = app.GroupResult(new_id(), [app.AsyncResult(new_id())], parent=second)
        result.save()

        with place.app() as other:
            found = restored(other, result.id)
            assert found is not None
            assert found.parent.as_list() == [second.id, first.id]

    def test_of_nothing(self, app: Celery, place: Place) -> None:
        result = saved(app)

        with place.app() as other:
            found = restored(other, result.id)
            assert found is not None
            assert list(found) == []

    def test_of_a_thousand(self, app: Celery, place: Place) -> None:
        members = [app.AsyncResult(new_id()) for _ in range(1000)]
        result = app.GroupResult(new_id(), members)
        result.save()

        with place.app() as other:
            found = restored(other, result.id)
            assert found is not None
            assert [member.id for member in found] == [member.id for member in members]

    def test_save_again(self, app: Celery, place: Place) -> None:
        """The later is true. Celery's database backend refuses it: the id is unique."""
        if not place.native:
            pytest.skip("IntegrityError")
        result = saved(app, 1)
        result.add(app.AsyncResult(succeed(app, 2)))

        result.save()

        with place.app() as other:
            found = restored(other, result.id)
            assert found is not None
            assert found.get(timeout=5) == [1, 2]

    def test_a_group_and_a_task_may_share_an_id(self, app: Celery) -> None:
        """They are kept apart: forgetting one leaves the other."""
        result = saved(app, 1)
        succeed(app, "task", result.id)

        app.backend.forget(result.id)

        assert restored(app, result.id) == result

    def test_pickled_settings(self, place: Place) -> None:
        """Groups go through the result serializer, whichever it is."""
        accept = ["json", "pickle"]
        with (
            place.app(result_serializer="pickle", result_accept_content=accept) as app,
            current(app),
        ):
            members = [app.AsyncResult(new_id()) for _ in range(2)]
            app.GroupResult("pickled", members).save()

            found = restored(app, "pickled")

        assert found is not None
        assert [member.id for member in found] == [member.id for member in members]

    def test_a_restored_group_waits(self, app: Celery, place: Place) -> None:
        members = [app.AsyncResult(new_id()) for _ in range(3)]
        app.GroupResult("waiting", members).save()

        with place.app() as other:
            found = restored(other, "waiting")
            assert found is not None
            assert not found.ready()
            for n, member in enumerate(members):
                succeed(app, n, member.id)
            assert found.get(timeout=10) == [0, 1, 2]
