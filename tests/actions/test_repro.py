"""A recorded call made again, here: with its values, without a trace, and without a publish."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task

from fullresult import FullResult
from fullresult.actions.recorded_call import CannotRepro
from fullresult.recording.rehearsal import KeptBack
from fullresult.recording.this_worker import became_worker
from tests.kit import browsing
from tests.kit.commands import run, sent
from tests.kit.servers import FilesystemBroker

_PROJ = """
from celery import Celery
from fullresult import FullResult

app = Celery("proj")
app.conf.update({settings!r})
FullResult(app)

@app.task(name="shop.charge")
def charge(*args, **kwargs):
    pay.delay(7)
    raise KeyError(kwargs["card"])

@app.task(name="shop.pay")
def pay(amount):
    pass
"""


class Seen(list[Any]):
    """What tasks saw."""


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def app(tmp_path: Path, filesystem_broker: FilesystemBroker, seen: Seen) -> Iterator[Celery]:
    app = Celery("proj", set_as_current=False)
    app.conf.update(filesystem_broker.settings)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'memory.db'}"
    app.conf.result_backend = "fullresult://"
    full = FullResult(app)

    @app.task(name="shop.charge", bind=True)  # type: ignore[untyped-decorator]
    def charge(self: Task, *args: Any, **kwargs: Any) -> str:
        seen.append((self.request.id, self.request.retries, args, kwargs))
        if not self.request.is_eager:
            self.update_state(state="PROGRESS", meta={"half": True})
        return "charged"

    @app.task(name="shop.pay", bind=True, max_retries=3)  # type: ignore[untyped-decorator]
    def pay(self: Task, thread: bool = False) -> None:
        if thread:
            helper = threading.Thread(target=charge.delay, args=(8,))
            helper.start()
            helper.join()
        charge.apply_async((7,), {"card": "x"}, task_id="child")
        raise self.retry(exc=ZeroDivisionError("no money"))

    yield app
    full.close()
    app.close()


def publish(app: Celery, name: str, *given: Any, **options: Any) -> str:
    """A recorded task, whose message is taken from the broker."""
    task_id = str(app.send_task(name, *given, **options).id)
    assert sent(app) == [task_id]
    return task_id


def test_the_call_has_its_values_and_leaves_no_trace_as_a_task(app: Celery, seen: Seen) -> None:
    full: FullResult = app.fullresult
    when = datetime(2026, 1, 2, tzinfo=timezone.utc)
    task_id = publish(app, "shop.charge", (1, when), {"card": {"a": [None]}})
    before = full.get(task_id)

    done = full.repro(task_id)

    assert done.result == "charged"
    assert seen == [(task_id, 0, (1, when), {"card": {"a": [None]}})]
    assert full.get(task_id) == before
    assert full.count() == 1
    (entry,) = full.audit_log()
    assert (entry.action, entry.task_ids, entry.outcome) == ("repro", (task_id,), "done")


def test_what_it_publishes_is_kept_back_from_its_own_threads_too(app: Celery) -> None:
    full: FullResult = app.fullresult
    task_id = publish(app, "shop.pay", (), {"thread": True})
    kept: list[KeptBack] = []

    with pytest.raises(ZeroDivisionError, match="no money"):
        full.repro(task_id, kept_back=kept)

    assert [(each.name, *each.args) for each in kept] == [("shop.charge", 8), ("shop.charge", 7)]
    assert kept[1].task_id == "child"
    assert sent(app) == []
    assert full.count() == 1
    assert full.audit_log()[0].outcome == "failed"
    assert publish(app, "shop.pay")  # When it is over, all goes out again.


def test_a_thread_that_was_there_before_publishes_as_usual(app: Celery) -> None:
    full: FullResult = app.fullresult
    task_id, go, gone = publish(app, "shop.charge"), threading.Event(), threading.Event()

    def other() -> None:
        go.wait(10)
        app.send_task("shop.charge", task_id="of another")
        gone.set()

    helper = threading.Thread(target=other)
    helper.start()
    with full.parts.rehearsals.begin() as rehearsal:
        go.set()
        assert gone.wait(10)
        app.send_task("shop.charge", task_id="of the task")
    helper.join()

    assert sent(app) == ["of another"]
    assert [each.task_id for each in rehearsal.kept_back] == ["of the task"]
    assert full.get(task_id)


def test_in_another_than_the_main_thread_it_is_refused(app: Celery, seen: Seen) -> None:
    """A server's threads come and go: what those publish would be lost."""
    task_id = publish(app, "shop.charge")

    with ThreadPoolExecutor() as pool:
        refused = pool.submit(app.fullresult.repro, task_id).exception()
        assert isinstance(refused, CannotRepro)
        assert "main thread" in str(refused)
        assert not seen
        assert pool.submit(app.fullresult.repro, task_id, publish=True).result().result == "charged"


def test_it_publishes_if_that_is_said(app: Celery) -> None:
    task_id = publish(app, "shop.pay")

    with pytest.raises(ZeroDivisionError):
        app.fullresult.repro(task_id, publish=True)

    assert sent(app) == ["child"]


def test_a_task_that_runs_in_place_is_not_recorded_either(app: Celery, seen: Seen) -> None:
    task_id = publish(app, "shop.pay")
    app.conf.task_always_eager = True

    with pytest.raises(ZeroDivisionError):
        app.fullresult.repro(task_id)

    assert len(seen) == 1
    assert app.fullresult.count() == 1


@pytest.mark.parametrize(
    ("settings", "options", "why"),
    [
        ({"fullresult_redact": ["card"]}, {}, "its kwargs are not known (redacted"),
        ({"fullresult_max_body": 100, "fullresult_max_text": 100}, {}, "not known (cut"),
        ({"task_serializer": "pickle"}, {}, "is never decoded"),
    ],
)
def test_arguments_that_are_not_whole_are_refused_with_the_reason(
    app: Celery, seen: Seen, settings: dict[str, Any], options: dict[str, Any], why: str
) -> None:
    app.conf.update(settings)
    task_id = publish(app, "shop.charge", (), {"card": "x" * 200}, **options)

    with pytest.raises(CannotRepro) as error:
        app.fullresult.repro(task_id)

    assert why in str(error.value)
    assert not seen


def test_a_worker_an_unknown_task_and_unknown_arguments_are_refused(app: Celery) -> None:
    full: FullResult = app.fullresult
    unknown = publish(app, "shop.gone")
    wrong = publish(app, "shop.pay", (1, 2, 3))

    with pytest.raises(CannotRepro, match="no task called"):
        full.repro(unknown)
    with pytest.raises(CannotRepro, match="does not take the recorded arguments"):
        full.repro(wrong)
    with pytest.raises(LookupError, match="'nobody'"):
        full.repro("nobody")

    class AWorker:
        pass

    worker = AWorker()
    became_worker(worker)
    with pytest.raises(CannotRepro, match="is a worker"):
        full.repro(wrong)


@pytest.mark.parametrize("call", ["", "[]", "{}", '{"task_id": 1, "name": 2, "args": 3}', "nan"])
def test_text_that_is_no_call_is_refused(app: Celery, call: str) -> None:
    with pytest.raises(CannotRepro, match="no recorded call"):
        app.fullresult.repro(call=call)


# --- the command, and the test that it writes


@pytest.fixture
def proj(tmp_path: Path, filesystem_broker: FilesystemBroker) -> Path:
    """A directory with `proj.py`, whose app has the memory and broker of `app`."""
    storage = {"fullresult_storage": f"sqlite:///{tmp_path / 'memory.db'}"}
    settings = {**filesystem_broker.settings, **storage}
    (tmp_path / "proj.py").write_text(_PROJ.format(settings=settings))
    return tmp_path


def _python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=directory, input="c\n", capture_output=True, text=True, timeout=60, check=False
    )


HOSTILE = '"""\'\'\'\\\n__import__("os").mkdir("owned")\u202e{} %s \x00\ud800'


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 300])
def test_the_test_that_is_written_fails_as_the_task_did_and_evaluates_nothing(
    app: Celery, proj: Path, size: int
) -> None:
    card = HOSTILE * size
    task_id = publish(app, "shop.charge", (HOSTILE,), {"card": card})

    written = _python(
        proj, "celery", "-A", "proj", "fullresult", "repro", task_id, "--pytest", "test_it.py"
    )
    tested = _python(proj, "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")

    assert written.returncode == 0, written.stderr
    assert written.stdout.splitlines() == ["test_it.py", *(["test_it.json"] if size > 1 else [])]
    assert "KeyError" in tested.stdout
    assert "1 failed" in tested.stdout
    assert not (proj / "owned").exists()
    assert sent(app) == []
    assert app.fullresult.count() == 1
    again = _python(
        proj, "celery", "-A", "proj", "fullresult", "repro", task_id, "--pytest", "test_it.py"
    )
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


def test_no_text_of_a_task_is_the_encoding_of_the_test_that_is_written(
    app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "the_app", app, raising=False)
    task_id = publish(app, "shop.charge # coding: utf-7")
    owned = "coding: utf-7 +AAo-OWNED = 1 +AAo-#"
    browsing.ran(app, task_id, "shop.charge # coding: utf-7", ValueError(owned))

    (written,) = app.fullresult.write_repro(task_id, tmp_path / "test_it.py")

    assert owned in written.read_text()
    names = [
        each for each in ast.walk(ast.parse(written.read_bytes())) if isinstance(each, ast.Name)
    ]
    assert [each.id for each in names if isinstance(each.ctx, ast.Store)] == ["CALL"]


@pytest.mark.slow
def test_the_debugger_opens_where_the_task_raised(app: Celery, proj: Path) -> None:
    task_id = publish(app, "shop.charge", (), {"card": "x"})

    said = _python(proj, "celery", "-A", "proj", "fullresult", "repro", task_id, "--yes", "--pdb")

    assert "(Pdb)" in said.stdout
    assert 'raise KeyError(kwargs["card"])' in said.stdout
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1] == "Error: it raised KeyError"


def test_what_is_published_in_the_debugger_is_not_sent_either(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = publish(app, "shop.pay")
    typed: list[str] = []

    def by_hand(_: object) -> None:
        typed.append(app.send_task("shop.charge", (9,)).id)

    monkeypatch.setattr("pdb.post_mortem", by_hand)

    said = run(app, "repro", task_id, "--yes", "--pdb")

    assert (said.exit_code, len(typed)) == (1, 1)
    assert "ZeroDivisionError: no money" in said.stderr
    assert sent(app) == []
    assert app.fullresult.count() == 1


def test_the_command_asks_and_shows_the_result_and_what_was_not_sent(
    app: Celery, seen: Seen
) -> None:
    charge, pay = publish(app, "shop.charge", (1,)), publish(app, "shop.pay")

    no = run(app, "repro", charge, answer="n\n")
    assert no.exit_code == 1
    assert "shop.charge(1)" in no.stderr
    assert not seen

    yes = run(app, "repro", charge, answer="y\n")
    assert (yes.exit_code, yes.stdout.splitlines()[-1]) == (0, "'charged'")

    raised = run(app, "repro", pay, "--yes")
    assert raised.exit_code == 1
    assert "Not sent: shop.charge, id child" in raised.stderr
    assert "ZeroDivisionError: no money" in raised.stderr


def test_the_command_says_why_it_cannot(app: Celery, tmp_path: Path) -> None:
    gone = publish(app, "shop.gone")

    unknown = run(app, "repro", "nobody", "--yes")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: no task 'nobody' is recorded\n")
    assert "no task called" in run(app, "repro", gone, "--yes").stderr
    assert run(app, "repro", gone, "--yes", "--pytest", str(tmp_path / "x.py")).exit_code == 2
    # This app is an attribute of no module.
    no_place = run(app, "repro", gone, "--pytest", str(tmp_path / "x.py"))
    assert "no imported module has the app" in no_place.stderr
    assert not (tmp_path / "x.py").exists()


def test_a_call_is_what_it_was_after_it_was_text(app: Celery) -> None:
    from fullresult.actions.recorded_call import RecordedCall

    task_id = publish(app, "shop.charge", (HOSTILE,), {"card": HOSTILE})
    call = RecordedCall.of(app.fullresult.get(task_id))

    assert RecordedCall.loads(call.dumps()) == call
    assert json.loads(call.dumps())["kwargs"] == {"card": HOSTILE}
