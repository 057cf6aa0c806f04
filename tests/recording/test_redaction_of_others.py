"""An error is told under the ids of tasks that never ran: with as little of what is hidden."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain, chord, group
from celery.app.task import Context

from fullresult import FullResult
from fullresult.recording.masking import MARK
from fullresult.recording.running_tasks import failed, running_tasks
from tests.apps.scenario_redaction_app import PASSWORD, PIN, SECRETS, secrets
from tests.kit import leaks, workers
from tests.kit.backend_contract import current

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = "tests.apps.scenario_redaction_app"


def canvases(scene: workers.Scene) -> dict[str, Any]:
    """Every way in which a task that fails has others after it."""
    bad, good = scene.task("blurt").si(**secrets()), scene.task("shout_nothing").si()
    return {
        "chain": chain(bad, good, good),
        "chain in a chord": chord([chain(bad, good), good], good),
        "chord in a chain": chain(chord([bad, good], good), good),
        "chord at the end of a chain": chain(bad, chord([good, good], good)),
        "chord of one": chord([bad], good),
        "chord whose body is a group": chord([bad, good], group(good, good)),
        "chain with an errback": chain(bad, good).on_error(scene.task("shout_nothing").si()),
        "group in a chain": chain(group(bad, good), good),
        "group with an errback": group(bad, good).on_error(scene.task("shout_nothing").si()),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.slow),
        pytest.param("mongodb", marks=pytest.mark.slow),
    ],
)
def test_no_task_that_never_ran_is_told_the_secrets_of_the_one_that_failed(
    kind: str, redis_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    settings = {"result_backend": "fullresult://", "task_ignore_result": False}
    settings["fullresult_spool_directory"] = str(tmp_path / "spool")
    with (
        workers.storage(kind, request, tmp_path / "records") as url,
        workers.scene(redis_url, url, tmp_path / "scene", module=MODULE, **settings) as scene,
        scene.worker() as worker,
    ):
        with current(scene.full.app):  # Celery 5.4 asks its backend for chords in a chain
            for canvas in canvases(scene).values():
                canvas.apply_async()
        scene.settle()
        worker.stop()
        records = scene.full.find(limit=None)
        told = {
            record.task_id: leaks.found(
                SECRETS, repr(vars(scene.full.get(record.task_id))).encode()
            )
            for record in records
        }

    failures = [record for record in records if record.state in ("FAILURE", "NOT_RUN")]
    never_ran = {record.name for record in failures if record.state == "NOT_RUN"}
    assert "scenario.blurt" in {record.name for record in failures}
    assert "scenario.shout_nothing" in never_ran
    assert {task_id: found for task_id, found in told.items() if found} == {}
    assert all(MARK in (r.exception_message or MARK) for r in failures)


# --- by hand


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=f"sqlite:///{tmp_path / 'no' / 'such' / 'records.db'}",
        fullresult_spool_directory=str(tmp_path / "spool"),
        fullresult_redact=["password", "**.pin"],
        result_backend="fullresult://",
    )

    @app.task(name="shop.login")  # type: ignore[untyped-decorator]
    def login(user: str, password: str) -> None: ...

    with closing(FullResult(app)), app:
        yield app


def test_the_spool_is_told_none_of_them_either(app: Celery, tmp_path: Path) -> None:
    after = app.signature("shop.mail", options={"task_id": "after"})
    request = Context(
        {"id": "one", "task": "shop.login", "args": ("ada", PASSWORD), "kwargs": {}},
        chain=[dict(after)],
        errbacks=None,
        chord=None,
    )
    error = ValueError(f"no such user: {PASSWORD}")

    app.backend.mark_as_failure("one", error, f"Traceback: {PASSWORD}", request)

    held = leaks.files(tmp_path / "spool")
    assert b"after" in held
    assert MARK.encode() in held
    assert leaks.found((PASSWORD,), held) == []


def test_an_error_that_a_running_task_has_the_backend_keep_for_another_is_hidden(
    app: Celery, tmp_path: Path
) -> None:
    @app.task(name="shop.check")  # type: ignore[untyped-decorator]
    def check(password: str, form: Any) -> None:
        error = ValueError(f"{password} {form}")
        app.backend.store_result("another", error, "FAILURE")

    check(PASSWORD, form={"pin": PIN})

    held = leaks.files(tmp_path / "spool")
    assert b"another" in held
    assert leaks.found((PASSWORD, PIN), held) == []


def test_an_unknown_task_fails_and_its_worker_goes_on(request: pytest.FixtureRequest) -> None:
    """Celery reports it with a stand-in for a request, which has no arguments."""
    settings: dict[str, Any] = {"result_backend": "fullresult://", "task_ignore_result": False}
    with workers.running("sqlite", request, module=MODULE, **settings) as scene:
        task_id = scene.app.send_task("scenario.nobody_knows", kwargs=secrets()).id

        record = scene.final(task_id, "FAILURE")

    assert record.exception_type == "celery.exceptions.NotRegistered"
    assert leaks.found(SECRETS, repr(vars(record)).encode()) == []


def test_what_runs_is_known_for_as_long_as_it_runs(app: Celery) -> None:
    seen = []

    @app.task(name="shop.inner")  # type: ignore[untyped-decorator]
    def inner(number: int) -> None:
        seen.append([(task.name, task.args) for task in running_tasks()])
        if number:
            inner(number - 1)

    inner(1)
    with failed(Context({"id": "x", "task": "shop.x", "args": (7,), "kwargs": {}})):
        inside = running_tasks()

    assert seen == [
        [("shop.inner", (1,))],
        [("shop.inner", (1,)), ("shop.inner", (0,))],
    ]
    assert [task.name for task in inside] == ["shop.x"]
    assert running_tasks() == []
