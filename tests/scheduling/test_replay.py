"""Replays: taken at their rate, stopped by failures, paused and undone, whoever dies meanwhile.

Long because each danger is tried on one app, whose replays the functions here steer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, signature

from fullresult import FullResult, TaskQuery
from fullresult.actions.audit import Actor
from fullresult.actions.replay_message import Preparing
from fullresult.actions.replays import Replays, Stop, WrongReplay
from fullresult.record.replay import ACTIVE, Replay
from fullresult.record.schedule import ScheduleQuery
from fullresult.scheduling import replay_window
from fullresult.scheduling.replay_governor import Governor, LeftOut
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.storage.replays import NOT_YET, with_replays
from tests.kit import browsing, workers
from tests.kit.replaying import FAST, govern, govern_and_send, is_over, sent, swept


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    with workers.storage(request.param, request, tmp_path) as url, browsing.shop(url) as app:
        yield app


@pytest.fixture
def full(app: Celery) -> FullResult:
    found: FullResult = app.fullresult
    return found


@pytest.fixture
def replays(full: FullResult) -> Replays:
    return full.replays


@pytest.fixture
def governor(full: FullResult) -> Governor:
    found = full.parts._governor()
    assert found is not None
    return found


def again(full: FullResult, task_id: str) -> list[str]:
    return [record.task_id for record in full.find(retry_of=task_id)]


def told(full: FullResult, replay_id: str) -> list[str]:
    """What was done to a replay, the first first."""
    found = [e.details for e in full.audit_log() if e.details.get("replay") == replay_id]
    return [str(details["did"]) for details in reversed(found)]


def test_each_that_matches_is_sent_once_under_its_new_id_with_its_arguments(
    app: Celery, full: FullResult, replays: Replays
) -> None:
    ids = browsing.failed(app, 12)

    replay = replays.create(state="FAILURE", rate=FAST)
    swept(full, is_over(replays, replay.replay_id))

    done = replays.get(replay.replay_id)
    assert (done.state, done.taken, done.left_out) == ("DONE", 12, {})
    assert sorted(sent(app)) == sorted(map(replay.new_id, ids))
    for task_id in ids:
        old, new = full.get(task_id), full.get(replay.new_id(task_id))
        assert old is not None
        assert new is not None
        assert (new.retry_of, new.args, new.kwargs) == (task_id, old.args, old.kwargs)
        assert new.state == "SCHEDULED_SENT"
    assert told(full, replay.replay_id) == ["create", "DONE"]
    assert replays.progress(replay.replay_id).under_way == 12


def test_what_is_created_later_is_not_sent(app: Celery, full: FullResult, replays: Replays) -> None:
    browsing.failed(app, 1)
    replay = replays.create(state="FAILURE", rate=FAST)
    later = browsing.failed(app, 1)

    swept(full, is_over(replays, replay.replay_id))

    assert len(sent(app)) == 1
    assert again(full, later[0]) == []


def test_no_more_than_two_seconds_are_taken_ahead(
    app: Celery, replays: Replays, governor: Governor, full: FullResult
) -> None:
    browsing.failed(app, 30)
    replay = replays.create(state="FAILURE", rate=5.0)

    for _ in range(3):
        found = govern(governor, replays, replay.replay_id)

    took = (full.storage.now() - replay.date_created).total_seconds()
    assert 10 <= found.taken <= 5 * (2 + took) + 1
    waiting = full.scheduled(limit=100)
    apart = [(b.due - a.due).total_seconds() for a, b in pairwise(waiting)]
    assert min(apart) >= 0.199


def test_nothing_more_is_taken_while_what_was_is_late(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    """Or an hour without a broker would end in an hour's tasks at once."""
    browsing.failed(app, 30)
    replay = replays.create(state="FAILURE", rate=2.0)
    govern(governor, replays, replay.replay_id)
    _pass_by(full, replay)
    # So much may be late where sweeps are seldom.
    taken = govern(governor, replays, replay.replay_id).taken
    assert taken == 10
    _pass_by(full, replay)

    assert govern(governor, replays, replay.replay_id).taken == taken

    swept(full, lambda: replays.get(replay.replay_id).taken > taken)
    assert len(sent(app)) >= taken


def _pass_by(full: FullResult, replay: Replay) -> None:
    """Have all that was taken be due since ten seconds."""
    storage, events = full.parts.schedule_storage, ScheduleEvents(full.settings)
    past = full.storage.now() - timedelta(seconds=10)
    for each in full.scheduled():
        assert storage.reschedule(each.schedule_id, past, events.moved(each, past))
    found = full.replays.get(replay.replay_id)
    later = replace(found, next_due=past, version=found.version + 1)
    assert with_replays(storage).keep_replay(later, instead_of=found.version)


def test_a_canary_is_judged_by_all_of_it_in_whatever_order_they_end(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 4)
    replay = replays.create(state="FAILURE", rate=FAST, canary=4, stop_if=Stop(0.5))
    ids = govern_and_send(app, full, governor, replays, replay.replay_id)

    browsing.ran(app, ids[0], "shop.charge", ValueError("again"))
    assert govern(governor, replays, replay.replay_id).state == "CANARY"

    for task_id in ids[1:]:
        browsing.ran(app, task_id, "shop.charge")
    assert govern(governor, replays, replay.replay_id).state == "RUNNING"


def test_what_it_sent_itself_is_not_sent_by_it_again(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    """The hosts' clocks may be slow, so that a re-send is dated before its replay."""
    browsing.failed(app, 1)
    replay = replays.create(state="FAILURE", rate=FAST)
    (again,) = govern_and_send(app, full, governor, replays, replay.replay_id)
    browsing.ran(app, again, "shop.charge", ValueError("again"))
    record, prepare = full.get(again), governor._prepare
    assert record is not None

    with pytest.raises(LeftOut, match="sent by this replay"):
        prepare(replay, record, full.storage.now(), 1)
    assert prepare(replays.create(state="FAILURE"), record, full.storage.now(), 1)


def test_a_replay_that_cannot_be_read_does_not_keep_a_sweeper_from_sending(
    app: Celery,
    full: FullResult,
    replays: Replays,
    governor: Governor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    browsing.failed(app, 1)
    replay = replays.create(state="FAILURE", rate=FAST)
    of_a_newer_version = replace(replay, version=2, left_out={"x": 1}, canary_since=None)
    about = of_a_newer_version.about.replace('"next_due": null', '"next_due": {"\\u0000date": "?"}')
    monkeypatch.setattr(Replay, "about", about)
    assert with_replays(full.storage).keep_replay(of_a_newer_version, instead_of=1)
    monkeypatch.undo()

    governor.step()

    assert "replays wait" in caplog.text


def test_a_canary_of_10_that_fails_sends_10(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 25)
    replay = replays.create(state="FAILURE", rate=FAST, canary=10, stop_if=Stop(0.05, 50))
    for _ in range(3):
        govern(governor, replays, replay.replay_id)
    swept(full, lambda: full.count_scheduled() == 0)
    ids = sent(app)
    assert len(ids) == 10

    for task_id in ids:
        browsing.ran(app, task_id, "shop.charge", ValueError("card declined"))
    for _ in range(3):
        if replays.get(replay.replay_id).state in ACTIVE:
            govern(governor, replays, replay.replay_id)

    found = replays.get(replay.replay_id)
    assert (found.state, found.taken) == ("STOPPED", 10)
    assert found.reason == "canary: 10 of 10 failed"
    assert full.count_scheduled() == 0


@pytest.mark.parametrize("steps", [0, 3])
def test_a_canary_is_waited_for_though_it_was_paused_and_resumed(
    app: Celery, full: FullResult, replays: Replays, governor: Governor, steps: int
) -> None:
    """Before any of it was taken, and when all of it was."""
    browsing.failed(app, 25)
    replay_id = replays.create(state="FAILURE", rate=FAST, canary=10).replay_id
    for _ in range(steps):
        govern(governor, replays, replay_id)
    replays.pause(replay_id)

    resumed = replays.resume(replay_id)

    assert resumed.state == "CANARY"
    for _ in range(3):
        govern(governor, replays, replay_id)
    swept(full, lambda: full.count_scheduled() == 0)
    ids = sent(app)
    for task_id in ids:
        browsing.ran(app, task_id, "shop.charge", ValueError("card declined"))
    found = govern(governor, replays, replay_id)
    assert (len(ids), found.state, found.reason) == (10, "STOPPED", "canary: 10 of 10 failed")
    assert replays.resume(replay_id).state == "RUNNING"


def test_a_canary_that_succeeds_goes_on_and_one_that_does_not_end_is_paused(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 5)
    replay = replays.create(
        state="FAILURE", rate=FAST, canary=2, canary_wait=timedelta(milliseconds=1)
    )
    govern(governor, replays, replay.replay_id)
    paused = govern(governor, replays, replay.replay_id)
    assert (paused.state, paused.reason) == ("PAUSED", "canary: 2 of 2 have not ended")

    replays.resume(replay.replay_id)
    swept(full, is_over(replays, replay.replay_id))
    assert len(sent(app)) == 5

    browsing.failed(app, 3)
    other = replays.create(state="FAILURE", rate=FAST, canary=1)
    govern(governor, replays, other.replay_id)
    swept(full, lambda: full.count_scheduled() == 0)
    for task_id in sent(app):
        browsing.ran(app, task_id, "shop.charge")
    assert govern(governor, replays, other.replay_id).state == "RUNNING"


def test_it_stops_when_too_many_fail_and_holds_what_is_not_sent(
    app: Celery, full: FullResult, replays: Replays
) -> None:
    browsing.failed(app, 40)
    replay = replays.create(state="FAILURE", rate=10.0, stop_if=Stop(0.5, 4))

    def all_fail_that_are_sent() -> bool:
        for task_id in sent(app):
            browsing.ran(app, task_id, "shop.charge", ValueError("again"))
        return is_over(replays, replay.replay_id)()

    swept(full, all_fail_that_are_sent)

    found, progress = replays.get(replay.replay_id), replays.progress(replay.replay_id)
    assert found.state == "STOPPED"
    assert "failed" in found.reason
    assert found.taken < 40
    assert progress.waiting + progress.under_way + sum(progress.ended.values()) == found.taken
    soon = full.storage.now() + timedelta(days=365)
    assert full.count_scheduled(due_until=soon) == 0
    assert told(full, replay.replay_id) == ["create", "STOPPED"]


def test_a_stopped_one_that_is_resumed_goes_on_and_is_judged_by_what_it_sends_then(
    app: Celery,
    full: FullResult,
    replays: Replays,
    governor: Governor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(full.parts, "_governor", lambda: None)  # it is moved on here alone
    browsing.failed(app, 12)
    replay = replays.create(state="FAILURE", rate=FAST, canary=4, stop_if=Stop(0.5, 4))

    def all_fail() -> Replay:
        swept(full, lambda: full.scheduled(claimed=False, limit=1) == [])
        for task_id in sent(app):
            browsing.ran(app, task_id, "shop.charge", ValueError("again"))
        return govern(governor, replays, replay.replay_id)

    govern(governor, replays, replay.replay_id)
    assert all_fail().state == "STOPPED"

    replays.resume(replay.replay_id)

    resumed = govern(governor, replays, replay.replay_id)
    assert (resumed.state, resumed.taken) == ("RUNNING", 12)
    failed = all_fail()
    assert (failed.state, failed.reason) == ("STOPPED", "8 of 8 failed")


def test_a_pause_holds_what_is_taken_and_a_resume_sends_it(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 6)
    replay = replays.create(state="FAILURE", rate=2.0)
    taken = govern(governor, replays, replay.replay_id).taken
    assert taken >= 4

    replays.pause(replay.replay_id)

    tomorrow = full.storage.now() + timedelta(days=1)
    assert full.count_scheduled(due_until=tomorrow) == 0
    assert full.count_scheduled() == taken
    with pytest.raises(WrongReplay, match="is PAUSED: paused by"):
        replays.pause(replay.replay_id)

    replays.resume(replay.replay_id)

    assert full.count_scheduled(due_until=tomorrow) == taken
    swept(full, is_over(replays, replay.replay_id))
    assert len(sent(app)) == 6
    assert told(full, replay.replay_id) == ["create", "pause", "resume", "DONE"]


def test_what_is_held_by_somebody_who_did_not_see_the_resume_is_sent_all_the_same(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 3)
    replay = replays.create(state="FAILURE", rate=FAST)
    taken = govern(governor, replays, replay.replay_id)
    assert taken.exhausted
    assert replay_window.hold(with_replays(full.storage), ScheduleEvents(full.settings), taken) == 3

    swept(full, is_over(replays, replay.replay_id))

    assert replays.get(replay.replay_id).state == "DONE"
    assert len(sent(app)) == 3


def test_what_was_taken_and_is_not_due_when_all_else_is_sent_is_sent(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    """On MongoDB: who took it died, and since it is marked as sent again, it is not found again."""
    browsing.failed(app, 3)
    replay = replays.create(state="FAILURE", unresolved=True, rate=FAST)
    govern(governor, replays, replay.replay_id)
    events = ScheduleEvents(full.settings)
    for each in full.scheduled(limit=None):
        with_replays(full.storage).reschedule(
            each.schedule_id, NOT_YET, events.moved(each, NOT_YET)
        )

    swept(full, is_over(replays, replay.replay_id))

    assert replays.get(replay.replay_id).state == "DONE"
    assert len(sent(app)) == 3


def test_so_is_what_was_taken_long_before_the_last(
    app: Celery,
    full: FullResult,
    replays: Replays,
    governor: Governor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay_window, "_PORTION", 2)
    monkeypatch.setattr(replay_window, "_WINDOW", 2)
    browsing.failed(app, 9)
    replay = replays.create(state="FAILURE", rate=FAST)
    govern(governor, replays, replay.replay_id)
    events, storage = ScheduleEvents(full.settings), with_replays(full.storage)
    first = full.scheduled(limit=1)[0]
    storage.reschedule(first.schedule_id, NOT_YET, events.moved(first, NOT_YET))

    swept(full, is_over(replays, replay.replay_id))

    assert replays.get(replay.replay_id).state == "DONE"
    assert len(sent(app)) == 9


def test_what_another_left_that_was_cancelled_is_neither_waited_for_nor_sent(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    """Nor does every step look through all that was taken, for as long as that is there."""
    browsing.failed(app, 2)
    other = replays.create(state="FAILURE", rate=FAST)
    govern(governor, replays, other.replay_id)
    events, storage = ScheduleEvents(full.settings), with_replays(full.storage)
    for each in full.scheduled(limit=None):
        storage.reschedule(each.schedule_id, NOT_YET, events.moved(each, NOT_YET))
    cancelled = replays.get(other.replay_id)
    gone = replace(cancelled, state="CANCELLED", version=cancelled.version + 1)
    assert storage.keep_replay(gone, instead_of=cancelled.version)
    browsing.failed(app, 3)
    replay = replays.create(state="FAILURE", rate=FAST)

    swept(full, is_over(replays, replay.replay_id))

    found = replays.get(replay.replay_id)
    assert (found.state, found.taken) == ("DONE", 3)
    assert replay_window.strays_of(storage, found) == []
    assert len(replay_window.strays_of(storage, gone)) == 2
    assert len(sent(app)) == 3


def test_a_second_replay_of_the_same_leaves_out_what_the_first_took(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 9)
    first = replays.create(state="FAILURE", rate=2.0)
    second = replays.create(state="FAILURE", rate=FAST, all=True)
    taken = govern(governor, replays, first.replay_id).taken

    govern(governor, replays, second.replay_id)

    other = replays.get(second.replay_id)
    assert (other.taken, sum(other.left_out.values())) == (9 - taken, taken)
    swept(full, lambda: full.count_scheduled() == 0 and is_over(replays, first.replay_id)())
    assert len(sent(app)) == 9


def test_a_task_that_the_same_replay_took_is_no_reason_to_leave_it_out(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    """Or a page that is done again, after its governor was killed, would count its tasks so."""
    (task_id,) = browsing.failed(app, 1)
    replay, other = (replays.create(state="FAILURE", rate=0.5) for _ in range(2))
    govern(governor, replays, replay.replay_id)
    prepare = Preparing(app, full.settings, full.storage, full.recorder)
    record, now = full.get(task_id), full.storage.now()
    assert record is not None

    assert prepare(replay, record, now, 0).schedule.task_id == replay.new_id(task_id)
    with pytest.raises(LeftOut, match="sent again already"):
        prepare(other, record, now, 0)


def test_what_is_dealt_with_is_not_chosen_except_with_all(
    app: Celery, full: FullResult, replays: Replays
) -> None:
    dealt_with, *left = browsing.failed(app, 3)
    full.resend(dealt_with)
    failed = TaskQuery(state="FAILURE")

    seen = replays.preview(failed)
    replay, every = replays.create(failed), replays.create(failed, all=True)

    assert (seen.count, replays.preview(failed, all=True).count) == (2, 3)
    assert {each.task_id for each in full.storage.find(replay.tasks)} == {*left}
    assert len(full.storage.find(every.tasks)) == 3
    # A query that says itself is left as it is.
    assert replays.preview(TaskQuery(state="FAILURE", unresolved=False)).count == 1


def test_what_must_not_or_cannot_be_sent_is_left_out_and_counted(
    app: Celery, full: FullResult, replays: Replays
) -> None:
    browsing.failed(app, 1)
    (resent,) = browsing.failed(app, 1)
    full.resend(resent)
    charge = app.tasks["shop.charge"]
    charge.apply_async((1,), task_id="waits")
    chain(charge.s(1).set(task_id="step"), charge.s()).apply_async()
    browsing.ran(app, "step", "shop.charge")
    body = signature("shop.mail", app=app)
    charge.apply_async((1,), task_id="member", group_id="g", chord=body)
    browsing.ran(app, "member", "shop.charge", ValueError())
    sent(app)

    preview = replays.preview(_everything(), all=True)
    replay = replays.create(_everything(), rate=FAST, all=True)
    swept(full, is_over(replays, replay.replay_id))

    found = replays.get(replay.replay_id)
    assert found.taken == 1
    assert found.left_out == preview.left_out
    assert sum(found.left_out.values()) == preview.count - 1
    assert set(found.left_out) == {
        "not ended",
        "sent again already",
        "a member of a chord, whose body would not run",
        "a step of a chain that succeeded: the later ones would run again",
    }
    ((kind, number),) = preview.kinds.items()
    assert (kind[:3], number) == (("shop.charge", app.conf.task_default_queue, "ValueError"), 1)


def _everything() -> Any:
    return TaskQuery(name="shop.*")


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0}, {"rate": -1.0}, {"rate": 1e9}, {"canary": -1}, {"canary_wait": timedelta(0)}],
)
def test_what_makes_no_sense_is_refused(replays: Replays, wrong: dict[str, Any]) -> None:
    with pytest.raises(WrongReplay, match=next(iter(wrong))):
        replays.create(state="FAILURE", **wrong)


@pytest.mark.parametrize(
    "filters",
    [{"kwargs": {"card": "4111111111111111"}}, {"args_at": {0: "x@y.z"}}, {"text": "of x@y.z"}],
    ids=lambda filters: next(iter(filters)),
)
def test_what_redaction_hides_is_not_kept_as_what_a_replay_looks_for(
    tmp_path: Path, filters: dict[str, Any]
) -> None:
    hidden = ["card", re.compile(r"\S+@\S+")]
    with browsing.shop(f"sqlite:///{tmp_path}/a.db", fullresult_redact=hidden) as app:
        replays = app.fullresult.replays

        with pytest.raises(WrongReplay, match=f"{next(iter(filters))} has a value that"):
            replays.create(name="shop.*", **filters)
        replays.create(name="shop.*", kwargs={"order": 1})

        assert [each.query["kwargs"] for each in replays.list()] == [{"order": 1}]
        assert len(app.fullresult.audit_log()) == 1


def test_all_tasks_must_be_said_and_an_unknown_replay_is_an_error(replays: Replays) -> None:
    every: list[dict[str, Any]] = [{}, {"state": None}, {"kwargs": {}}, {"query": TaskQuery()}]
    for given in every:
        with pytest.raises(WrongReplay, match="say which tasks"):
            replays.create(**given)
    with pytest.raises(LookupError, match="'x'"):
        replays.pause("x")


def test_the_audit_log_names_who_did_it(app: Celery, full: FullResult) -> None:
    browsing.failed(app, 1)
    replay = full.replaying(Actor("ada", "web")).create(state="FAILURE")
    full.replaying(Actor("bob", "web")).pause(replay.replay_id)

    found = [(e.actor, e.action, e.details["did"]) for e in full.audit_log()]

    assert found == [("bob", "replay", "pause"), ("ada", "replay", "create")]


def test_a_schedule_that_was_claimed_and_not_marked_is_shown_and_never_sent_again(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 2)
    replay = replays.create(state="FAILURE", rate=FAST)
    govern(governor, replays, replay.replay_id)
    soon = full.storage.now() + timedelta(minutes=1)
    storage = full.parts.schedule_storage
    assert len(storage.claim_due(full.settings.namespace, soon, "dead", 1)) == 1

    swept(full, is_over(replays, replay.replay_id))

    progress = replays.progress(replay.replay_id)
    assert (progress.claimed, progress.under_way) == (1, 1)
    assert len(sent(app)) == 1
    (left,) = storage.find_schedules(ScheduleQuery(claimed=True))
    assert left.claim == "dead"
