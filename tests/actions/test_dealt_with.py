"""What was sent again, or resolved, is dealt with: through every door, and on every storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from fullresult import FullResult
from fullresult.insight import failures
from fullresult.record import TaskQuery, TaskRecord
from tests.kit import browsing, workers
from tests.kit.commands import ids, run
from tests.kit.doors import DOORS, Door, sent_again


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    with workers.storage(request.param, request, tmp_path) as url, browsing.shop(url) as app:
        yield app


@pytest.fixture
def full(app: Celery) -> FullResult:
    found: FullResult = app.fullresult
    return found


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest, app: Celery) -> Door:
    found: Door = request.param(app)
    return found


def fail(app: Celery, records: list[TaskRecord]) -> None:
    for record in records:
        browsing.ran(app, record.task_id, "shop.charge", ValueError("card declined"))


def group_of(full: FullResult, task_id: str) -> str:
    record = full.get(task_id)
    assert record is not None
    assert record.fingerprint is not None
    return record.fingerprint


def test_to_send_all_that_failed_again_and_again_sends_each_once(
    app: Celery, full: FullResult, door: Door
) -> None:
    """Not 3, then 6, then 12."""
    failed = set(browsing.failed(app, 3))

    door.resend_failed()
    first = sent_again(app)
    door.resend_failed()
    second = sent_again(app)
    again = full.find(state="PENDING")
    fail(app, again)
    door.resend_failed()
    third = sent_again(app)

    assert (first, second) == (failed, set())
    assert third == {record.task_id for record in again}


def test_a_re_send_marks_what_it_stands_for(app: Celery, full: FullResult) -> None:
    (old,) = browsing.failed(app)
    before = full.get(old)

    new = str(full.resend(old).id)

    after = full.get(old)
    assert before is not None
    assert after is not None
    assert (before.resent_as, after.resent_as, after.state) == (None, new, "FAILURE")
    assert (after.date_created, after.date_updated) == (before.date_created, before.date_updated)
    assert full.find(state="FAILURE", unresolved=True) == []
    assert [record.task_id for record in full.find(unresolved=False)] == [old]


def test_a_broker_that_refuses_leaves_no_mark(
    app: Celery, full: FullResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = browsing.failed(app)

    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("no")

    monkeypatch.setattr(app, "producer_or_acquire", refuse)
    with pytest.raises(OperationalError):
        full.resend(old)

    assert [record.task_id for record in full.find(state="FAILURE", unresolved=True)] == [old]


def test_listings_and_counts_are_of_what_is_left(app: Celery, full: FullResult) -> None:
    old, left = browsing.failed(app, 2)
    full.resend(old)

    assert ids(run(app, "list", "--state", "FAILURE")) == [left]
    assert set(ids(run(app, "list", "--state", "FAILURE", "--all"))) == {old, left}
    assert len(ids(run(app, "list"))) == 3
    assert run(app, "count", "--state", "FAILURE").stdout == "1\n"
    assert run(app, "count", "--state", "FAILURE", "--all").stdout == "2\n"


def test_commands_say_that_all_is_dealt_with(app: Celery, full: FullResult) -> None:
    (old,) = browsing.failed(app)
    full.resend(old)

    assert "dealt with" in run(app, "list", "--state", "FAILURE").stderr
    sent = run(app, "resend", "--state", "FAILURE", "--yes")
    assert (sent.exit_code, sent.stdout) == (0, "")
    assert "dealt with" in sent.stderr
    assert ids(run(app, "resend", "--state", "FAILURE", "--all", "--dry-run")) == [old]


def test_delete_leaves_what_is_not_dealt_with(app: Celery, full: FullResult) -> None:
    old, left = browsing.failed(app, 2)
    full.resend(old)

    assert run(app, "delete", "--state", "FAILURE", "--yes").exit_code == 0
    assert (full.get(old), full.get(left) is not None) == (None, True)
    assert "dealt with" in run(app, "delete", "--state", "FAILURE", "--yes").stderr
    assert run(app, "delete", "--state", "FAILURE", "--all", "--yes").exit_code == 0
    assert full.get(left) is None


def test_a_search_of_which_all_is_dealt_with_has_nothing_to_retry(
    app: Celery, full: FullResult
) -> None:
    (old,) = browsing.failed(app)
    full.resend(old)

    page = browsing.entered(app).get("/retry?q=state:FAILURE")

    assert (page.status, "all are dealt with" in page.words) == (404, True)


def test_what_failed_after_the_page_was_shown_stays_open_when_it_is_resolved(
    app: Celery, full: FullResult
) -> None:
    (first,) = browsing.failed(app)
    group = group_of(full, first)
    browser = browsing.entered(app)
    page = browser.get(f"/failure?id={group}")
    (later,) = browsing.failed(app)

    browser.submit(page.form("/failure"), do="resolve")

    assert [each.task_id for each in full.find(state="FAILURE", unresolved=True)] == [later]
    with pytest.raises(ValueError, match="aware"):
        full.failures.resolve(group, seen=datetime(2026, 1, 1))  # noqa: DTZ001
    full.failures.resolve(group)
    assert full.find(state="FAILURE", unresolved=True) == []


def test_an_older_page_takes_back_nothing_of_what_was_resolved_since(
    app: Celery, full: FullResult
) -> None:
    (first,) = browsing.failed(app)
    group = group_of(full, first)
    seen = full.storage.now()
    browsing.failed(app)
    full.failures.resolve(group)

    full.failures.resolve(group, seen=seen)

    assert full.find(state="FAILURE", unresolved=True) == []


def test_a_group_is_resolved_and_fails_again(app: Celery, full: FullResult) -> None:
    first, second = browsing.failed(app, 2)
    group = group_of(full, first)
    assert group_of(full, second) == group

    full.failures.resolve(group, "mended in 4.2")
    resolved = full.find(state="FAILURE", unresolved=True)
    (third,) = browsing.failed(app)

    (found,) = full.failures.find()
    assert resolved == []
    assert (found.fingerprint, found.standing, found.count) == (group, "regressed", 3)
    assert found.unresolved == 1
    assert [r.task_id for r in full.find(state="FAILURE", unresolved=True)] == [third]
    assert ids(run(app, "list", "--group", group)) == [third]
    assert set(ids(run(app, "list", "--group", group, "--all"))) == {first, second, third}


def test_a_muted_group_is_left_out_of_groups_only(app: Celery, full: FullResult) -> None:
    (old,) = browsing.failed(app)
    group = group_of(full, old)

    full.failures.mute(group, count=1)

    assert full.failures.find() == []
    assert [each.standing for each in full.failures.find(all=True)] == ["muted"]
    assert full.count(state="FAILURE", unresolved=True) == 1
    browsing.failed(app, 2)
    assert [each.standing for each in full.failures.find()] == ["open"]
    full.failures.mute(group)
    full.failures.reopen(group)
    assert [each.standing for each in full.failures.find()] == ["open"]


def test_an_old_failure_is_not_hidden_by_the_newest_that_are_dealt_with(
    app: Celery, full: FullResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST", 2)
    old, *newest = browsing.failed(app, 4)
    group = group_of(full, old)
    for task_id in newest:
        full.resend(task_id)

    (found,) = full.failures.find()
    assert (found.counted, found.left, found.unresolved) == ("2+", "1+", 1)
    assert found.rate.endswith("+")
    assert f"2+, {found.rate} an hour" in run(app, "failures", "show", group).stdout

    full.resend(old)
    assert full.failures.find() == []
    full.failures.resolve(group)
    assert [each.left for each in full.failures.find(all=True)] == ["0"]


def test_what_is_decided_is_in_the_audit_log_and_what_could_not_be(
    app: Celery, full: FullResult
) -> None:
    (old,) = browsing.failed(app)
    group = group_of(full, old)

    full.failures.resolve(group, "mended", actor="ada")
    with pytest.raises(LookupError, match="1-none"):
        full.failures.mute("1-none")

    failed, done = full.audit_log(limit=2)
    assert (failed.action, failed.outcome, failed.details["group"]) == ("mute", "failed", "1-none")
    assert (done.action, done.outcome, done.actor) == ("resolve", "done", "ada")
    assert done.details["note"] == "mended"


def test_the_command_lists_shows_and_decides(app: Celery, full: FullResult) -> None:
    (old,) = browsing.failed(app)
    group = group_of(full, old)

    listed = run(app, "failures", "--fail")
    assert listed.exit_code == 3
    assert listed.stdout.split("\t")[:4] == [group, "open", "1", "1"]
    (document,) = json.loads(run(app, "failures", "--json").stdout)["failures"]
    assert (document["fingerprint"], document["newest_id"]) == (group, old)
    shown = run(app, "failures", "show", group, "--affected", "amount")
    assert "ValueError: card declined" in shown.stdout
    assert "amount: 1 value, of the newest 1: 0.0 (1)" in shown.stdout
    assert old[:8] in shown.stdout
    assert run(app, "failures", "resolve", group, "--note", "mended").exit_code == 0
    assert run(app, "failures", "--fail").exit_code == 0
    assert run(app, "failures", "--all").stdout.split("\t")[1] == "resolved"
    assert run(app, "failures", "reopen", group).exit_code == 0
    assert run(app, "failures", "mute", group, "--until", "in 2h").exit_code == 0
    assert run(app, "failures", "show", group).stdout.count("muted by") == 1


@pytest.mark.parametrize("command", ["show", "resolve", "mute", "reopen"])
def test_an_unknown_group_is_an_error_that_names_it(app: Celery, command: str) -> None:
    result = run(app, "failures", command, "1-\x1b[2J")

    assert result.exit_code == 1
    assert "1-" in result.stderr
    assert "\x1b" not in result.output


def test_the_tasks_of_a_group_are_sent_again(app: Celery, full: FullResult) -> None:
    failed = browsing.failed(app, 2)
    browsing.charge(app)
    browsing.sent(app)

    result = run(app, "resend", "--group", group_of(full, failed[0]), "--yes")

    assert result.exit_code == 0
    assert sent_again(app) == set(failed)


def test_old_failures_get_a_group(app: Celery, full: FullResult) -> None:
    ids_ = browsing.failed(app, 2)
    for task_id in ids_:
        record = full.get(task_id)
        assert record is not None
        assert record.outcome is not None
        full.storage.delete(TaskQuery(task_ids=[task_id]))
        bare = record.outcome._replace(fingerprint=None)
        full.storage.write([TaskRecord(**{**vars(record), "outcome": bare, "entries": ()})])

    assert full.failures.find() == []
    assert run(app, "failures", "group-old").stdout == "2 failures got a group.\n"
    assert full.failures.group_old() == 0
    (group,) = full.failures.find()
    assert group.count == 2


def test_what_is_new_since_a_time_or_a_release(app: Celery, full: FullResult) -> None:
    browsing.failed(app)
    now = full.storage.now()

    assert full.failures.find(new_since=now - timedelta(hours=1))[0].standing == "new"
    assert full.failures.find(new_since=now + timedelta(seconds=1)) == []
    with pytest.raises(LookupError, match=r"4\.2"):
        full.failures.find(new_since="4.2")
    assert run(app, "failures", "--new-since", "4.2").exit_code == 1
    assert run(app, "failures", "--new-since", "1h", "--fail").exit_code == 3
    assert run(app, "failures", "--name", "other.*", "--fail").exit_code == 0


def test_a_re_send_that_is_cancelled_leaves_the_failure(app: Celery, full: FullResult) -> None:
    (old,) = browsing.failed(app)
    record = full.get(old)
    assert record is not None
    new_id = later_as_re_send(app, record)
    marked = full.count(state="FAILURE", unresolved=True)

    assert full.cancel(new_id)

    assert marked == 0
    assert [each.task_id for each in full.find(state="FAILURE", unresolved=True)] == [old]


def later_as_re_send(app: Celery, record: TaskRecord) -> str:
    """A task that waits in the storage, and is recorded as a re-send of *record*."""
    full = app.fullresult
    new_id = str(app.tasks["shop.charge"].apply_async((1,), countdown=3600).id)
    new = full.get(new_id)
    message = new.message._replace(stamp="0", retry_of=record.task_id)
    event = record.sent_again(new_id, full.storage.now())
    assert event is not None
    full.storage.write([event])
    full.storage.write([TaskRecord(new_id, new.date_created, new.date_updated, message=message)])
    return new_id
