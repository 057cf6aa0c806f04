"""Results of every kind, through every serializer, as a result backend gives them back."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery import Celery
from celery.result import AsyncResult
from kombu.exceptions import ContentDisallowed, EncodeError

from tests.kit.backend_contract import Contract, Place, current, new_id, since, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIALIZERS = ["json", "pickle", "yaml", "msgpack"]
COMPRESSES = celery.VERSION[:2] >= (5, 7)

PLAIN: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "empty text": "",
    "text": "one",
    "unicode": "é ☃ 😀 ﷽ \u200f",
    "NUL": "a\x00b",
    "NUL as escaped": "a\\u0000b",
    "control characters": "".join(map(chr, range(1, 32))),
    "quotes": "'\"`\\ %s %(x)s $1 ? :id {0}",
    "float": 0.1 + 0.2,
    "greatest float": 1.7976931348623157e308,
    "least float": 5e-324,
    "float that is whole": 1.0,
    "beyond what a float holds": 2**53 + 1,
    "64 bits": 2**63 - 1,
    "64 bits, negative": -(2**63),
    "list": [1, "two", None, [3.5, []]],
    "dict": {"a": 1, "b": {"c": [None, {}]}},
    "empty list": [],
    "empty dict": {},
    "keys that databases know": {"$set": 1, "a.b": 2, "": 3, "_id": 4, "__proto__": 5, "%s": 6},
    "keys with NUL": {"a\x00b": 1},
    "an exception's likeness": {
        "exc_type": "ValueError",
        "exc_message": ["x"],
        "exc_module": "builtins",
    },
    "a result's likeness": [["not-an-id", None], None],
    "a forced result's likeness": {"value": "1", "forced_json": True},
    "a meta's likeness": {"status": "FAILURE", "result": 1, "traceback": None, "children": []},
    "a message's likeness": {"new_task_id": "1"},
    "text that is JSON": '{"a": [1, 2]}',
    "text that is no JSON": "{'a': }",
    "text like a date": "2024-02-29T00:00:00+00:00",
    "deep": [[[[[[[[[[[[[[[[[[[[{"deep": True}]]]]]]]]]]]]]]]]]]]],
}
JSON_ONLY: dict[str, Any] = {
    "big int": 2**200,
    "lone surrogate": "\ud800",
    "infinity": math.inf,
    "bytes": b"\x00\xff",
    "aware datetime": datetime(2024, 2, 29, 12, 30, 1, 123456, tzinfo=timezone.utc),
    "datetime with an offset": datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5))),
    "naive datetime": datetime(2024, 2, 29, 12, 30, 1, 123456),  # noqa: DTZ001
    "date": date(2024, 2, 29),
    "Decimal": Decimal("1.10"),
    "UUID": uuid.UUID("12345678-1234-5678-1234-567812345678"),
}


@dataclass(frozen=True)
class Money:
    """What only pickle can carry."""

    amount: Decimal
    currency: str


PICKLE_ONLY: dict[str, Any] = {
    "tuple": (1, (2,)),
    "set": {1, 2},
    "complex": 1 + 2j,
    "bytes": b"\x80\x04\x00",
    "time": time(12, 30),
    "timedelta": timedelta(days=1, microseconds=1),
    "own class": Money(Decimal("9.99"), "EUR"),
    "class": Money,
    "keys that are no text": {1: "a", None: "b", (1, 2): "c"},
    "exception as a value": [ValueError],
    "lone surrogate": "\ud800",
    "big int": 2**200,
}


def serializing(serializer: str) -> dict[str, Any]:
    accept = ["json", serializer]
    return {
        "result_serializer": serializer,
        "result_accept_content": accept,
        "accept_content": accept,
    }


def got(app: Celery, place: Place, value: Any, **settings: Any) -> Any:
    """*value* as another process reads it: by another app, which has not seen it yet."""
    task_id = succeed(app, value)
    with place.app(**settings) as reader:
        return reader.AsyncResult(task_id).get(timeout=5)


def alike(left: Any, right: Any) -> bool:
    """Equal, and of the same types within."""
    if type(left) is not type(right) or left != right:
        return False
    if isinstance(left, dict):
        return all(alike(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return all(map(alike, left, right))
    return repr(left) == repr(right) or isinstance(left, set)


class TestEverySerializer(Contract):
    """What every serializer holds comes back as it was."""

    @pytest.fixture(params=SERIALIZERS)
    def settings(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return serializing(request.param)

    @pytest.fixture
    def app(self, place: Place, settings: dict[str, Any]) -> Iterator[Celery]:
        with place.app(**settings) as app:
            yield app

    def test_plain_values(self, app: Celery, place: Place, settings: dict[str, Any]) -> None:
        ids = {name: succeed(app, value) for name, value in PLAIN.items()}

        with place.app(**settings) as reader:
            results = {name: reader.AsyncResult(ids[name]).get(timeout=5) for name in PLAIN}

        wrong = {name: r for name, r in results.items() if not alike(r, PLAIN[name])}
        assert not wrong

    def test_minus_zero(self, app: Celery, place: Place, settings: dict[str, Any]) -> None:
        result = got(app, place, -0.0, **settings)

        assert math.copysign(1, result) == -1

    def test_the_order_of_a_dict(self, app: Celery, place: Place, settings: dict[str, Any]) -> None:
        """YAML writes keys in their own order, as Celery's own backends show."""
        if settings["result_serializer"] == "yaml":
            pytest.skip("YAML sorts")
        names = [f"{n * 7919 % 100}" for n in range(100)]

        result = got(app, place, dict.fromkeys(names), **settings)

        assert list(result) == names

    def test_not_a_number(self, app: Celery, place: Place, settings: dict[str, Any]) -> None:
        result = got(app, place, [math.nan, -math.inf], **settings)

        assert math.isnan(result[0])
        assert result[1] == -math.inf

    def test_a_megabyte(self, app: Celery, place: Place, settings: dict[str, Any]) -> None:
        """Longer than what a record shows of it."""
        if settings["result_serializer"] == "yaml":
            pytest.skip("YAML takes a minute")
        value = ["é☃" * 1000] * 600

        assert got(app, place, value, **settings) == value

    def test_bytes(self, app: Celery, place: Place, settings: dict[str, Any]) -> None:
        value = bytes(range(256))

        assert got(app, place, value, **settings) == value


class TestJson(Contract):
    """What kombu's JSON adds to JSON."""

    @pytest.mark.parametrize("name", JSON_ONLY)
    def test_values(self, app: Celery, place: Place, name: str) -> None:
        assert alike(got(app, place, JSON_ONLY[name]), JSON_ONLY[name])

    def test_a_tuple_is_a_list(self, app: Celery, place: Place) -> None:
        assert got(app, place, (1, (2, 3))) == [1, [2, 3]]

    def test_keys_are_texts(self, app: Celery, place: Place) -> None:
        assert got(app, place, {2: "a", None: "b", True: "c"}) == {
            "2": "a",
            "null": "b",
            "true": "c",
        }

    def test_three_megabytes(self, app: Celery, place: Place) -> None:
        """A record may be cut; a result is whole."""
        value = {"rows": ["x" * 1000] * 3000}

        assert got(app, place, value) == value

    def test_many_small_parts(self, app: Celery, place: Place) -> None:
        value = [{"n": n, "name": f"row {n}", "ok": None} for n in range(20_000)]

        assert got(app, place, value) == value

    def test_a_result_as_a_result(self, app: Celery, place: Place) -> None:
        """A task that returns an `AsyncResult`: what `result_from_tuple` takes."""
        assert got(app, place, app.AsyncResult("child")) == [["child", None], None]

    def test_a_group_as_a_result(self, app: Celery, place: Place) -> None:
        members = [app.AsyncResult("one"), app.AsyncResult("two")]

        result = got(app, place, app.GroupResult("group", members))

        assert result == [["group", None], [[["one", None], None], [["two", None], None]]]

    def test_what_has_its_own_json(self, app: Celery, place: Place) -> None:
        """Objects with `__json__` say themselves what they are."""

        class Point:
            def __json__(self) -> dict[str, int]:
                return {"x": 1}

        assert got(app, place, Point()) == {"x": 1}


class TestPickle(Contract):
    """What only pickle can carry."""

    @pytest.fixture
    def app(self, place: Place) -> Iterator[Celery]:
        with place.app(**serializing("pickle")) as app:
            yield app

    @pytest.mark.parametrize("name", PICKLE_ONLY)
    def test_values(self, app: Celery, place: Place, name: str) -> None:
        result = got(app, place, PICKLE_ONLY[name], **serializing("pickle"))

        assert alike(result, PICKLE_ONLY[name])

    def test_a_result_as_a_result(self, app: Celery, place: Place) -> None:
        """It comes back as what it was, and can be asked."""
        child = app.AsyncResult(succeed(app, 7))

        with current(app):
            result = got(app, place, child, **serializing("pickle"))

            assert result == child
            assert result.get(timeout=5) == 7

    def test_it_is_loaded_only_where_it_is_accepted(self, app: Celery, place: Place) -> None:
        """Whoever can write to the storage cannot run code in the reader."""
        if place.kind.startswith("database"):
            pytest.skip("Celery's falls back to pickle, accepted or not")
        task_id = succeed(app, Money(Decimal(1), "EUR"))
        settings = {**serializing("pickle"), "result_accept_content": ["json"]}

        with place.app(**settings) as reader:
            result = reader.AsyncResult(task_id)
            with pytest.raises(ContentDisallowed):
                result.get(timeout=1)


class TestWhatCannotBeEncoded(Contract):
    """It is refused as Celery's backends refuse it, and nothing is stored."""

    def test_an_object(self, app: Celery) -> None:
        task_id = new_id()

        with pytest.raises(EncodeError):
            app.backend.store_result(task_id, object(), "SUCCESS")

        assert app.AsyncResult(task_id).state == "PENDING"

    def test_an_object_within(self, app: Celery) -> None:
        with pytest.raises(EncodeError):
            succeed(app, {"rows": [1, {2, 3}, object()]})

    def test_a_circle(self, app: Celery) -> None:
        circle: list[Any] = []
        circle.append(circle)

        with pytest.raises((EncodeError, RecursionError)):
            succeed(app, circle)

    def test_what_cannot_be_pickled(self, place: Place) -> None:
        with place.app(**serializing("pickle")) as app, pytest.raises(EncodeError):
            succeed(app, lambda: None)

    def test_what_msgpack_cannot_hold(self, place: Place) -> None:
        with place.app(**serializing("msgpack")) as app, pytest.raises(EncodeError):
            succeed(app, 2**64)

    def test_meta_of_a_state(self, app: Celery) -> None:
        task_id = new_id()
        app.backend.store_result(task_id, {"done": 1}, "PROGRESS")

        with pytest.raises(EncodeError):
            app.backend.store_result(task_id, object(), "PROGRESS")

        assert app.AsyncResult(task_id).info == {"done": 1}

    def test_the_failure_can_be_stored_instead(self, app: Celery) -> None:
        """It is what a worker does next: the same attempt ends as a failure."""
        task_id = new_id()
        with pytest.raises(EncodeError) as caught:
            succeed(app, object(), task_id)

        app.backend.mark_as_failure(task_id, caught.value)

        assert isinstance(app.AsyncResult(task_id).result, EncodeError)


class TestSettings(Contract):
    """Two apps of different settings on one storage."""

    @since(5, 7)
    @pytest.mark.filterwarnings("ignore:The .* result backend cannot store compressed:UserWarning")
    def test_compression(self, place: Place) -> None:
        """Where a backend cannot, it says so, and stores the result as it is."""
        value = "x" * 100_000
        with place.app(result_compression="gzip") as app:
            assert got(app, place, value) == value

    def test_results_of_before_are_read_after(self, place: Place) -> None:
        """With the extended fields switched on, and off again."""
        with place.app() as before:
            old = succeed(before, 1)
        with place.app(result_extended=True) as after:
            new = succeed(after, 2)
            assert after.AsyncResult(old).get(timeout=1) == 1
        with place.app() as again:
            assert again.AsyncResult(new).get(timeout=1) == 2

    def test_an_id_of_its_own_type_of_result(self, app: Celery) -> None:
        """`app.AsyncResult` and the class itself read the same."""
        task_id = succeed(app, 3)

        assert AsyncResult(task_id, app=app).get(timeout=1) == 3
