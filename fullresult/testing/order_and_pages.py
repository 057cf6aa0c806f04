"""The suite: order, pages, counting and deleting."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

import pytest

from fullresult.record import TaskRecord
from fullresult.storage import Storage, TaskQuery
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, ids, known, write

Order = Literal["newest", "oldest"]

ORDERS: tuple[Order, ...] = ("newest", "oldest")


def crowd() -> list[TaskRecord]:
    """20 tasks in 4 milliseconds, with ids in no alphabetical order."""
    names = "zZaAéE中🎉_%-.0~ \\'\"|:"
    return [samples.task(f"{name}{n}", samples.after(n % 4)) for n, name in enumerate(names)]


def sort_key(record: TaskRecord) -> tuple[object, str]:
    return record.date_created, record.task_id


class Paging(Fixtures):
    @pytest.mark.parametrize("order", ORDERS)
    def test_records_are_in_the_order_of_creation_then_of_their_ids(
        self, storage: Storage, order: Order
    ) -> None:
        write(storage, crowd())

        found = storage.find(TaskQuery(order=order))

        assert ids(found) == ids(sorted(crowd(), key=sort_key, reverse=order == "newest"))

    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("limit", [1, 3, 20, 21])
    def test_pages_have_every_record_once(self, storage: Storage, limit: int, order: Order) -> None:
        write(storage, crowd())
        query = TaskQuery(limit=limit, order=order)

        assert self.pages(storage, query) == ids(storage.find(replace(query, limit=None)))

    def test_pages_have_what_a_filter_asks_for(self, storage: Storage) -> None:
        others = [samples.task(f"x{n}", samples.after(n % 4), queue="q") for n in range(10)]
        write(storage, [*crowd(), *others])

        found = self.pages(storage, TaskQuery(limit=3, queue="q", state="SUCCESS"))

        assert sorted(found) == ids(others)

    @pytest.mark.parametrize("order", ORDERS)
    def test_pages_have_every_record_once_while_others_arrive(
        self, storage: Storage, order: Order
    ) -> None:
        write(storage, crowd())
        query, found = TaskQuery(limit=3, order=order), list[str]()

        while page := storage.find(query):
            found += ids(page)
            query = replace(query, after=page[-1].cursor)
            if len(found) < 10:
                write(storage, [samples.task(f"new {len(found)}", samples.after(9))])
                write(storage, [samples.task(f"old {len(found)}", samples.after(-9))])

        assert len(found) == len(set(found))
        assert {*ids(crowd())} <= {*found}

    @pytest.mark.parametrize("at", [samples.EPOCH, samples.LATEST], ids=str)
    def test_a_page_may_begin_at_any_date(self, storage: Storage, at: datetime) -> None:
        write(storage, [samples.task(name, at) for name in "abc"])

        assert self.pages(storage, TaskQuery(limit=1)) == ["c", "b", "a"]

    def test_a_page_may_begin_after_a_record_that_is_gone(self, storage: Storage) -> None:
        write(storage, [samples.task(name) for name in "abc"])
        cursor = known(storage, "b").cursor
        storage.delete(TaskQuery(text="b"))

        assert ids(storage.find(TaskQuery(after=cursor))) == ["a"]
        assert ids(storage.find(TaskQuery(after=cursor, order="oldest"))) == ["c"]

    def test_limit_is_at_most_so_many(self, storage: Storage) -> None:
        write(storage, [samples.task(f"{n:03}") for n in range(150)])

        assert len(storage.find(TaskQuery())) == 100
        assert ids(storage.find(TaskQuery(limit=2))) == ["149", "148"]
        assert storage.find(TaskQuery(limit=0)) == []
        assert len(storage.find(TaskQuery(limit=None))) == 150

    def test_count_heeds_neither_limit_nor_after(self, storage: Storage) -> None:
        write(storage, [samples.task(f"{n:03}") for n in range(150)])
        cursor = known(storage, "075").cursor

        assert storage.count(TaskQuery()) == 150
        assert storage.count(TaskQuery(limit=2, after=cursor, order="oldest")) == 150
        assert storage.count(TaskQuery(limit=2, text="07")) == 12

    def test_delete_deletes_what_a_query_finds(self, storage: Storage) -> None:
        write(storage, [samples.task(name, queue=name) for name in ("a", "b", "c")])

        deleted = storage.delete(TaskQuery(queue="b"))

        assert deleted == 1
        assert ids(storage.find(TaskQuery())) == ["c", "a"]
        assert storage.get("b") is None

    def test_delete_deletes_the_page_that_find_would_answer(self, storage: Storage) -> None:
        write(storage, [samples.task(name) for name in "abcdef"])
        after_b = known(storage, "b").cursor

        assert storage.delete(TaskQuery(limit=2, after=after_b, order="oldest")) == 2
        assert ids(storage.find(TaskQuery(order="oldest"))) == ["a", "b", "e", "f"]
        assert storage.delete(TaskQuery(limit=0)) == 0
        assert storage.delete(TaskQuery(queue="none")) == 0
        assert storage.delete(TaskQuery(kwargs={"a {found}": "{} %s ?"})) == 0
        assert storage.delete(TaskQuery(limit=None)) == 4
        assert storage.find(TaskQuery()) == []

    def test_delete_deletes_entries_too(self, storage: Storage) -> None:
        entries = (samples.entry(),)
        write(storage, [samples.task(name, entries=entries, queue=name) for name in "ab"])

        storage.delete(TaskQuery(queue="a"))
        storage.write([samples.task("a")])

        assert known(storage, "a").entries == ()
        assert known(storage, "b").entries == entries

    @staticmethod
    def pages(storage: Storage, query: TaskQuery) -> list[str]:
        found: list[str] = []
        while page := storage.find(query):
            assert len(page) <= (query.limit or 0)
            found += ids(page)
            query = replace(query, after=page[-1].cursor)
        return found
