"""`orphans`, and `resend` of what went missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.app.task import Context

from fullresult import FullResult
from fullresult.cli.acting import deeds_of
from fullresult.record.worker import Worker
from fullresult.recording.this_worker import became_worker, worker_id
from tests.kit.commands import ids, run, sent

if TYPE_CHECKING:
    from tests.kit.servers import FilesystemBroker

HOUR = timedelta(hours=1)


class AWorker:
    """What Celery tells of a worker that begins."""


@pytest.fixture
def app(storage_url: str, filesystem_broker: FilesystemBroker) -> Iterator[Celery]:
    """A recorded app with a broker and an empty memory."""
    app = Celery("proj", set_as_current=False)
    app.conf.update({**filesystem_broker.settings, "fullresult_storage": storage_url})
    app.conf.fullresult_schedule_eta = True
    full = FullResult(app)
    full.setup()
    yield app
    full.close()
    app.close()


def begin(app: Celery, *task_ids: str, name: str = "shop.charge", ago: timedelta = HOUR) -> Worker:
    """Tasks that a worker runs, of which that was the last that was heard."""
    worker = AWorker()
    became_worker(worker)
    for task_id in task_ids:
        app.send_task(name, (7,), task_id=task_id)
        request = Context({"id": task_id, "hostname": "w1@host", "args": [], "kwargs": {}})
        app.fullresult.recorder.started(task_id, name, request)
    seen = app.fullresult.storage.now() - ago
    known = Worker(worker_id(), "w1@host", seen, seen, seen + timedelta(seconds=25))
    app.fullresult.storage.note_worker(known)
    sent(app)
    return known


def come_back(app: Celery, worker: Worker) -> None:
    now = app.fullresult.storage.now()
    app.fullresult.storage.note_worker(worker._replace(date_seen=now, alive_until=now + HOUR))


def overdue(app: Celery, task_id: str, by: timedelta = 2 * HOUR) -> None:
    """A scheduled task that should have been sent so long ago."""
    app.send_task("shop.later", (7,), task_id=task_id, countdown=3600)
    assert app.fullresult.reschedule(task_id, app.fullresult.storage.now() - by)


# --- orphans


def test_orphans_lists_them_and_since_when_their_worker_is_gone(app: Celery) -> None:
    worker = begin(app, "a", "b")
    begin(app, "running", ago=timedelta(0))

    result = run(app, "orphans")

    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [(row[0], row[1], row[7]) for row in rows] == [
        ("a", "STARTED", "w1@host"),
        ("b", "STARTED", "w1@host"),
    ]
    assert rows[0][-1] == worker.date_seen.isoformat(timespec="milliseconds")


def test_orphans_as_json_have_every_field_and_say_whether_there_are_more(app: Celery) -> None:
    worker = begin(app, "a", "b")

    told = json.loads(run(app, "orphans", "--json", "--limit", "1").stdout)

    (task,) = told["tasks"]
    assert told["more"] is True
    assert (task["task_id"], task["args"], task["worker_stopped"]) == ("a", [7], False)
    assert task["worker_gone_since"] == worker.date_seen.isoformat()


@pytest.mark.parametrize("options", [["--name", "other.*"], ["--older-than", "2h"], ["--hours=2"]])
def test_filters_and_lengths_of_time_narrow_orphans(app: Celery, options: list[str]) -> None:
    begin(app, "a")

    result = run(app, "orphans", "--fail", *options)

    assert (result.exit_code, result.stdout) == (0, "")
    assert "No running task has lost its worker." in result.stderr


def test_orphans_can_fail_for_monitoring(app: Celery) -> None:
    begin(app, "a", "b")

    result = run(app, "orphans", "--fail", "--limit", "1")

    assert result.exit_code == 3
    assert "More than 1 orphan." in result.stderr


# --- resend


def test_orphans_are_shown_and_sent_again_once(app: Celery) -> None:
    begin(app, "a", "b")

    first = run(app, "resend", "--orphans", answer="y\n")
    again = run(app, "resend", "--orphans", answer="y\n")

    assert first.exit_code == 0
    assert "About to send again 2 orphans:" in first.stderr
    assert "Send 2 tasks? [y/N]" in first.stderr
    assert ids(first) == ["a", "b"]
    new = [line.split("\t")[1] for line in first.stdout.splitlines()]
    assert sent(app) == sorted(new)
    assert {app.fullresult.get(task_id).retry_of for task_id in new} == {"a", "b"}
    assert (again.exit_code, again.stdout) == (0, "")
    assert "Nothing of that kind is missing" in again.stderr


def test_nothing_is_sent_where_the_answer_is_no_or_it_is_a_dry_run(app: Celery) -> None:
    begin(app, "a", "b")
    overdue(app, "late")

    no = run(app, "resend", "--orphans", "--stale-scheduled", answer="n\n")
    dry = run(app, "resend", "--orphans", "--stale-scheduled", "--dry-run", "--yes")
    by_id = run(app, "resend", "a", "--dry-run")
    by_filter = run(app, "resend", "--name", "shop.charge", "--dry-run")

    assert no.exit_code == 1
    for result in (no, dry):
        assert "About to send now 1 overdue task:" in result.stderr
        assert "About to send again 2 orphans:" in result.stderr
    assert [ids(result) for result in (no, dry, by_id, by_filter)] == [
        [],
        ["late", "a", "b"],
        ["a"],
        ["a", "b"],
    ]
    assert {result.exit_code for result in (dry, by_id, by_filter)} == {0}
    assert sent(app) == []


def test_all_that_is_missing_is_sent_by_one_command_each_once(app: Celery) -> None:
    """What is overdue under its own id; an orphan that is stale, too, is sent as an orphan."""
    begin(app, "orphan")
    overdue(app, "late")
    app.send_task("shop.charge", task_id="lost")
    sent(app)

    result = run(
        app, *("resend", "--stale", "--stale-scheduled", "--orphans", "--microseconds=1", "--yes")
    )

    assert result.exit_code == 0, result.stderr
    new = dict(line.split("\t") for line in result.stdout.splitlines())
    assert list(new) == ["late", "orphan", "lost"]
    assert new["late"] == "late"
    assert sent(app) == sorted(new.values())


def test_stale_leaves_alone_what_runs_and_what_was_sent_again(app: Celery) -> None:
    begin(app, "running", ago=timedelta(0))
    begin(app, "orphan")
    for task_id in ("lost", "again"):
        app.send_task("shop.charge", task_id=task_id)
    app.fullresult.resend("again", task_id="new")
    sent(app)

    result = run(app, "resend", "--stale", "--microseconds", "1", "--dry-run")

    assert sorted(ids(result)) == ["lost", "new", "orphan"]
    assert "Left alone: 1 task sent again already." in result.stderr
    assert "Left alone: 1 task being run by a worker that lives." in result.stderr


def test_a_limit_counts_all_kinds_and_filters_narrow_each(app: Celery) -> None:
    begin(app, "a")
    begin(app, "b", name="shop.ship")
    overdue(app, "late")

    limited = run(app, "resend", "--orphans", "--stale-scheduled", "--limit", "2", "--dry-run")
    named = run(app, "resend", "--orphans", "--stale-scheduled", "--name", "*ship", "--dry-run")

    assert ids(limited) == ["late", "a"]
    assert ids(named) == ["b"]


def test_what_moves_on_while_somebody_looks_is_left_alone(app: Celery) -> None:
    worker = begin(app, "a", "b", "third")
    full = app.fullresult
    deeds = deeds_of(full)
    (loss,) = deeds.missing().find(["orphans"])
    request = Context({"id": "a", "hostname": "w1@host"})
    full.recorder.succeeded(request, "shop.charge", 7, 0.1, False)
    full.delete(text="third")
    come_back(app, worker)

    report = deeds.resend_missing([("orphans", *each) for each in loss.seen.items()])

    why = [fate.problem for fate in report.spared]
    assert why == [
        "task a is left alone: it moved on meanwhile: SUCCESS",
        "task b is left alone: its worker, w1@host, is back",
        "task third is left alone: its record was deleted meanwhile",
    ]
    assert sent(app) == []


def test_people_are_told_what_may_run_twice(app: Celery) -> None:
    """What the broker delivers again by itself, and what a sweeper may have sent."""

    @app.task(name="shop.charge", acks_late=True)  # type: ignore[untyped-decorator]
    def charge(order: int) -> int:
        return order

    begin(app, "a")
    overdue(app, "late")
    full = app.fullresult
    full.storage.claim_due(full.settings.namespace, full.storage.now() - 2 * HOUR, "dead", 1)

    result = run(app, "resend", "--orphans", "--stale-scheduled", answer="n\n")

    assert "(acks_late): it then runs twice. What was claimed may have been sent" in result.stderr


def test_what_cannot_be_sent_again_is_reported_and_the_rest_goes_on(app: Celery) -> None:
    begin(app, "a", "b")
    app.send_task("shop.login", ("secret",), task_id="hidden", argsrepr="***")
    begin(app, "hidden", name="shop.login")

    result = run(app, "resend", "--orphans", "--yes")

    assert result.exit_code == 1
    assert ids(result) == ["a", "b"]
    assert "task hidden: args unknown" in result.stderr
    assert "sent 2; 1 task could not be sent" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "--orphans"],
        ["a", "--stale", "--dry-run"],
        ["a", "--limit", "3"],
        ["--hours", "1"],
        ["a", "--hours", "1"],
        ["--state", "FAILURE", "--older-than", "1h"],
        ["--dry-run"],
        ["--orphans", "--weeks", "200000"],
    ],
)
def test_what_makes_no_sense_is_wrong_usage(app: Celery, arguments: list[str]) -> None:
    begin(app, "a")

    result = run(app, "resend", *arguments)

    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


def test_a_storage_that_keeps_no_workers_is_one_sentence(app: Celery) -> None:
    """All but orphans is found there as everywhere."""
    app.send_task("shop.charge", task_id="lost")
    full = app.fullresult
    plain = Without(full.storage)
    full.parts.opened = (plain, full.recorder)

    listed = run(app, "orphans")
    resent = run(app, "resend", "--orphans", "--yes")
    stale = run(app, "resend", "--stale", "--microseconds=1", "--dry-run")

    for result in (listed, resent):
        assert result.exit_code == 1
        assert "does not keep which workers are alive" in result.stderr
    assert ids(stale) == ["lost"]


class Without:
    """A storage without what is optional."""

    def __init__(self, storage: Any) -> None:
        for name in ("now", "find", "get", "count", "find_schedules", "close"):
            setattr(self, name, getattr(storage, name))
