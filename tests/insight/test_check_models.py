"""Models of pydantic validate values in every place from which a task is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from celery import VERSION, Celery, chain, chord, group

from fullresult import FullResult
from fullresult.insight.check.findings import Finding

pytestmark = pytest.mark.skipif(VERSION < (5, 5), reason="Celery 5.5 brought models as arguments")
GOOD, BAD = {"number": 7}, {"number": "seven"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """Tasks that take a model: alone, and after what the step before them gives."""
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        number: int

    def take(order: Any) -> None:
        pass

    def then(before: Any, order: Any) -> None:
        pass

    def plain(*_: Any) -> None:
        pass

    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    app.conf.result_backend = "fullresult://"
    for function in (take, then):
        function.__annotations__["order"] = Order
        app.task(name=f"shop.{function.__name__}", shared=False, pydantic=True)(function)
    app.task(name="shop.plain", shared=False)(plain)
    with closing(FullResult(app)), closing(app):
        yield app


def signature(app: Celery, name: str, *args: Any, **kwargs: Any) -> Any:
    return app.signature(f"shop.{name}", args, kwargs, app=app)


def send(app: Celery, place: str, order: Any) -> None:
    """Publish what has a task with this *order* in that place."""
    then, take = signature(app, "then", order), signature(app, "take", order)
    if place == "link":
        app.send_task("shop.plain", link=then)
    elif place == "immutable link":
        app.send_task("shop.plain", link=signature(app, "take", order).set(immutable=True))
    elif place == "keyword":
        app.send_task("shop.plain", link=signature(app, "then", order=order))
    elif place == "errback":
        app.send_task("shop.plain", link_error=then)
    elif place == "chain step":
        chain(signature(app, "plain"), signature(app, "plain"), then, app=app).apply_async()
    elif place == "chord body":
        chord([signature(app, "plain")], app=app)(then)
    elif place == "group in a chain":
        inner = group([then, signature(app, "plain")], app=app)
        chain(signature(app, "plain"), inner, app=app).apply_async()
    elif place == "map":
        take.type.map([order]).apply_async()
    else:
        app.conf.beat_schedule = {
            "nightly": {"task": "shop.take", "schedule": 60.0, "args": (order,)}
        }


PLACES = (
    "link", "immutable link", "keyword", "errback", "chain step", "chord body",
    "group in a chain", "map", "periodic entry",
)  # fmt: skip


def refused(app: Celery) -> list[Finding]:
    full: FullResult = app.fullresult
    return [each for each in full.check().found if each.rule == "FR004"]


@pytest.mark.parametrize("place", PLACES)
def test_a_value_that_a_model_refuses_is_found_there(app: Celery, place: str) -> None:
    send(app, place, BAD)

    [found] = refused(app)

    name = "take" if place in ("immutable link", "map", "periodic entry") else "then"
    assert (found.level, found.task) == ("error", f"shop.{name}")
    assert "the value of `order` does not validate: number: " in found.problem
    assert found.problem.startswith("as ")
    assert found.place is not None


@pytest.mark.parametrize("place", PLACES)
def test_and_one_that_it_takes_is_not(app: Celery, place: str) -> None:
    send(app, place, GOOD)

    assert refused(app) == []


def test_what_is_redacted_in_a_link_is_said_not_to_be_checked(app: Celery) -> None:
    app.conf.fullresult_redact = ["order"]
    FullResult(app)
    send(app, "keyword", BAD)

    findings = app.fullresult.check()

    assert findings.found == []
    assert any("not checked by their models: they are redacted" in n for n in findings.notes)
