"""The suite: how messages call their tasks, told apart and counted, if a storage does so."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from fullresult.record import PENDING, PROTOCOL_1, STARTED, SUCCESS, Shape, TaskRecord
from fullresult.storage import ShapeStorage, Storage, TaskQuery
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, write

_EMBED: dict[str, object] = {
    "callbacks": [{"task": "shop.mail", "args": [], "kwargs": {}, "subtask_type": None}]
}


def called(number: int) -> TaskRecord:
    """A record whose message calls its task in one of some ways."""
    chance = random.Random(number)
    args = chance.choice([[], [1], ["é", None]])
    kwargs = chance.choice([{}, {"z": 1, "a": [2]}, {"é": None}, {"$ref": 2**70, "b.c": 1}])
    record = samples.task(
        f"{number}",
        samples.after(chance.randrange(1_000)),
        state=chance.choice([PENDING, STARTED, SUCCESS]),
        name=chance.choice(["shop.pay", "é", None]),
        queue=chance.choice(["mail", None]),
        eta=chance.choice([None, samples.after(90_000)]),
    )
    assert record.message is not None
    how = chance.choice([{}, {"compression": "zlib"}])
    message = record.message._replace(
        args=json.dumps(args),
        kwargs=json.dumps(kwargs),
        embed=None,
        body=json.dumps([args, kwargs, {}]).encode(),
        content_type="application/json",
        content_encoding="utf-8",
        properties=json.dumps(how),
    )
    lost = message._replace(args=None, kwargs=None, body=None)
    old = lost._replace(args="[1]", kwargs="{}", notes=json.dumps({"body": PROTOCOL_1}))
    return replace(record, message=chance.choice([message, message, lost, old]))


def linked(number: int) -> TaskRecord:
    """One that carries another task."""
    record = called(number)
    assert record.message is not None
    body = json.dumps([[], {}, _EMBED]).encode()
    message = record.message._replace(
        body=body, content_type="application/json", content_encoding="utf-8"
    )
    return replace(record, task_id=f"linked-{number}", message=message)


def told_apart(shape: Shape) -> Shape:
    """What a storage and `Shape.of` must agree on."""
    return shape._replace(number=0, example="", newest=samples.NOON, first_due=None)


class Shapes(Fixtures):
    """What `ShapeStorage` promises."""

    @pytest.fixture
    def counting_shapes(self, storage: Storage) -> ShapeStorage:
        if not isinstance(storage, ShapeStorage):
            pytest.skip("this storage counts no shapes")
        return storage

    def test_shapes_are_those_of_the_records(
        self, storage: Storage, counting_shapes: ShapeStorage
    ) -> None:
        records = [called(number) for number in range(200)]
        write(storage, records)
        expected: Counter[Shape] = Counter(told_apart(Shape.of(record)) for record in records)

        page = counting_shapes.shapes(TaskQuery(limit=1_000, order="oldest"))

        assert {told_apart(shape): shape.number for shape in page.shapes} == dict(expected)
        assert page.apart == ()
        by_id = {record.task_id: record for record in records}
        for shape in page.shapes:
            of_it = [r for r in records if told_apart(Shape.of(r)) == told_apart(shape)]
            assert told_apart(Shape.of(by_id[shape.example])) == told_apart(shape)
            assert shape.newest == max(r.date_created for r in of_it)
            assert shape.first_due == min(filter(None, (r.eta for r in of_it)), default=None)

    def test_pages_of_shapes_count_each_record_once(
        self, storage: Storage, counting_shapes: ShapeStorage
    ) -> None:
        write(storage, (called(number) for number in range(50)))
        query = TaskQuery(state=[PENDING, STARTED], limit=7, order="oldest")
        counted = 0

        while (page := counting_shapes.shapes(query)).after is not None:
            counted += sum(shape.number for shape in page.shapes)
            query = replace(query, after=page.after)

        assert counted == storage.count(query)

    def test_what_carries_other_tasks_is_named_and_not_counted(
        self, storage: Storage, counting_shapes: ShapeStorage
    ) -> None:
        apart = [linked(number) for number in range(5)]
        write(storage, [*(called(number) for number in range(20)), *apart])
        query = TaskQuery(limit=1_000, order="oldest")

        page = counting_shapes.shapes(query)

        assert sum(shape.number for shape in page.shapes) == 20
        assert sorted(page.apart) == sorted(record.task_id for record in apart)

    def test_without_records_there_are_no_shapes(self, counting_shapes: ShapeStorage) -> None:
        page = counting_shapes.shapes(TaskQuery(limit=10, order="oldest"))

        assert page == ((), (), None)
