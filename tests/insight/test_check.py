"""What a refactoring would break is found where it waits, and said at the right line.

Long because beside the refactorings each rule has a test or two.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import VERSION, Celery
from kombu import Queue

from fullresult import FullResult
from fullresult.insight.check.findings import Findings
from fullresult.record.card import Card, WorkerCard
from fullresult.record.worker import Worker
from tests.kit.commands import run
from tests.kit.refactorings import (
    KINDS,
    PLACES,
    REFACTORINGS,
    app_of,
    line_of,
    module_of,
    plan,
    publish,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RULES = {"renamed": "FR001", "a queue moved": "FR006"}
_AS = {"message": "", "scheduled": ""}


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A storage in which a task of each kind waits in each place, as the old code sent it."""
    home = tmp_path_factory.mktemp("old")
    storage = f"sqlite:///{home}/records.db"
    app = app_of(module_of("as it was", home), fullresult_storage=storage)
    for kind in KINDS:
        for place in PLACES:
            publish(app, kind, place)
    app.fullresult.close()
    return storage


def checked(waiting: str, refactoring: str, home: Path, **conf: Any) -> tuple[Findings, Path]:
    path = module_of(refactoring, home)
    schedule = {name: entry for kind in KINDS for name, entry in plan(kind).items()}
    app = app_of(path, fullresult_storage=waiting, beat_schedule=schedule, **conf)
    if refactoring == "a queue moved":
        app.conf.task_default_queue = "new"
        app.conf.task_queues = [Queue("new")]
    app.task(name="other.task", shared=False)(_anything)
    findings: Findings = app.fullresult.check()
    app.fullresult.close()
    return findings, path


def _anything(*_: Any, **__: Any) -> None:
    pass


def nothing() -> None:
    pass


def one(_: Any) -> None:
    pass


def two(_: Any, __: Any) -> None:
    pass


def three(_: Any, __: Any, ___: Any) -> None:
    pass


def charge(order_id: int, *, site: str) -> tuple[int, str]:
    return order_id, site


def test_the_code_that_sent_it_takes_it(waiting: str, tmp_path: Path) -> None:
    findings, _ = checked(waiting, "as it was", tmp_path)

    assert findings.found == []
    assert findings.checked == len(KINDS) * (len(PLACES) - 1)
    assert findings.unchecked == 0


@pytest.fixture(scope="module", params=[name for name in REFACTORINGS if name != "as it was"])
def refactored(
    request: pytest.FixtureRequest, waiting: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Findings, Path]:
    found = checked(waiting, request.param, tmp_path_factory.mktemp("new"))
    return (request.param, *found)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_each_refactoring_is_found_in_each_place_at_its_line(
    refactored: tuple[str, Findings, Path], kind: str, place: str
) -> None:
    refactoring, findings, path = refactored
    of_place = [
        each
        for each in findings.found
        if each.task == f"shop.{kind}" and _is_of(place, each.problem)
    ]

    assert of_place, [each.key for each in findings.found]
    for each in of_place:
        assert each.place is not None
        assert (each.place.file, each.place.line) == (str(path), line_of(path, kind))
        wrapper = kind == "wrapped" and refactoring in ("a keyword removed", "a new argument")
        assert each.level == ("warning" if wrapper else "error")
    if place == "message":
        rule = _RULES.get(refactoring, "FR003" if kind == "wrapped" else "FR002")
        assert {each.rule for each in of_place} == {rule}
        assert sum(each.count for each in of_place) == 2  # one of them is scheduled
        assert all(each.first_due for each in of_place)


def _is_of(place: str, problem: str) -> bool:
    if place in ("message", "scheduled"):
        return not problem.startswith("as ")
    return problem.startswith(f"as {place}")


def test_nothing_else_is_found(refactored: tuple[str, Findings, Path]) -> None:
    refactoring, findings, _ = refactored
    carriers = {"other.task"} if refactoring == "a queue moved" else set()

    assert {each.task for each in findings.found} == {f"shop.{kind}" for kind in KINDS} | carriers


# ---- other rules, by an app of its own


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    yield app
    app.fullresult.close()


def task(app: Celery, name: str, function: Any, **options: Any) -> None:
    app.task(name=name, shared=False, **options)(function)


def found(app: Celery, **options: Any) -> list[tuple[str, str]]:
    findings = app.fullresult.check(**options)
    return [(each.rule, each.task) for each in findings.found]


def test_map_starmap_and_chunks_are_looked_into(app: Celery) -> None:
    FullResult(app)
    task(app, "shop.one", one)
    task(app, "shop.two", two)
    of_one, of_two = app.tasks["shop.one"], app.tasks["shop.two"]
    of_two.map([1, 2]).apply_async()
    of_one.starmap([(1, 2)]).apply_async()
    of_one.chunks([(1, 2)], 1).apply_async()
    of_one.map([1]).apply_async()
    of_two.starmap([(1, 2)]).apply_async()

    assert set(found(app)) == {("FR007", "shop.one"), ("FR007", "shop.two")}


def test_what_is_not_counted_is_found_page_by_page(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fullresult.insight.check.check._COUNTED", 3)
    FullResult(app)
    task(app, "shop.run", nothing)
    task(app, "no.result", nothing)
    for number in range(10):
        link = app.signature("no.result") if number % 2 else None
        app.tasks["shop.run"].apply_async(link=link)

    (finding,) = app.fullresult.check().found

    assert (finding.rule, finding.task, finding.count) == ("FR007", "no.result", 5)
    assert app.fullresult.check().checked == 10


def test_an_errback_takes_an_id_or_three(app: Celery) -> None:
    FullResult(app)
    task(app, "shop.run", nothing)
    task(app, "old.errback", one)
    task(app, "new.errback", three)
    task(app, "no.errback", nothing)
    for name in ("old.errback", "new.errback", "no.errback"):
        app.tasks["shop.run"].apply_async(link_error=app.signature(name))

    assert found(app) == [("FR007", "no.errback")]


def late_note(_: Any, __: Any = None) -> None:
    pass


def three_and_self(_: Any, __: Any, ___: Any, ____: Any) -> None:
    pass


def test_an_errback_gets_as_many_as_celery_gives_it(app: Celery) -> None:
    """By its parameters, of which a default counts; a bound task always gets the id alone."""
    FullResult(app)
    task(app, "shop.run", nothing)
    task(app, "a.default", late_note)
    task(app, "bound.three", three_and_self, bind=True)
    task(app, "bound.id", two, bind=True)
    for name in ("a.default", "bound.three", "bound.id"):
        app.tasks["shop.run"].apply_async(link_error=app.signature(name))

    problems = {each.task: each.problem for each in app.fullresult.check().found}

    assert problems.keys() == {"a.default", "bound.three"}
    assert "(…, …, …) does not fit" in problems["a.default"]
    assert "(…) does not fit" in problems["bound.three"]


def test_an_immutable_link_takes_no_result(app: Celery) -> None:
    FullResult(app)
    task(app, "shop.run", nothing)
    task(app, "no.result", nothing)
    app.tasks["shop.run"].apply_async(link=app.signature("no.result", immutable=True))
    assert found(app) == []

    app.tasks["shop.run"].apply_async(link=app.signature("no.result"))

    assert found(app) == [("FR007", "no.result")]


def test_a_group_in_a_chain_is_looked_into(app: Celery) -> None:
    from celery import chain, group

    app.conf.result_backend = "cache+memory://"
    FullResult(app)
    task(app, "shop.run", nothing)
    task(app, "shop.take", one)
    task(app, "shop.none", nothing)
    run_, take, none = (app.signature(f"shop.{name}") for name in ("run", "take", "none"))
    chain(run_, group(take, none), take, app=app).apply_async()

    assert found(app) == [("FR007", "shop.none")]


@pytest.mark.skipif(VERSION < (5, 5), reason="Celery 5.5 brought models as arguments")
def test_a_model_that_refuses_the_value_is_named(app: Celery) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        number: int

    def take(order: Order) -> None:
        pass

    take.__annotations__["order"] = Order
    FullResult(app)
    task(app, "shop.take", take, pydantic=True)
    app.tasks["shop.take"].delay({"number": 7})
    assert found(app) == []
    app.fullresult.delete(text="shop.take")

    app.tasks["shop.take"].delay({"number": "seven"})

    (finding,) = app.fullresult.check().found
    assert (finding.rule, finding.level) == ("FR004", "error")
    assert "number: Input should be a valid integer" in finding.problem


@pytest.mark.skipif(VERSION < (5, 5), reason="Celery 5.5 brought models as arguments")
def test_as_many_values_are_validated_as_is_said(app: Celery) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        number: int

    def take(order: Order) -> None:
        pass

    take.__annotations__["order"] = Order
    FullResult(app)
    task(app, "shop.take", take, pydantic=True)
    for number in (1, 2, "three", 4):
        app.tasks["shop.take"].delay({"number": number})

    (finding,) = app.fullresult.check(values=4).found
    assert (finding.rule, finding.count) == ("FR004", 4)
    said = run(app, "check", "--values", "4")
    assert said.exit_code == 3
    assert "number: Input should be a valid integer" in said.stdout


def test_a_content_type_that_is_not_accepted_is_an_error(app: Celery) -> None:
    FullResult(app)
    task(app, "shop.run", nothing)
    app.tasks["shop.run"].apply_async(serializer="pickle")

    assert found(app) == [("FR005", "shop.run")]
    app.conf.accept_content = ["json", "pickle"]
    assert found(app) == []


def test_what_ended_lately_is_a_warning_only(app: Celery) -> None:
    FullResult(app)
    app.conf.task_always_eager = True
    task(app, "shop.run", nothing)
    app.tasks["shop.run"].delay()
    del app.tasks["shop.run"]

    levels = [each.level for each in app.fullresult.check().found]

    assert levels == ["warning"]
    assert found(app, recent=timedelta(0)) == []


def test_hidden_arguments_are_counted_as_not_checked(app: Celery) -> None:
    FullResult(app)
    task(app, "shop.run", one)
    app.tasks["shop.run"].apply_async(("hunter2",), argsrepr="(***)")

    findings = app.fullresult.check()

    assert (findings.checked, findings.unchecked, findings.found) == (1, 1, [])


def test_queues_are_compared_with_what_is_known_of_them(app: Celery) -> None:
    FullResult(app)
    task(app, "shop.run", nothing)
    app.tasks["shop.run"].apply_async(queue="archive")

    assert found(app, queues=["celery"]) == [("FR006", "shop.run")]
    assert found(app, queues=["archive"]) == []
    assert found(app, against="declared") == [("FR006", "shop.run")]
    unknown = app.fullresult.check()
    assert unknown.found == []
    assert "queues were not checked" in unknown.notes[0]


def alive(full: FullResult, name: str, queues: tuple[str, ...] | None, namespace: str) -> None:
    """A worker that lives, with a card if *queues* are given."""
    now = full.storage.now()
    full.storage.note_worker(Worker(name, name, now, now, now + timedelta(hours=1)))  # type: ignore[attr-defined]
    if queues is not None:
        card = Card(queues=queues, namespace=namespace)
        full.storage.note_card(WorkerCard(name, now, "n", card.text), "{}")  # type: ignore[attr-defined]


def test_the_workers_that_live_say_what_is_consumed(app: Celery) -> None:
    full = FullResult(app)
    task(app, "shop.run", nothing)
    app.tasks["shop.run"].apply_async(queue="archive")
    ours = full.settings.namespace
    alive(full, "w1", ("celery",), ours)
    alive(full, "w2", ("archive",), "another broker")

    assert found(app) == [("FR006", "shop.run")]
    assert found(app, against="live") == [("FR006", "shop.run")]

    alive(full, "w3", ("archive",), ours)
    assert found(app) == []


@pytest.mark.parametrize("against", [None, "live"])
def test_workers_of_other_brokers_say_nothing_of_this_ones_queues(
    app: Celery, against: Any
) -> None:
    """Where CI has not the broker of production, no task is said to have lost its queue."""
    app.conf.fullresult_namespace = "amqp://localhost"
    full = FullResult(app)
    task(app, "shop.run", nothing)
    app.tasks["shop.run"].apply_async()
    alive(full, "w1", ("celery",), "redis://production/0")

    findings = full.check(against=against)

    assert findings.found == []
    (note,) = findings.notes
    assert note.startswith("queues were not checked: this app's broker is amqp://localhost, and ")
    assert note.endswith("the workers that live are on redis://production/0")


def test_a_worker_that_names_the_broker_otherwise_may_consume_there(app: Celery) -> None:
    app.conf.fullresult_namespace = "redis://localhost/0"
    full = FullResult(app)
    task(app, "shop.run", nothing)
    app.tasks["shop.run"].apply_async(queue="archive")
    alive(full, "w1", ("celery",), "redis://localhost/0")
    alive(full, "w2", ("archive",), "redis://127.0.0.1/0")

    assert found(app) == []


def test_a_living_worker_without_a_card_may_consume_anything(app: Celery) -> None:
    full = FullResult(app)
    task(app, "shop.run", nothing)
    app.tasks["shop.run"].apply_async(queue="archive")
    alive(full, "w1", ("celery",), full.settings.namespace)
    alive(full, "old", None, "")

    findings = full.check(against="live")

    assert findings.found == []
    said = "queues were not checked: no worker lives, or one that does has left no card"
    assert findings.notes == [said]


# ---- the command


@pytest.fixture
def broken(app: Celery) -> Celery:
    FullResult(app)
    task(app, "shop.charge", charge)
    app.send_task("shop.charge", (1,))
    app.send_task("shop.charges", (1,))
    return app


def test_the_command_says_who_waits_and_what_heals_it(broken: Celery) -> None:
    answer = run(broken, "check")

    assert answer.exit_code == 3
    assert "error FR002 shop.charge: (…) does not fit shop.charge(order_id" in answer.stdout
    assert "\n  1 task waits, such as " in answer.stdout
    assert "give `site` a default" in answer.stdout
    assert "the nearest name is shop.charge" in answer.stdout
    assert "2 tasks checked: 2 errors, 0 warnings" in answer.stdout


def test_github_is_told_file_and_line(broken: Celery) -> None:
    answer = run(broken, "check", "--format", "github")

    line = next(line for line in answer.stdout.splitlines() if "FR002" in line)
    assert line.startswith("::error file=tests/insight/test_check.py,line=")
    assert answer.exit_code == 3


def test_sarif_has_rules_and_places(broken: Celery) -> None:
    said = json.loads(run(broken, "check", "--format", "sarif").stdout)

    (run_,) = said["runs"]
    assert said["version"] == "2.1.0"
    assert {result["ruleId"] for result in run_["results"]} == {"FR001", "FR002"}
    assert {rule["id"] for rule in run_["tool"]["driver"]["rules"]} >= {"FR001", "FR009"}
    place = run_["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "tests/insight/test_check.py"
    (invocation,) = run_["invocations"]
    assert invocation["executionSuccessful"] is True
    summary, blind = [each["message"]["text"] for each in invocation["toolExecutionNotifications"]]
    assert summary == "2 tasks checked: 2 errors, 0 warnings"
    assert blind.startswith("queues were not checked: ")


def test_known_findings_are_accepted(broken: Celery, tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    file.write_text(run(broken, "check", "--format", "json").stdout, encoding="utf-8")

    answer = run(broken, "check", "--known", str(file))

    assert answer.exit_code == 0
    assert "2 known findings" in answer.stdout

    file.write_text(file.read_text("utf-8"), encoding="utf-8-sig")
    assert "2 known findings" in run(broken, "check", "--known", str(file)).stdout

    file.write_bytes(b"\xff\xfe")
    answer = run(broken, "check", "--known", str(file))
    assert answer.exit_code == 1
    assert f"{file} is no text in UTF-8" in answer.stderr


def test_a_storage_that_is_away_is_not_a_clean_check(app: Celery) -> None:
    app.conf.fullresult_storage = "postgresql://127.0.0.1:1/none"
    app.conf.fullresult_storage_timeout = "1s"
    FullResult(app)

    answer = run(app, "check")

    assert answer.exit_code == 1
