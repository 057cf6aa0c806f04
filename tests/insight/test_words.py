"""A record in few words, made at the price of one look at its body."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult.insight.document import document
from fullresult.insight.words import call
from fullresult.record import TaskRecord, encoding
from tests.kit import browsing
from tests.kit.commands import run
from tests.kit.scheduling import app_on


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with app_on({"broker_url": "memory://"}, f"sqlite:///{tmp_path / 'records.db'}") as app:
        yield app


@pytest.fixture
def record(app: Celery) -> TaskRecord:
    app.send_task("shop.charge", (7, "ada"), {"amount": 3}, task_id="a")
    found = app.fullresult.get("a")
    assert isinstance(found, TaskRecord)
    return found


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    """The bodies that were decoded."""
    seen: list[bytes | None] = []
    decode = encoding.decode_body

    def counting(body: bytes | None, *how: Any) -> Any:
        seen.append(body)
        return decode(body, *how)

    monkeypatch.setattr(encoding, "decode_body", counting)
    return seen


def test_arguments_are_both_of_them(record: TaskRecord) -> None:
    assert record.arguments == ([7, "ada"], {"amount": 3})
    assert record.arguments == (record.args, record.kwargs)


def test_a_call_is_told_with_its_arguments(record: TaskRecord) -> None:
    assert call(record) == "shop.charge(7, 'ada', amount=3)"


def test_a_call_with_many_arguments_says_that_there_are_more(app: Celery) -> None:
    app.send_task("shop.sum", (1,) * 21, {"a": 1}, task_id="a")
    app.send_task("shop.sum", (), {f"k{i}": i for i in range(21)}, task_id="b")

    assert call(app.fullresult.get("a")).endswith("1, 1, …, a=1)")
    assert call(app.fullresult.get("b")).endswith("k19=19, …)")


@pytest.mark.parametrize("tell", [call, document])
def test_a_body_is_decoded_once(
    record: TaskRecord, decodes: list[bytes | None], tell: Callable[[TaskRecord], object]
) -> None:
    tell(record)

    assert len(decodes) == 1


@pytest.mark.usefixtures("record")
def test_a_listing_decodes_each_body_once(app: Celery, decodes: list[bytes | None]) -> None:
    for _ in range(4):
        app.send_task("shop.charge", (7,), {"amount": 3})

    run(app, "list")

    assert len(decodes) == 5


def test_the_document_has_no_arguments_twice(record: TaskRecord) -> None:
    found = document(record)

    assert (found["args"], found["kwargs"]) == ([7, "ada"], {"amount": 3})
    assert "arguments" not in found


@pytest.mark.usefixtures("record")
def test_the_page_of_a_task_decodes_its_body_twice_at_most(
    app: Celery, decodes: list[bytes | None]
) -> None:
    """Once to show it, and once to find out whether it can be sent again."""
    browser = browsing.entered(app)
    decodes.clear()  # The list, which is the first page, shows the call, too.

    browser.get("/task?id=a")

    assert len(decodes) <= 2
