"""A check says what it did not look at, and what came with a task commands nothing."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import VERSION, Celery, Task
from celery.worker import strategy
from kombu import compression

from fullresult import FullResult
from fullresult.cli import check_formats
from fullresult.cli.check_formats import as_github, as_json, as_sarif, as_text
from fullresult.insight.check import check
from fullresult.insight.check.binding import place_of
from fullresult.insight.check.findings import Finding, Findings, Place
from tests.kit.commands import run


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    yield app
    app.fullresult.close()


def task(app: Celery, name: str, function: Any, **options: Any) -> None:
    app.task(name=name, shared=False, **options)(function)


def one(order_id: int) -> None:
    """A task of one argument."""


@pytest.mark.skipif(VERSION < (5, 5), reason="Celery 5.5 brought models as arguments")
def test_a_list_of_models_is_not_taken_for_one_model(app: Celery) -> None:
    """Celery passes it on as it is."""
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        number: int

    def take(orders: list[Any]) -> None:
        pass

    take.__annotations__["orders"] = list[Order]
    FullResult(app)
    task(app, "shop.take", take, pydantic=True)
    app.tasks["shop.take"].delay([{"number": 7}])

    assert app.fullresult.check().found == []


@pytest.mark.skipif(VERSION < (5, 5), reason="Celery 5.5 brought models as arguments")
def test_a_mask_is_not_validated_and_that_is_said(app: Celery) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Payment(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        number: int

    def take(card: Any) -> None:
        pass

    take.__annotations__["card"] = Payment
    app.conf.fullresult_redact = {"card"}
    FullResult(app)
    task(app, "shop.take", take, pydantic=True)
    app.tasks["shop.take"].delay(card={"number": 7})

    findings = app.fullresult.check()

    assert findings.found == []
    assert "values of 1 task not checked by their models: they are redacted" in findings.notes


def test_calls_beyond_the_bound_are_counted_as_not_checked(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_MOST", 1)
    FullResult(app)
    task(app, "shop.run", one)
    for number in range(3):
        app.send_task("shop.run", (1,), kwargs={f"key{number}": 1})

    notes = app.fullresult.check().notes

    assert any(note.startswith("2 calls not checked: only the first 1 ways") for note in notes)


def test_a_task_whose_arguments_cannot_be_read_is_a_warning(app: Celery) -> None:
    FullResult(app)
    task(app, "shop.run", one)
    app.send_task("shop.run", (1,))
    app.tasks["shop.run"].run = vars  # a built-in function without a signature

    (finding,) = app.fullresult.check().found

    assert (finding.rule, finding.level) == ("FR003", "warning")
    assert "cannot be read" in finding.problem


class Odd:
    """A task whose signature is code of its own, which fails."""

    @property
    def __signature__(self) -> Any:
        raise RuntimeError("no signature today")

    def __call__(self, *args: Any) -> None:
        pass


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")


def test_a_signature_that_fails_or_is_endless_stops_no_check(app: Celery) -> None:
    def shy(order_id: int, default: Any = Shy()) -> None:  # noqa: B008
        pass

    def long(order_id: int, default: str = "x" * 100_000) -> None:
        pass

    FullResult(app)
    app.register_task(type("Odd", (Task,), {"name": "shop.odd", "run": Odd()})())
    for function in (shy, long):
        task(app, f"shop.{function.__name__}", function)
    for name in ("odd", "shy", "long"):
        app.send_task(f"shop.{name}", (1, 2, 3))

    found = {each.task: each for each in app.fullresult.check().found}

    assert found["shop.odd"].problem.endswith("takes cannot be read: no signature today")
    assert found["shop.shy"].problem.endswith("takes cannot be read: no repr today")
    assert {found[f"shop.{name}"].level for name in ("odd", "shy")} == {"warning"}
    assert "(…, …, …) does not fit shop.long(order_id" in found["shop.long"].problem
    assert len(found["shop.long"].problem) < 2_000


def test_a_source_that_cannot_be_read_has_no_place(app: Celery) -> None:
    FullResult(app)
    task(app, "shop.run", one)
    app.send_task("shop.run", (1,))
    known: dict[str, Any] = {}
    exec(compile("def run(a, b):\n    pass\n", "/no/such/file.py", "exec"), known)
    app.tasks["shop.run"].run = known["run"]

    (finding,) = app.fullresult.check().found

    assert (finding.rule, finding.place) == ("FR002", None)


def test_a_wrapper_around_itself_has_no_place(app: Celery) -> None:
    """`inspect.unwrap` refuses it."""
    FullResult(app)
    task(app, "shop.run", one)
    looping: Any = functools.wraps(one)(lambda order_id: order_id)
    looping.__wrapped__ = looping
    app.tasks["shop.run"].run = looping

    assert place_of(app.tasks["shop.run"]) is None


@pytest.fixture
def protocol_1(app: Celery) -> Celery:
    app.conf.task_protocol = 1
    FullResult(app)
    task(app, "shop.run", one)
    app.tasks["shop.run"].delay(1)
    return app


def test_protocol_1_is_fine_where_celery_reads_it(protocol_1: Celery) -> None:
    findings = protocol_1.fullresult.check()

    assert (findings.found, findings.checked, findings.unchecked) == ([], 1, 0)


def test_protocol_1_is_told_where_celery_does_not_read_it(
    protocol_1: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a later one may not."""
    monkeypatch.delattr(strategy, "proto1_to_proto2")

    (finding,) = protocol_1.fullresult.check().found

    assert (finding.rule, finding.level, finding.count) == ("FR009", "warning", 1)
    assert finding.problem == "its messages are of protocol 1, which the Celery here does not read"


def test_a_compression_that_is_not_known_here_is_told(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullResult(app)
    task(app, "shop.run", one)
    app.tasks["shop.run"].apply_async((1,), compression="bzip2")
    assert app.fullresult.check().found == []
    monkeypatch.delitem(compression._decoders, "application/x-bz2")

    (finding,) = app.fullresult.check().found

    assert (finding.rule, finding.level) == ("FR009", "warning")
    assert "compressed by bzip2, which is not known here" in finding.problem


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def test_nothing_that_came_with_a_task_is_evaluated(app: Celery, tmp_path: Path) -> None:
    FullResult(app)
    app.conf.accept_content = ["json", "pickle"]
    task(app, "shop.run", one)
    bomb = tmp_path / "went off"
    task_id = app.send_task("shop.run", (Bomb(bomb),), serializer="pickle").id
    app.send_task("shop.run", ("__import__('os').abort()",))

    findings = app.fullresult.check()
    why = app.fullresult.explain(task_id, offline=True)

    assert (findings.checked, findings.found, why.known) == (2, [], True)
    assert not bomb.exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import not_there", r"ModuleNotFoundError: No module named 'not_there' \(.*, line 1\)"),
        ("x = = 1", "SyntaxError: invalid syntax"),
        ("raise ValueError('\\x1b[2J\\n::error::')", r"ValueError: \\x1b\[2J ::error:: \("),
        ("raise SystemExit(0)", r"SystemExit: 0 \(.*, line 1\)"),
        (None, "ModuleNotFoundError: No module named 'broken_tasks';"),
    ],
)
def test_a_module_that_cannot_be_imported_is_not_a_clean_check(
    source: str | None, said: str, app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullResult(app).setup()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_tasks", raising=False)
    if source is not None:
        (tmp_path / "broken_tasks.py").write_text(source)
    app.conf.include = ["broken_tasks"]

    told = run(app, "check")

    assert told.exit_code == 1
    assert re.match(f"Error: nothing was checked, as a module .* imported: {said}", told.stderr)
    assert len(told.stderr.splitlines()) == 1


def odd() -> Findings:
    told = ("a\n::error::b", "c\x1b[2J\n::set-output name=x::d", "e\r\n::f")
    return Findings([Finding("FR001", "error", *told, place=Place("my dir/a,b::c.py", 3))])


def test_what_came_with_a_task_commands_neither_github_nor_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (first, _) = as_github(odd())
    properties = first.removeprefix("::error ").partition("::")[0]
    assert properties.startswith("file=my dir/a%2Cb%3A%3Ac.py,line=3,title=FR001 a")
    assert not {"\n", "\r", "\x1b"} & set(first)

    monkeypatch.setattr(check_formats, "is_terminal", lambda: True)
    (line, *_) = as_text(odd())
    assert line.startswith("\x1b[1merror\x1b[0m FR001 a")
    assert "\n" not in line
    assert "\x1b[2J" not in line

    older = Findings([Finding("FR001", "error", "##[stop-commands]x", "##[error]", "")])
    for form in (as_text, as_json, as_sarif):
        assert "##[" not in "".join(form(older))
    assert json.loads("".join(as_json(older)))["findings"][0]["problem"] == "##[error]"

    (sarif,) = as_sarif(odd())
    place = json.loads(sarif)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20dir/a%2Cb%3A%3Ac.py"

    (sarif,) = as_sarif(Findings([Finding("FR001", "error", "[a](http://b)\x1b[2J\nc", "", "")]))
    text = json.loads(sarif)["runs"][0]["results"][0]["message"]["text"]
    assert text.startswith(r"[a] (http://b)\x1b[2J c: ")
