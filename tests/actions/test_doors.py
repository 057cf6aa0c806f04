"""The same deed under the same rules, whichever door asks for it: command, page, Python.

Long because the three doors it goes through are built here, for all sections.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from kombu.exceptions import OperationalError

from fullresult import FullResult
from fullresult.actions.missing import AGAIN, RUNNING
from fullresult.record.audit import AuditEntry
from fullresult.record.worker import Worker
from fullresult.recording.this_worker import became_worker, worker_id
from fullresult.storage import StorageError
from tests.kit import browsing, workers
from tests.kit.doors import DOORS, Door, Pages, sent_again
from tests.kit.scheduling import later, left_claimed, only

HOUR = timedelta(hours=1)
SOON = timedelta(0)


@pytest.fixture(params=workers.storages("sqlite", "postgresql"))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    """A recorded app on each storage, with an entry in beat's plan."""
    with workers.storage(request.param, request, tmp_path) as url, browsing.shop(url) as app:
        app.conf.beat_schedule = {
            "hourly": {"task": "shop.charge", "schedule": 3600.0, "args": (7,)}
        }
        yield app


@pytest.fixture
def full(app: Celery) -> FullResult:
    found: FullResult = app.fullresult
    return found


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest, app: Celery) -> Door:
    found: Door = request.param(app)
    return found


class AWorker:
    """Celery's object of a worker that begins."""


def begin(app: Celery, *task_ids: str, ago: timedelta = HOUR) -> Worker:
    """Tasks that a worker runs which was last heard of so long ago."""
    alive = AWorker()  # Its id is known for as long as it lives.
    became_worker(alive)
    full: FullResult = app.fullresult
    for task_id in task_ids:
        app.send_task("shop.charge", (7,), task_id=task_id)
        request = Context({"id": task_id, "hostname": "w1@host", "args": [], "kwargs": {}})
        full.recorder.started(task_id, "shop.charge", request)
    seen = full.storage.now() - ago
    worker = Worker(worker_id(), "w1@host", seen, seen, seen + timedelta(seconds=25))
    full.storage.note_worker(worker)  # type: ignore[attr-defined]
    browsing.sent(app)
    return worker


def come_back(full: FullResult, worker: Worker) -> None:
    now = full.storage.now()
    alive = worker._replace(date_seen=now, alive_until=now + HOUR)
    full.storage.note_worker(alive)  # type: ignore[attr-defined]


def told(full: FullResult, action: str = "resend") -> list[AuditEntry]:
    return [entry for entry in full.audit_log() if entry.action == action]


# --- What went missing


def test_what_a_living_worker_runs_and_what_was_sent_again_is_not_sent(
    app: Celery, full: FullResult, door: Door
) -> None:
    begin(app, "running", ago=SOON)
    for task_id in ("lost", "again"):
        app.send_task("shop.charge", (7,), task_id=task_id)
    full.storage.get("again")
    new = full.acting(_somebody()).resend("again")
    browsing.ran(app, str(new.id), "shop.charge")
    browsing.sent(app)

    said = door.resend_stale()

    assert sent_again(app) == {"lost"}
    assert RUNNING in said
    assert AGAIN in said
    entry = told(full)[0]
    assert (entry.task_ids, entry.outcome, entry.actor) == (("lost",), "done", door.actor)
    assert (entry.details["by"], entry.details["missing"]) == (door.by, ["stale"])


def _somebody() -> Any:
    from fullresult.actions.audit import Actor

    return Actor("somebody", "test")


def test_what_moved_on_since_it_was_seen_is_left_alone_and_the_reason_is_said(
    app: Celery, full: FullResult, door: Door
) -> None:
    """It ended, its record was deleted, it was sent again; of two workers one is back."""
    worker = begin(app, "back")
    begin(app, "ended", "deleted", "again", "lost")

    def meanwhile() -> None:
        browsing.ran(app, "ended", "shop.charge")
        full.delete(text="deleted")
        full.resend("again")
        browsing.sent(app)
        come_back(full, worker)

    said = door.resend_orphans(meanwhile)

    assert sent_again(app) == {"lost"}
    for reason in (
        "task ended is left alone: it moved on meanwhile: SUCCESS",
        "task deleted is left alone: its record was deleted meanwhile",
        f"task again is left alone: {AGAIN}",
        "task back is left alone: its worker, w1@host, is back",
    ):
        assert reason in said
    (entry,) = [entry for entry in told(full) if entry.details["by"] == door.by][:1]
    assert (entry.task_ids, entry.outcome) == (("lost",), "done")


def test_what_went_missing_is_listed_by_a_dry_run_in_python(app: Celery, full: FullResult) -> None:
    begin(app, "running", ago=SOON)
    begin(app, "orphan")
    app.send_task("shop.charge", (7,), task_id="lost")
    left_claimed(app, "late", ago=2 * HOUR)
    browsing.sent(app)

    everything = full.resend_missing(
        stale=True, orphans=True, stale_scheduled=True, age=SOON, dry_run=True
    )
    narrowed = full.resend_missing(name="*.nothing", stale=True, age=SOON, dry_run=True)
    limited = full.resend_missing(orphans=True, stale_scheduled=True, limit=1, dry_run=True)

    assert everything.would_send == ["late", "orphan", "lost"]
    assert [fate.task_id for fate in everything.spared] == ["running"]
    assert everything.done == everything.failed == []
    assert narrowed.would_send == []
    assert limited.would_send == ["late"]
    assert browsing.sent(app) == []
    assert full.audit_log() == []


def test_what_is_missing_is_sent_from_python_and_reported(app: Celery, full: FullResult) -> None:
    begin(app, "orphan")
    left_claimed(app, "late", ago=2 * HOUR)
    app.send_task("shop.login", ("secret",), task_id="hidden", argsrepr="***")
    browsing.sent(app)

    report = full.resend_missing(stale=True, orphans=True, stale_scheduled=True, age=SOON)

    sent = {fate.task_id: fate.new_id for fate in report.done}
    assert set(sent) == {"late", "orphan"}
    assert sent["late"] == "late"
    assert {message["id"] for message in browsing.sent(app)} == set(sent.values())
    assert [fate.task_id for fate in report.failed] == ["hidden"]
    assert "args unknown" in str(report.failed[0].problem)
    assert not report.unfinished
    done, failed = told(full)[1], told(full)[0]
    assert (done.outcome, failed.outcome) == ("done", "failed")
    assert set(failed.details["problems"]) == {"hidden"}


def test_one_has_to_say_what_is_missing_and_which_tasks(full: FullResult) -> None:
    with pytest.raises(TypeError, match="say what is missing"):
        full.resend_missing()
    with pytest.raises(ValueError, match="say which tasks"):
        full.resend_many()
    with pytest.raises(TypeError, match="not both"):
        full.resend_many(ids=["a"], state="FAILURE")
    with pytest.raises(TypeError, match="colour"):
        full.resend_many(colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="several ids, not the text 'abc'"):
        full.resend_many(ids="abc")


def test_a_negative_age_or_limit_is_refused_and_nothing_is_sent_or_deleted(
    app: Celery, full: FullResult
) -> None:
    """A negative age would send what is not due yet."""
    later(app, "tomorrow")

    with pytest.raises(ValueError, match="age must be 0 or more"):
        full.resend_missing(stale_scheduled=True, stale=True, age=timedelta(days=-2))
    for deed in (
        lambda: full.resend_missing(stale=True, limit=-1),
        lambda: full.resend_many(name="*", limit=-1),
        lambda: full.delete(all=True, limit=-1),
    ):
        with pytest.raises(ValueError, match="limit must be 0 or more, not -1"):
            deed()

    assert browsing.sent(app) == []
    assert full.count() == 1
    assert full.audit_log() == []


def test_many_are_sent_again_from_python_each_once(app: Celery, full: FullResult) -> None:
    browsing.failed(app, 4)
    ids = [record.task_id for record in full.find(order="oldest")]

    shown = full.resend_many(name="shop.*", limit=3, dry_run=True)
    report = full.resend_many(name="shop.*", limit=3)
    chosen = full.resend_many(ids=[ids[3], ids[3], "unknown"])

    assert shown.would_send == ids[:3]
    assert [fate.task_id for fate in report.done] == ids[:3]
    assert [fate.task_id for fate in chosen.done] == ids[3:]
    assert [fate.problem for fate in chosen.failed] == ["no task 'unknown' is recorded"]
    assert len(browsing.sent(app)) == 4


# --- Errors of the broker


@pytest.mark.parametrize(("errors", "tried"), [("bxbxbxxxxx", 10), ("bxbbbxxxxx", 5)])
def test_after_three_errors_of_the_broker_in_a_row_it_is_not_asked_again(
    app: Celery, door: Door, errors: str, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another failure in between, and it is counted anew."""
    browsing.failed(app, 10)
    asked: list[str] = []

    def refuse(*_: object, **__: object) -> None:
        asked.append(errors[len(asked)])
        raise OperationalError("refused") if asked[-1] == "b" else ValueError("not this one")

    monkeypatch.setattr(app, "producer_or_acquire", refuse)

    door.resend_failed()

    assert "".join(asked) == errors[:tried]


# --- Why not


def sweeping(app: Celery, task_id: str) -> None:
    """A sweeper has it since a moment ago."""
    left_claimed(app, task_id, ago=SOON)


def claimed(app: Celery, task_id: str) -> None:
    left_claimed(app, task_id)


def waits(app: Celery, task_id: str) -> None:
    later(app, task_id)


def published(app: Celery, task_id: str) -> None:
    app.send_task("shop.charge", task_id=task_id)
    browsing.sent(app)


def unknown(_: Celery, __: str) -> None: ...


SENTENCES = {
    "about to be sent": "task 'a' was claimed by a sweeper within the last minute, and is about to "
    "be sent; look again in a minute",
    "claimed": "task 'a' was claimed by a sweeper at ",
    "waits": "task 'a' is not claimed: it waits for a sweeper",
    "not scheduled": "task 'a' is not scheduled: it is PENDING",
    "unknown": "no task 'a' is recorded",
    "nothing": "nothing is scheduled of task 'a'",
}


@pytest.mark.parametrize(
    ("deed", "state", "sentence"),
    [
        *(
            (deed, state, sentence)
            for deed in ("cancel", "reschedule")
            for state, sentence in (
                (sweeping, "claimed"),
                (claimed, "claimed"),
                (published, "not scheduled"),
                (unknown, "unknown"),
            )
        ),
        ("release", sweeping, "about to be sent"),
        ("release", waits, "waits"),
        ("release", published, "not scheduled"),
        ("release", unknown, "unknown"),
        ("send_now", sweeping, "about to be sent"),
        ("send_now", published, "nothing"),
        ("send_now", unknown, "nothing"),
    ],
)
def test_one_sentence_says_why_nothing_could_be_done(
    app: Celery, full: FullResult, door: Door, deed: str, state: Callable[..., None], sentence: str
) -> None:
    state(app, "a")
    before = full.scheduled(limit=None)

    said = getattr(door, deed)("a")

    assert SENTENCES[sentence] in said
    assert full.scheduled(limit=None) == before
    entry = full.audit_log()[0]
    assert (entry.outcome, entry.task_ids, entry.actor) == ("failed", ("a",), door.actor)
    assert entry.details["by"] == door.by
    assert SENTENCES[sentence] in str(entry.details)


@pytest.mark.parametrize(
    ("deed", "action"), [("release", "release"), ("send_now", "resend-scheduled")]
)
def test_what_was_claimed_longer_ago_is_released_and_sent(
    app: Celery, full: FullResult, door: Door, deed: str, action: str
) -> None:
    claimed(app, "a")

    getattr(door, deed)("a")

    entry = full.audit_log()[0]
    assert (entry.action, entry.outcome, entry.task_ids) == (action, "done", ("a",))
    if deed == "release":
        assert not only(app, "a").claimed
    else:
        assert [message["id"] for message in browsing.sent(app)] == ["a"]


def test_the_pages_do_not_offer_what_a_sweeper_is_about_to_send(app: Celery) -> None:
    sweeping(app, "now")
    claimed(app, "dead")
    pages = Pages(app)

    listed = pages.browser.get("/stale-scheduled?older=0s")
    scheduled = pages.browser.get("/scheduled")
    task, other = pages.browser.get("/task?id=now"), pages.browser.get("/task?id=dead")
    preview = pages.browser.get("/send-now?id=now")

    for page in (listed, scheduled):
        assert "about to be sent" in page.words
        assert 'name="key" value="dead"' in page.text
        assert 'name="key" value="now"' not in page.text
    assert "/send-now?id=dead" in other.links
    assert "/send-now?id=now" not in task.links
    assert not any(form.action.endswith("/send-now") for form in preview.forms)
    assert "within the last minute" in preview.words


# --- The audit log


def test_what_fails_is_in_the_audit_log_whoever_asked(
    app: Celery, full: FullResult, door: Door
) -> None:
    app.send_task("shop.login", ("secret",), task_id="hidden", argsrepr="***")

    door.resend(["hidden", "unknown"])
    door.trigger("never")

    trigger, resend = full.audit_log()[:2]
    for entry in (trigger, resend):
        assert (entry.actor, entry.outcome) == (door.actor, "failed")
        assert entry.details["by"] == door.by
    assert (resend.action, resend.task_ids) == ("resend", ("hidden", "unknown"))
    assert resend.details["problems"]["unknown"] == "no task 'unknown' is recorded"
    assert "args unknown" in resend.details["problems"]["hidden"]
    assert (trigger.action, trigger.task_ids, trigger.details["name"]) == ("trigger", (), "never")
    assert "no periodic task is called 'never'" in trigger.details["problem"]


def test_what_is_done_is_in_the_audit_log_whoever_asked(
    app: Celery, full: FullResult, door: Door
) -> None:
    (failed,) = browsing.failed(app)
    for task_id in ("cancelled", "moved", "sent"):
        later(app, task_id)

    door.resend([failed])
    door.cancel("cancelled")
    door.reschedule("moved")
    door.send_now("sent")
    door.trigger("hourly")

    entries = [entry for entry in reversed(full.audit_log()) if entry.details["by"] == door.by]
    assert [(entry.action, entry.outcome, entry.actor) for entry in entries] == [
        (action, "done", door.actor)
        for action in ("resend", "cancel", "reschedule", "resend-scheduled", "trigger")
    ]
    resent, cancelled, moved, sent, triggered = entries
    (new,) = full.find(retry_of=failed)
    assert resent.details["new_ids"] == {failed: new.task_id}
    assert [entry.task_ids for entry in (cancelled, moved, sent)] == [
        ("cancelled",),
        ("moved",),
        ("sent",),
    ]
    due = only(app, "moved").due.isoformat(timespec="milliseconds")
    assert moved.details["eta"].startswith(due.partition("+")[0])
    record = full.get(triggered.task_ids[0])
    assert record is not None
    assert record.triggered


def test_python_tells_who_asks_and_what_is_changed_deleted_and_purged(
    app: Celery, full: FullResult
) -> None:
    (task_id,) = browsing.failed(app)

    full.resend(task_id, kwargs={"amount": 2}, queue="slow", headers={"trace": "t"}, actor="ada")
    full.delete(name="shop.charge", state="FAILURE")
    full.purge(actor="bob")
    with pytest.raises(LookupError):
        full.resend("unknown")

    failed, purge, delete, resend = full.audit_log()
    assert (resend.actor, resend.details["changed"]) == ("ada", ["kwargs", "headers"])
    assert resend.details["queue"] == "slow"
    assert (delete.action, delete.details["deleted"]) == ("delete", 1)
    assert delete.details["filters"] == {"name": "shop.charge", "state": "FAILURE"}
    assert (purge.actor, purge.action, purge.details["deleted"]) == ("bob", "purge", 0)
    assert (failed.task_ids, failed.outcome) == (("unknown",), "failed")
    assert {entry.details["by"] for entry in (failed, purge, delete, resend)} == {"python"}


def test_revoking_and_purging_by_celery_is_nobodys_deed(app: Celery, full: FullResult) -> None:
    later(app, "a")

    app.control.revoke("a")
    app.tasks["fullresult.purge"]()

    record = full.get("a")
    assert record is not None
    assert record.state == "REVOKED"
    assert full.audit_log() == []


def test_where_the_audit_log_cannot_be_written_the_deed_is_done_and_that_is_said(
    app: Celery,
    full: FullResult,
    door: Door,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (task_id,) = browsing.failed(app)

    def full_disk(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(full.storage, "keep_audit", full_disk)

    with caplog.at_level(logging.ERROR, "fullresult"):
        said = door.resend([task_id])

    assert sent_again(app) == {task_id}
    assert "the disk is full" in said + caplog.text
    assert "audit log" in said + caplog.text
