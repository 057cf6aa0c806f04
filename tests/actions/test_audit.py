"""The audit log: what people did, told by the API and by the commands, and found again."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.storage import StorageError
from fullresult.testing import samples
from tests.kit.commands import run
from tests.kit.scheduling import app_on, later, left_claimed

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app whose tasks with an ETA wait, and that has a periodic task."""
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with app_on({"broker_url": "memory://"}, url) as app:
        app.conf.beat_schedule = {"morning": {"task": "shop.report", "schedule": 60}}
        yield app


@pytest.fixture
def full(app: Celery) -> FullResult:
    found: FullResult = app.fullresult
    return found


def only(full: FullResult) -> AuditEntry:
    (entry,) = full.audit_log()
    return entry


def told(entry: AuditEntry) -> dict[str, Any]:
    """Its details without where it was done, which is the same for all commands."""
    details = dict(entry.details)
    assert details.pop("by") == "command line"
    assert details.pop("host")
    return details


# --- the API


def test_an_entry_is_dated_by_the_storages_clock(full: FullResult) -> None:
    before = full.storage.now()

    full.audit("resend", actor="ada", task_ids=["a", "b", "a"], details={"why": "asked"})

    entry = only(full)
    assert before <= entry.at <= full.storage.now()
    assert (entry.actor, entry.action, entry.outcome) == ("ada", "resend", "done")
    assert (entry.task_ids, entry.details) == (("a", "b"), {"why": "asked"})


def test_what_was_done_to_very_many_tasks_is_told_by_several_entries(full: FullResult) -> None:
    ids = [f"{number}" for number in range(2500)]

    full.audit("resend", actor="ada", task_ids=ids)

    entries = full.audit_log()
    assert sorted(len(entry.task_ids) for entry in entries) == [500, 1000, 1000]
    assert {task_id for entry in entries for task_id in entry.task_ids} == set(ids)


def test_details_that_json_does_not_know_are_told_as_text(full: FullResult) -> None:
    full.audit("resend", actor="ada", details={"since": timedelta(hours=1), "ids": {"a"}})

    assert only(full).details == {"since": "1:00:00", "ids": "{'a'}"}


def test_details_that_are_very_long_are_left_out(full: FullResult) -> None:
    full.audit("resend", actor="ada", details={"text": "x" * 2_000_000})

    assert only(full).details["cut"].endswith("characters")


def test_hostile_text_is_kept_in_a_form_that_any_storage_takes(full: FullResult) -> None:
    full.audit("re\0send", actor="\ud800", task_ids=["\0"], outcome="x" * 10_000)

    entry = only(full)
    assert (entry.action, entry.actor, entry.task_ids) == ("re\\x00send", "\\ud800", ("\\x00",))
    assert len(entry.outcome) <= 1200


def test_the_log_is_asked_by_keywords_or_a_query(full: FullResult) -> None:
    full.audit("resend", actor="ada")
    full.audit("cancel", actor="bob")

    assert [entry.actor for entry in full.audit_log(action="cancel")] == ["bob"]
    assert [entry.actor for entry in full.audit_log(AuditQuery(actor="ada"))] == ["ada"]
    with pytest.raises(TypeError, match="not both"):
        full.audit_log(AuditQuery(), actor="ada")
    with pytest.raises(ValueError, match="aware"):
        full.audit_log(since=samples.NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match="cursor"):
        full.audit_log(after="yesterday")


def test_a_storage_that_keeps_no_log_is_named(full: FullResult) -> None:
    class Bare:
        def __repr__(self) -> str:
            return "<Bare>"

    full.parts.opened = Bare(), full.recorder  # type: ignore[assignment]

    with pytest.raises(StorageError, match="this storage keeps no audit log"):
        full.audit("resend", actor="ada")
    full.parts.opened = None


# --- what the commands tell


def test_resend_tells_which_tasks_and_their_new_ids(app: Celery, full: FullResult) -> None:
    app.send_task("shop.pay", task_id="a")

    result = run(app, "resend", "--name", "shop.*", "--yes")

    entry = only(full)
    assert (entry.actor, entry.action, entry.task_ids) == (ME, "resend", ("a",))
    new = result.stdout.strip().split("\t")[1]
    asked = {"name": "shop.*", "unresolved": True}
    assert told(entry) == {"filters": asked, "new_ids": {"a": new}}


def test_resend_of_what_is_missing_tells_which_way(app: Celery, full: FullResult) -> None:
    app.send_task("shop.pay", task_id="a")

    run(app, "resend", "--stale", "--older-than", "0s", "--yes")

    entry = only(full)
    assert entry.task_ids == ("a",)
    assert told(entry)["missing"] == ["stale"]


def test_what_could_not_be_done_is_told_with_the_reason_and_a_dry_run_is_not(
    app: Celery, full: FullResult
) -> None:
    app.send_task("shop.pay", task_id="a")

    run(app, "resend", "a", "--dry-run")
    run(app, "resend", "unknown", "--yes")
    run(app, "cancel", "a", "--yes")
    run(app, "reschedule", "a", "--eta", "now")
    run(app, "trigger", "never")

    entries = full.audit_log()
    assert {(e.actor, e.outcome) for e in entries} == {(ME, "failed")}
    assert [(e.action, e.task_ids) for e in entries] == [
        ("trigger", ()),
        ("reschedule", ("a",)),
        ("cancel", ("a",)),
        ("resend", ("unknown",)),
    ]
    unscheduled = {"problems": {"a": "task 'a' is not scheduled: it is PENDING"}}
    assert told(entries[2]) == unscheduled
    assert told(entries[1])["problems"] == unscheduled["problems"]
    assert told(entries[3]) == {"problems": {"unknown": "no task 'unknown' is recorded"}}
    assert "no periodic task is called 'never'" in told(entries[0])["problem"]


def test_cancel_reschedule_and_resend_scheduled_tell_their_task(
    app: Celery, full: FullResult
) -> None:
    for task_id in ("a", "b", "c"):
        later(app, task_id)

    run(app, "cancel", "a", "--yes")
    run(app, "reschedule", "b", "--eta", "2030-01-31T14:00+00:00")
    run(app, "resend-scheduled", "c", "--yes")

    third, second, first = full.audit_log()
    assert [e.action for e in (first, second, third)] == [
        "cancel",
        "reschedule",
        "resend-scheduled",
    ]
    assert [e.task_ids for e in (first, second, third)] == [("a",), ("b",), ("c",)]
    assert told(second) == {"eta": "2030-01-31T14:00:00+00:00"}


def test_release_tells_its_task(app: Celery, full: FullResult) -> None:
    left_claimed(app, "a")

    run(app, "release", "a", "--yes")

    entry = only(full)
    assert (entry.action, entry.task_ids, entry.outcome) == ("release", ("a",), "done")


def test_delete_and_purge_tell_how_many(app: Celery, full: FullResult) -> None:
    for task_id in ("a", "b"):
        app.send_task("shop.pay", task_id=task_id)

    run(app, "delete", "--name", "shop.pay", "--yes")
    run(app, "purge")

    purge, delete = full.audit_log()
    assert (delete.action, told(delete)) == (
        "delete",
        {"filters": {"name": "shop.pay"}, "deleted": 2},
    )
    assert (purge.action, told(purge)) == ("purge", {"deleted": 0})


def test_a_purge_that_is_interrupted_tells_how_many_it_deleted(full: FullResult) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    past = full.storage.now() - timedelta(days=1)
    expired = samples.event("old", outcome=samples.outcome(expire_at=past))
    full.storage.write([expired])

    with pytest.raises(KeyboardInterrupt):
        full.purge(interrupt)

    assert full.get("old") is None
    assert (only(full).action, only(full).details["deleted"]) == ("purge", 1)


def test_a_deletion_that_fails_before_the_first_record_is_written_down(
    app: Celery, full: FullResult
) -> None:
    """As where the database's role may write to the log, and delete nothing."""
    app.send_task("shop.pay", task_id="a")
    with closing(sqlite3.connect(full.settings.storage.removeprefix("sqlite:///"))) as database:
        database.execute(
            "CREATE TRIGGER kept BEFORE DELETE ON fullresult_task BEGIN"
            " SELECT RAISE(ABORT, 'nothing may be deleted'); END"
        )

    with pytest.raises(StorageError, match="nothing may be deleted"):
        full.delete(name="shop.pay")

    entry = only(full)
    assert (entry.action, entry.outcome, entry.task_ids) == ("delete", "failed", ())
    assert "nothing may be deleted" in entry.details["problem"]
    assert full.get("a") is not None


def test_trigger_tells_the_task_it_sent_and_the_entry(app: Celery, full: FullResult) -> None:
    result = run(app, "trigger", "morning")

    entry = only(full)
    assert (entry.action, entry.task_ids) == ("trigger", (result.stdout.strip(),))
    assert told(entry) == {"name": "morning"}


def test_a_log_that_cannot_be_written_is_said_once_and_undoes_nothing(
    app: Celery, full: FullResult, tmp_path: Path
) -> None:
    import sqlite3
    from contextlib import closing

    for number in range(150):
        app.send_task("shop.pay", task_id=f"{number}")
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        connection.execute("DROP TABLE fullresult_audit")

    result = run(app, "resend", "--name", "shop.pay", "--yes")

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 150
    assert result.stderr.count("the audit log does not say so") == 1
    assert full.count(name="shop.pay") == 300


# --- the command that lists it


def test_audit_lists_the_newest_first_with_tabs_in_a_pipe(app: Celery, full: FullResult) -> None:
    full.audit("cancel", actor="ada\t", task_ids=["a", "b"])
    full.audit("purge", actor="bob", details={"deleted": 1}, outcome="failed")

    result = run(app, "audit")

    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[1:] for line in lines] == [
        ["bob", "purge", "failed", "0", "", '{"deleted": 1}'],
        ["ada\\t", "cancel", "done", "2", "a", "{}"],
    ]


def test_audit_prints_json_and_goes_on_after_a_cursor(app: Celery, full: FullResult) -> None:
    for number in range(3):
        full.audit("resend", actor="ada", task_ids=[f"{number}"])

    first = json.loads(run(app, "audit", "--limit", "2", "--json").stdout)
    rest = json.loads(run(app, "audit", "--after", first["next"], "--json").stdout)

    assert set(first["entries"][0]) == set(vars(full.audit_log()[0]))
    assert [e["task_ids"] for e in (*first["entries"], *rest["entries"])] == [["2"], ["1"], ["0"]]
    assert rest["next"] is None


def test_audit_narrows(app: Celery, full: FullResult) -> None:
    full.audit("resend", actor="ada", task_ids=["a"])
    full.audit("cancel", actor="bob", task_ids=["b"])

    for asked in (["--actor", "ada"], ["--action", "resend"], ["--task-id", "a"]):
        assert run(app, "audit", *asked).stdout.count("\n") == 1
    nothing = run(app, "audit", "--since", "1h", "--until", "30m")
    assert (nothing.stdout, nothing.stderr) == ("", "The audit log has no such entry.\n")


def test_a_cursor_that_is_none_is_wrong_usage(app: Celery) -> None:
    result = run(app, "audit", "--after", "yesterday")

    assert result.exit_code == 2
    assert "is no cursor" in result.stderr
