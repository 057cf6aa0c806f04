"""Models of pydantic validate values in every place from which a task is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

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

    def errback(request: Any, error: Any, traceback: Any, order: Any) -> None:
        pass

    def plain(*_: Any) -> None:
        pass

    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    app.conf.result_backend = "fullresult://"
    for function in (take, then, errback):
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
        app.send_task("shop.plain", link_error=signature(app, "errback", order))
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

    alone = place in ("immutable link", "map", "periodic entry")
    name = "take" if alone else "errback" if place == "errback" else "then"
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


def test_none_is_refused_where_it_may_not_stand_for_the_model(app: Celery) -> None:
    app.send_task("shop.take", (None,))

    (found,) = refused(app)
    assert "the value of `order` does not validate" in found.problem


def strictly(value: Any, info: Any) -> Any:
    """Takes what the task's own context names, and nothing else."""
    if value not in info.context["known"]:
        raise ValueError(f"{value} is not known to {info.context['celery_task_name']}")
    return value


def test_values_are_validated_as_the_task_has_it_done(app: Celery) -> None:
    """By `pydantic_strict` and `pydantic_context`, as its worker would."""
    pydantic = pytest.importorskip("pydantic")
    number = Annotated[int, pydantic.BeforeValidator(strictly)]
    model = pydantic.create_model("Order", number=(number, ...))
    known = {"pydantic": True, "pydantic_context": {"known": (7, "8")}, "shared": False}
    for name, strict in (("shop.strict", True), ("shop.lax", False)):

        def run(order: Any) -> None:
            pass

        run.__annotations__["order"] = model
        app.task(name=name, pydantic_strict=strict, **known)(run)
    for name in ("shop.strict", "shop.lax"):
        app.send_task(name, ({"number": "8"},))
    assert [each.task for each in refused(app)] == ["shop.strict"]

    app.send_task("shop.lax", ({"number": 9},), queue="archive")

    problems = {each.task: each.problem for each in refused(app)}
    assert "9 is not known to shop.lax" in problems["shop.lax"]
