"""Replays that people cancel and undo: what is not sent never is, and what ran is told.

Long because each way in which what was sent may run all the same is tried on three storages.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context

from fullresult import FullResult
from fullresult.actions import replay_ends, told_workers
from fullresult.actions.replay_ends import Part, Undone
from fullresult.actions.replays import Replays, WrongReplay
from fullresult.record import TaskQuery
from fullresult.record.replay import Replay
from fullresult.scheduling import replay_window
from fullresult.scheduling.replay_governor import Governor
from fullresult.storage import StorageError
from tests.kit import browsing, workers
from tests.kit.heartbeats import confirming, working
from tests.kit.replaying import FAST, govern, is_over, sent, swept


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here begins of itself; a reply may take long where the machine has other work."""
    monkeypatch.setattr(replay_ends, "SETTLES", 0.0)
    monkeypatch.setattr(told_workers, "WAIT", 20.0)


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    with (
        workers.storage(request.param, request, tmp_path) as url,
        browsing.shop(url, broker_transport_options={"polling_interval": 0.01}) as app,
    ):
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


def test_undo_cancels_what_is_not_sent_and_says_what_ran(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    ids = browsing.failed(app, 5)
    replay = replays.create(state="FAILURE", rate=0.5)
    govern(governor, replays, replay.replay_id)
    swept(full, lambda: replays.progress(replay.replay_id).under_way == 1)
    (ran,) = sent(app)
    browsing.ran(app, ran, "shop.charge")
    waiting = replays.progress(replay.replay_id).waiting

    undone = replays.undo(replay.replay_id)

    assert (undone.cancelled, undone.revoked, undone.ran) == (waiting, [], [ran])
    assert replays.get(replay.replay_id).state == "UNDONE"
    # What was cancelled may be sent by another; what ran is not.
    anew = replays.create(state="FAILURE", rate=FAST)
    swept(full, is_over(replays, anew.replay_id))
    assert replays.get(anew.replay_id).taken == 4
    assert sorted(sent(app)) == sorted(
        anew.new_id(each) for each in ids if replay.new_id(each) != ran
    )


def test_undo_revokes_what_was_sent_and_has_not_begun(
    app: Celery, full: FullResult, replays: Replays
) -> None:
    (task_id,) = browsing.failed(app, 1)
    replay = replays.create(state="FAILURE", rate=FAST)
    swept(full, is_over(replays, replay.replay_id))

    with confirming(app) as told:
        undone = replays.undo(replay.replay_id)

    assert told == [replay.new_id(task_id)]
    assert (undone.cancelled, undone.ran, undone.why_not) == (0, [], None)
    assert undone.revoked == [replay.new_id(task_id)]
    # The failure is to be dealt with again, and another replay may, when a worker has dropped it.
    assert [each.task_id for each in full.find(state="FAILURE", unresolved=True)] == [task_id]
    dropped = Context({"id": replay.new_id(task_id), "hostname": "w1@host"})
    full.recorder.revoked(dropped, "shop.charge", "revoked")
    (group,) = full.failures.find()
    assert (group.state, group.unresolved) == ("FAILURE", 1)
    anew = replays.create(state="FAILURE", rate=FAST)
    swept(full, is_over(replays, anew.replay_id))
    assert sent(app)[-1] == anew.new_id(task_id)


@pytest.mark.parametrize("is_sent", [True, False])
def test_what_somebody_sent_meanwhile_is_dealt_with_though_its_replay_is_undone(
    app: Celery, full: FullResult, replays: Replays, governor: Governor, is_sent: bool
) -> None:
    """Or it would be sent once more."""
    (task_id,) = browsing.failed(app, 1)
    replay = replays.create(state="FAILURE", rate=FAST)
    if is_sent:
        swept(full, is_over(replays, replay.replay_id))
    else:
        govern(governor, replays, replay.replay_id)
        replays.pause(replay.replay_id)
    by_a_person = full.resend(task_id).id

    with confirming(app):
        undone = replays.undo(replay.replay_id)

    assert undone.cancelled + len(undone.revoked) == 1
    found = full.get(task_id)
    assert found is not None
    assert found.resent_as == by_a_person
    assert full.find(state="FAILURE", unresolved=True) == []


def test_undo_revokes_what_a_sweeper_is_sending_and_what_was_revoked_did_not_run(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 3)
    replay = replays.create(state="FAILURE", rate=FAST)
    govern(governor, replays, replay.replay_id)
    storage, first = full.parts.schedule_storage, full.scheduled(limit=1)[0]
    assert full.cancel(first.task_id)
    soon = full.storage.now() + timedelta(minutes=1)
    (claimed,) = storage.claim_due(full.settings.namespace, soon, "a sweeper", 1)

    with confirming(app):
        undone = replays.undo(replay.replay_id)

    assert (undone.cancelled, undone.revoked, undone.ran) == (1, [claimed.task_id], [])


def test_undo_that_the_broker_cut_off_is_done_again(
    app: Celery, full: FullResult, replays: Replays, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task_id,) = browsing.failed(app, 1)
    replay = replays.create(state="FAILURE", rate=FAST)
    swept(full, is_over(replays, replay.replay_id))

    with monkeypatch.context() as away:
        away.setattr(app.control, "revoke", _away)
        with pytest.raises(OSError, match="away"):
            replays.undo(replay.replay_id)

    with confirming(app):
        assert replays.undo(replay.replay_id).revoked == [replay.new_id(task_id)]
    with pytest.raises(WrongReplay, match="UNDONE"):
        replays.undo(replay.replay_id)


@pytest.mark.parametrize("how", ["cancel", "undo"])
def test_what_was_cancelled_and_not_given_up_by_who_was_cut_off_is_given_up_by_the_next(
    app: Celery,
    full: FullResult,
    replays: Replays,
    governor: Governor,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """It would count as dealt with for ever, and never run."""
    ids = browsing.failed(app, 3)
    replay = replays.create(state="FAILURE", rate=FAST)
    govern(governor, replays, replay.replay_id)
    with monkeypatch.context() as away:
        away.setattr(replay_window, "give_up", _cut_off)
        with pytest.raises(StorageError, match="away"):
            replays.cancel(replay.replay_id)
    assert full.count_scheduled() == 0

    getattr(replays, how)(replay.replay_id)

    left = full.find(state="FAILURE", unresolved=True)
    assert sorted(each.task_id for each in left) == sorted(ids)
    anew = replays.create(state="FAILURE", rate=FAST)
    swept(full, is_over(replays, anew.replay_id))
    assert sorted(sent(app)) == sorted(map(anew.new_id, ids))


def _cut_off(*_: Any) -> None:
    raise StorageError("the storage is away")


def _away(ids: list[str], **_: Any) -> None:
    raise OSError(f"the broker is away from {len(ids)}")


def of_one_sent(app: Celery, full: FullResult) -> tuple[str, Replay]:
    """A replay that is done, and the new id of the one task that it sent."""
    (task_id,) = browsing.failed(app, 1)
    replay = full.replays.create(state="FAILURE", rate=FAST)
    swept(full, is_over(full.replays, replay.replay_id))
    return replay.new_id(task_id), full.replays.get(replay.replay_id)


def left(full: FullResult) -> list[str]:
    """The failures that are not dealt with."""
    return sorted(each.task_id for each in full.find(state="FAILURE", unresolved=True))


def test_what_begins_while_workers_are_told_ran_and_stays_dealt_with(
    app: Celery, full: FullResult, replays: Replays
) -> None:
    new_id, replay = of_one_sent(app, full)

    def begin(task_id: str) -> None:
        browsing.ran(app, task_id, "shop.charge")

    with confirming(app, before=begin):
        undone = replays.undo(replay.replay_id)

    assert (undone.revoked, undone.ran, undone.may_run) == ([], [new_id], [])
    assert left(full) == []
    assert replays.get(replay.replay_id).state == "UNDONE"


def test_so_does_what_the_storage_knows_of_a_moment_later(
    app: Celery, full: FullResult, replays: Replays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_ends, "SETTLES", 30.0)
    new_id, replay = of_one_sent(app, full)
    looks: list[int] = []
    waiting = replay_ends.Ends._waiting

    def look(ends: Any, some: Any, ran: list[str]) -> Any:
        looks.append(1)
        if len(looks) == 3:  # before it was told, after that, and now
            browsing.ran(app, new_id, "shop.charge")
        return waiting(ends, some, ran)

    monkeypatch.setattr(replay_ends.Ends, "_waiting", look)
    with confirming(app):
        undone = replays.undo(replay.replay_id)

    assert (undone.revoked, undone.ran, len(looks)) == ([], [new_id], 3)
    assert left(full) == []


@pytest.mark.parametrize("lives", [True, False])
def test_what_not_all_workers_confirm_may_run_and_is_not_undone(
    app: Celery,
    full: FullResult,
    replays: Replays,
    monkeypatch: pytest.MonkeyPatch,
    lives: bool,
) -> None:
    new_id, replay = of_one_sent(app, full)
    working(app, "w2@deaf", alive=lives)
    monkeypatch.setattr(told_workers, "WAIT", 0.2)

    undone = replays.undo(replay.replay_id)

    who = "w2@deaf did not confirm" if lives else "no worker is alive"
    assert (undone.revoked, undone.ran, undone.may_run) == ([], [], [new_id])
    assert undone.why_not == f"1 task may still run: {who}"
    assert left(full) == []
    found = replays.get(replay.replay_id)
    assert (found.state, found.may_run) == ("DONE", 1)
    assert found.reason.endswith(f"is not complete: 1 task may still run: {who}")
    browsing.ran(app, new_id, "shop.charge")
    assert replays.undo(replay.replay_id).ran == [new_id]
    assert replays.get(replay.replay_id).state == "UNDONE"


def test_where_a_part_goes_on_is_what_the_replay_has_and_not_what_is_asked(
    app: Celery, replays: Replays, governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a forged request would leave out tasks, and call the replay undone."""
    monkeypatch.setattr(replay_window, "_PORTION", 2)
    browsing.failed(app, 6)
    replay_id = replays.create(state="FAILURE", rate=FAST).replay_id
    govern(governor, replays, replay_id)

    first = replays.undo(replay_id, Part(0.0, before=0))
    assert (first.cancelled, first.before) == (2, 4)
    assert replays.get(replay_id).ended == {"undo": 4}
    second = replays.undo(replay_id, Part(0.0, before=1))
    assert (second.cancelled, second.before) == (2, 2)
    last = replays.undo(replay_id, Part(before=2))

    assert (last.cancelled, last.before) == (2, None)
    found = replays.get(replay_id)
    assert (found.state, found.ended) == ("UNDONE", {})


def test_one_that_not_all_confirmed_in_an_earlier_part_keeps_the_last_from_being_all(
    app: Celery, full: FullResult, replays: Replays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_window, "_PORTION", 1)
    browsing.failed(app, 2)
    replay_id = replays.create(state="FAILURE", rate=FAST).replay_id
    swept(full, is_over(replays, replay_id))
    first = replays.undo(replay_id, Part(0.0))
    with confirming(app):
        rest = replays.undo(replay_id, Part(before=first.before))
        found = replays.get(replay_id)
        again = replays.undo(replay_id)

    assert (len(first.may_run), len(rest.revoked), len(again.revoked)) == (1, 1, 1)
    assert (found.state, found.may_run) == ("DONE", 1)
    assert (replays.get(replay_id).state, replays.get(replay_id).may_run) == ("UNDONE", 0)


def test_two_people_who_undo_it_at_once_are_both_told_and_each_task_is_cancelled_once(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    ids = browsing.failed(app, 20)
    replay_id = replays.create(state="FAILURE", rate=FAST).replay_id
    govern(governor, replays, replay_id)

    with ThreadPoolExecutor(4) as pool:
        undone = [*pool.map(lambda _: _undo(full, replay_id), range(4))]

    told = [each for each in undone if each is not None]
    assert sum(each.cancelled for each in told) == 20
    assert replays.get(replay_id).state == "UNDONE"
    assert left(full) == sorted(ids)


def _undo(full: FullResult, replay_id: str) -> Undone | None:
    try:
        return full.replays.undo(replay_id)
    except WrongReplay:
        return None


@pytest.mark.parametrize("how", ["cancel", "revoke"])
def test_a_task_that_a_person_stops_alone_may_be_taken_by_another_replay(
    app: Celery, full: FullResult, replays: Replays, governor: Governor, how: str
) -> None:
    first, second = browsing.failed(app, 2)
    replay = replays.create(state="FAILURE", rate=FAST)
    govern(governor, replays, replay.replay_id)
    new_id = replay.new_id(first)
    if how == "cancel":
        assert full.cancel(new_id)
    else:
        swept(full, is_over(replays, replay.replay_id))
        with confirming(app):
            full.revoke(new_id)
        full.recorder.revoked(Context({"id": new_id, "hostname": "w1@host"}), "shop.charge", "no")
    assert left(full) == [first]

    anew = replays.create(state="FAILURE", rate=FAST)
    swept(full, is_over(replays, anew.replay_id))
    swept(full, is_over(replays, replay.replay_id))

    found = replays.get(anew.replay_id)
    assert (found.taken, found.left_out) == (1, {})
    assert set(sent(app)) >= {anew.new_id(first), replay.new_id(second)}
    assert left(full) == []


@pytest.mark.parametrize("how", ["undo", "cancel", "one"])
def test_what_was_dealt_with_before_a_replay_stays_so_when_that_is_taken_back(
    app: Celery, full: FullResult, replays: Replays, governor: Governor, how: str
) -> None:
    """Its re-send succeeded, and was deleted sooner: else it would be sent once more."""
    (task_id,) = browsing.failed(app, 1)
    by_a_person = full.resend(task_id).id
    browsing.ran(app, by_a_person, "shop.charge")
    full.storage.delete(TaskQuery(task_ids=[by_a_person]))
    replay = replays.create(state="FAILURE", rate=FAST, all=True)
    govern(governor, replays, replay.replay_id)
    taken = full.get(task_id)
    assert taken is not None
    assert taken.resent_as == replay.new_id(task_id)

    if how == "one":
        assert full.cancel(replay.new_id(task_id))
    else:
        getattr(replays, how)(replay.replay_id)

    after = full.get(task_id)
    assert after is not None
    assert after.resent_as == by_a_person
    assert left(full) == []


def test_so_does_what_was_resolved_and_one_whose_first_re_send_was_cancelled_since_does_not(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    (task_id,) = browsing.failed(app, 1)
    record = full.get(task_id)
    assert record is not None
    assert record.fingerprint is not None
    full.failures.resolve(record.fingerprint)
    replay = replays.create(state="FAILURE", rate=FAST, all=True)
    govern(governor, replays, replay.replay_id)
    replays.undo(replay.replay_id)
    assert left(full) == []

    full.failures.reopen(record.fingerprint)
    waits = full.resend(task_id, countdown=3600).id
    by_a_person = full.resend(task_id, countdown=3600).id
    assert full.cancel(waits)
    assert full.cancel(by_a_person)

    assert left(full) == [task_id]


def test_a_cancelled_replay_sends_nothing_more(
    app: Celery, full: FullResult, replays: Replays, governor: Governor
) -> None:
    browsing.failed(app, 5)
    replay = replays.create(state="FAILURE", rate=1.0)
    taken = govern(governor, replays, replay.replay_id).taken

    assert replays.cancel(replay.replay_id) == taken

    assert full.count_scheduled() == 0
    assert full.count(state="REVOKED") == taken
    with pytest.raises(WrongReplay, match="CANCELLED"):
        replays.resume(replay.replay_id)
