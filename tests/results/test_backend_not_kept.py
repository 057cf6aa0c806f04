"""A result of which the record keeps only a text for people: the value or an error, never the text.

So are results that the storage refused, and those of tasks that ran with another result backend.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import BackendGetMetaError, ChordError

from tests.kit.backend_contract import OURS, Contract, Place, echo, kinds, new_id, place_of, succeed
from tests.kit.backend_contract import request_of as request_for
from tests.results.test_backend_chords import Header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

LONG = "x" * 5_000


class TestNotKept(Contract):
    @pytest.fixture(scope="class", params=kinds(OURS[0], rarely=OURS[1:]))
    @classmethod
    def place(
        cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Place]:
        with place_of(request.param, request, tmp_path_factory.mktemp("backend")) as place:
            yield place

    @pytest.mark.parametrize(
        ("value", "settings"),
        [
            pytest.param(LONG, {"fullresult_max_text": 1_000}, id="cut"),
            pytest.param({1, 2}, {"result_serializer": "pickle"}, id="repr"),
            pytest.param({1, 2}, {"fullresult_force_json": True}, id="forced"),
        ],
    )
    def test_a_text_for_people_is_not_given_as_the_result(
        self, place: Place, value: Any, settings: dict[str, Any]
    ) -> None:
        with recorded(place, value, settings) as (app, task_id):
            result = app.AsyncResult(task_id)

            for ask in (
                result.get,
                app.AsyncResult(task_id).get,
                app.GroupResult("g", [result]).get,
                app.GroupResult("g", [result]).join,
            ):
                with pytest.raises(BackendGetMetaError, match=f"{task_id}.* not kept"):
                    ask()
            assert isinstance(result.result, BackendGetMetaError)
            assert result.state == "SUCCESS"
            assert result.ready()
            assert result.successful()
            assert result.children is None

    def test_what_follows_in_a_chain_has_its_result(self, place: Place) -> None:
        with recorded(place, LONG, {"fullresult_max_text": 1_000}) as (app, task_id):
            first = app.AsyncResult(task_id)
            with pytest.raises(BackendGetMetaError):
                first.get(timeout=5)

            last = app.AsyncResult(succeed(app, 3), parent=first)

            assert last.get(timeout=5) == 3

    @pytest.mark.parametrize("value", [{"a": [1]}, "NUL \x00", float("inf"), None])
    def test_what_the_record_has_as_json_is_given(self, place: Place, value: Any) -> None:
        with recorded(place, value, {}) as (app, task_id):
            assert app.AsyncResult(task_id).get(timeout=5) == value

    def test_a_chord_with_such_a_member_fails_and_says_so(self, place: Place) -> None:
        with place.app(fullresult_max_text=1_000, task_default_queue=new_id()) as app:
            app.task(name="contract.member")(echo)
            app.task(name="contract.body")(echo)
            header = Header(app, 2)
            _record(app, header.requests[0], LONG)
            app.backend.chords.member_ended(header.requests[0], None)

            header.tell(1)

            assert header.bodies() == []
            with pytest.raises(ChordError, match="not kept"):
                header.result.get(timeout=5, follow_parents=False)


@contextmanager
def recorded(place: Place, value: Any, settings: dict[str, Any]) -> Iterator[tuple[Celery, str]]:
    """An app, and a task of it that succeeded with *value* and another result backend."""
    with place.app(**settings) as app:
        task_id = new_id()
        _record(app, request_for(task_id), value)
        yield app, task_id


def _record(app: Celery, request: Any, value: Any) -> None:
    recorder = app.fullresult.parts.recorder
    recorder.succeeded(request, "contract.task", value, 0.1, ignored=False)
