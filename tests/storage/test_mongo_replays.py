"""Replays in MongoDB, where nothing is a transaction: callers that stand still, or die, within one.

A list of takings that does something before its second one is such a caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pymongo
import pytest

from fullresult.config.settings import Settings
from fullresult.record import Replay, Schedule, Taking, TaskRecord
from fullresult.record.replay import CANCELLED, PAUSED
from fullresult.record.schedule import ScheduleQuery
from fullresult.scheduling import replay_window
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.storage import StorageError
from fullresult.storage.replays import NOT_YET
from fullresult.testing import samples
from fullresult.testing.replays import changed, replay, taking
from fullresult_storage_mongo.outbox import as_bytes
from fullresult_storage_mongo.storage import MongoStorage
from tests.kit.mongo import using

EVENTS = ScheduleEvents(Settings())
SOME = [taking(str(number), number) for number in range(3)]


class Death(Exception):
    """Of the process that takes."""


class StandingStill(Sequence[Taking]):
    """Takings, before the second of which *meanwhile* happens."""

    def __init__(self, meanwhile: Callable[[], object], first: Taking = SOME[0]) -> None:
        self._meanwhile = meanwhile
        self._some = [first, *SOME[1:]]

    def __len__(self) -> int:
        return len(self._some)

    def __getitem__(self, index: Any) -> Any:
        if index == 1:
            self._meanwhile()
        return self._some[index]


@pytest.fixture
def storage(mongodb_url: str) -> Iterator[MongoStorage]:
    with using(mongodb_url, storage_timeout=timedelta(seconds=10)) as storage:
        storage._at_once = 1  # so that one stands still, or dies, between two
        storage.setup()
        storage.keep_replay(replay(), instead_of=None)
        yield storage


@pytest.fixture
def replays(mongodb_url: str) -> Iterator[Any]:
    """The collection."""
    with pymongo.MongoClient[dict[str, Any]](mongodb_url, tz_aware=True) as client:
        yield client.get_default_database()["fullresult_replay"]


def take(
    storage: MongoStorage, takings: Sequence[Taking] = SOME, since: int = 1
) -> Sequence[str] | None:
    after = replay(version=since + 1, taken=len(SOME))
    return storage.take_for_replay(after, takings, instead_of=since)


def waiting(storage: MongoStorage) -> list[Schedule]:
    return storage.find_schedules(ScheduleQuery(claimed=False, limit=None))


def due(storage: MongoStorage) -> list[str]:
    """What a sweeper would send, at whatever time that is before `NOT_YET`."""
    found = storage.claim_due("shop", NOT_YET - timedelta(days=1), "x", 10)
    return [each.task_id for each in found]


def die() -> None:
    raise Death


def move(storage: MongoStorage, state: str, since: int = 1) -> Replay:
    """As another process does, with what it finds to hold or cancel."""
    moved = replay(version=since + 1, state=state, taken=len(SOME))
    assert storage.keep_replay(moved, instead_of=since)
    if state == PAUSED:
        replay_window.hold(storage, EVENTS, moved)
    if state == CANCELLED:
        replay_window.cancel(storage, EVENTS, moved)
    return moved


def test_what_is_kept_after_the_replay_was_cancelled_is_never_due(storage: MongoStorage) -> None:
    assert take(storage, StandingStill(lambda: move(storage, CANCELLED))) is None

    assert due(storage) == []
    assert {each.due for each in waiting(storage)} == {NOT_YET}


def test_what_is_kept_after_it_was_paused_is_due_when_the_page_is_done_again(
    storage: MongoStorage,
) -> None:
    assert take(storage, StandingStill(lambda: move(storage, PAUSED))) is None
    assert due(storage) == []

    replay_window.let_go(storage, EVENTS, move(storage, "RUNNING", since=2))
    took = take(storage, since=3)

    assert took == ["0", "1", "2"]
    assert sorted(due(storage)) == sorted(each.schedule.task_id for each in SOME)


def test_who_dies_within_a_page_leaves_nothing_that_is_due(storage: MongoStorage) -> None:
    with pytest.raises(Death):
        take(storage, StandingStill(die))

    assert due(storage) == []
    assert take(storage) == ["0", "1", "2"]
    assert len(due(storage)) == 3


def test_what_a_person_cancelled_before_its_page_is_done_again_is_not_sent(
    storage: MongoStorage,
) -> None:
    """And is left to other replays, though the one that took it died meanwhile."""
    with pytest.raises(Death):
        take(storage, StandingStill(die))
    (first,) = waiting(storage)
    assert storage.cancel(first.schedule_id, EVENTS.ended(first, "revoked"))
    storage.give_up_replayed({"0": first.task_id})

    took = take(storage)

    assert took == ["1", "2"]
    assert sorted(due(storage)) == sorted(each.schedule.task_id for each in SOME[1:])
    assert {each.task_id for each in storage.find_replayed("one", limit=9)} == {"1", "2"}


def test_a_page_that_is_long_is_not_read_with_every_list_of_replays(
    storage: MongoStorage, replays: Any
) -> None:
    replays.update_one({"_id": "one"}, {"$set": {"to_be_marked": [b"x" * 100_000]}})
    database = storage._prepared()
    asked = database.run(lambda handle: handle.replays.database)
    storage.find_replays()
    asked.command("profile", 2)
    try:
        storage.find_replays()
    finally:
        asked.command("profile", 0)

    (found,) = asked["system.profile"].find({"command.find": "fullresult_replay"})
    assert found["responseLength"] < 10_000


def cut_off(storage: MongoStorage, replays: Any) -> None:
    """Leave everything as who dies after the replay is kept."""
    take(storage)
    for each in waiting(storage):
        storage.reschedule(each.schedule_id, NOT_YET, EVENTS.moved(each, NOT_YET))
    rest = [[each.schedule.schedule_id, each.schedule.due] for each in SOME]
    replays.update_one({"_id": "one"}, {"$set": {"to_be_due": rest}})
    assert due(storage) == []


def test_another_has_be_due_what_one_left_that_died_after_the_replay_was_kept(
    storage: MongoStorage, replays: Any
) -> None:
    cut_off(storage, replays)

    assert storage.finish_taking("one")

    assert {each.due for each in waiting(storage)} == {SOME[0].schedule.due}
    assert replays.find_one({"_id": "one"}).get("to_be_due") is None
    assert len(due(storage)) == 3


def test_so_does_whoever_takes_the_next_page(storage: MongoStorage, replays: Any) -> None:
    cut_off(storage, replays)

    storage.take_for_replay(changed(replay(version=2)), [taking("other", 3)], instead_of=2)

    assert len(due(storage)) == 4


@pytest.mark.parametrize("state", [PAUSED, CANCELLED])
def test_what_was_held_or_cancelled_meanwhile_is_not_due_any_more(
    storage: MongoStorage, replays: Any, state: str
) -> None:
    cut_off(storage, replays)
    move(storage, state, since=2)

    assert storage.finish_taking("one")

    assert due(storage) == []


def test_one_whose_event_is_not_merged_yet_is_waited_for(
    storage: MongoStorage, replays: Any
) -> None:
    cut_off(storage, replays)
    schedules, mine = replays.database["fullresult_schedule"], {"_id": SOME[0].schedule.schedule_id}
    schedules.update_one(mine, {"$set": {"status": "arriving"}})

    assert not storage.finish_taking("one")
    assert len(due(storage)) == 2

    schedules.update_one(mine, {"$set": {"status": "waiting"}})
    assert storage.finish_taking("one")
    assert len(due(storage)) == 1


def left_by_the_dead(replays: Any, some: Sequence[Taking]) -> None:
    """These tasks as who dies leaves them that has kept what it takes, and no schedule."""
    for each in some:
        known = {"_id": each.task_id, "replay_id": "one", "position": each.position}
        made = {"new_id": each.schedule.task_id, "schedule_id": each.schedule.schedule_id}
        replays.database["fullresult_replayed"].insert_one({**known, **made})


def test_many_are_taken_at_once_whatever_others_left_of_them(
    storage: MongoStorage, replays: Any
) -> None:
    storage._at_once = 100
    mine, others = SOME[:2], taking("other's", 3, "two")
    storage.keep_replay(replay("two"), instead_of=None)
    assert storage.take_for_replay(replay("two", version=2), [others], instead_of=1)
    left_by_the_dead(replays, mine)
    storage.schedule(mine[0].schedule._replace(due=NOT_YET), mine[0].events[0])  # got this far

    took = take(storage, [*SOME, taking("other's", 3)])

    assert took == ["0", "1", "2"]
    expected = [each.schedule.task_id for each in (*SOME, others)]
    assert sorted(due(storage)) == sorted(expected)


def test_one_that_is_refused_keeps_none_of_the_others(storage: MongoStorage) -> None:
    storage._at_once = 100
    first, second, third = SOME
    too_large = second.schedule._replace(body=b"x" * 17_000_000)

    with pytest.raises(StorageError):
        take(storage, [first, second._replace(schedule=too_large), third])
    took = take(storage, [first, third])

    assert took == ["0", "2"]
    assert len(due(storage)) == 2


def mark_of_failed(storage: MongoStorage) -> TaskRecord:
    """The event that marks the first of them, which has failed, as sent again."""
    old = samples.became("0", "FAILURE", samples.NOON)
    storage.write([old])
    mark = old.sent_again(SOME[0].schedule.task_id, samples.NOON)
    assert mark is not None
    return mark


def resent_as(storage: MongoStorage) -> str | None:
    found = storage.get("0")
    assert found is not None
    return found.resent_as


def test_a_task_is_marked_when_the_replay_is_kept_and_not_by_who_dies_before(
    storage: MongoStorage, replays: Any
) -> None:
    """What is marked may be left out by the filter, and a page that is done again not find it."""
    mark = mark_of_failed(storage)
    marked = SOME[0]._replace(events=(*SOME[0].events, mark))

    with pytest.raises(Death):
        take(storage, StandingStill(die, marked))
    before = resent_as(storage)
    took = take(storage, [marked])

    assert (before, took) == (None, ["0"])
    assert resent_as(storage) == SOME[0].schedule.task_id
    assert "to_be_marked" not in replays.find_one({"_id": "one"})


def test_what_one_did_not_mark_that_died_after_the_replay_was_kept_is_marked_by_another(
    storage: MongoStorage, replays: Any
) -> None:
    mark = mark_of_failed(storage)
    cut_off(storage, replays)
    replays.update_one({"_id": "one"}, {"$set": {"to_be_marked": [as_bytes(mark)]}})

    assert storage.finish_taking("one")

    assert resent_as(storage) == SOME[0].schedule.task_id
    assert len(due(storage)) == 3


def test_what_an_older_version_made_due_without_its_marks_is_marked(
    storage: MongoStorage, replays: Any
) -> None:
    mark = mark_of_failed(storage)
    take(storage)
    replays.update_one({"_id": "one"}, {"$set": {"to_be_marked": [as_bytes(mark)]}})

    assert storage.finish_taking("one")

    assert resent_as(storage) == SOME[0].schedule.task_id
    assert "to_be_marked" not in replays.find_one({"_id": "one"})


def test_no_page_leaves_out_what_stands_at_one_position_with_others(
    storage: MongoStorage, replays: Any
) -> None:
    """As those that died within a page and did not find it again when it was done anew."""
    left_by_the_dead(replays, [taking(str(number), number // 3) for number in range(9)])

    found = [each.task_id for page in replay_window.pages_of(storage, "one") for each in page]
    first = storage.find_replayed("one", limit=1)
    rest = storage.find_replayed("one", before=first[-1].position, limit=2)

    assert sorted(found) == [str(number) for number in range(9)]
    assert sorted(each.task_id for each in first) == ["6", "7", "8"]
    assert sorted(each.task_id for each in rest) == ["3", "4", "5"]


def test_what_became_of_very_many_is_read_some_at_a_time(
    storage: MongoStorage, replays: Any
) -> None:
    numbers = range(2_500)
    replays.database["fullresult_replayed"].insert_many(
        {
            "_id": str(n),
            "replay_id": "one",
            "position": n,
            "new_id": f"n{n}",
            "schedule_id": f"s{n}",
        }
        for n in numbers
    )
    states = ("SUCCESS", "FAILURE", "STARTED", "SUCCESS")
    replays.database["fullresult_task"].insert_many(
        {"_id": f"n{n}", "state": states[n % 4], "open": n % 4 == 2} for n in numbers
    )
    kept = ({"_id": f"s{n}", "status": "claimed" if n % 2 else "waiting"} for n in range(0, 60, 3))
    replays.database["fullresult_schedule"].insert_many(kept)

    found = storage.count_replayed("one", 9_999)

    assert found.counted == 2_500
    assert (found.waiting, found.claimed) == (10, 10)
    ended = [n for n in numbers if n % 4 != 2 and not (n < 60 and n % 3 == 0)]
    assert sum(found.ended.values()) == len(ended)
    assert found.ended["FAILURE"] == sum(n % 4 == 1 for n in ended)
    assert storage.count_replayed("one", 1_200).counted == 1_200


def test_of_two_that_find_no_schedule_one_keeps_it_and_the_other_has_that_one_be_due(
    storage: MongoStorage, replays: Any
) -> None:
    first = SOME[0]
    mine = {"replay_id": "one", "position": 0, "new_id": first.schedule.task_id}
    known = {"_id": first.task_id, "schedule_id": first.schedule.schedule_id, **mine}
    replays.database["fullresult_replayed"].insert_one(known)
    with pytest.raises(Death):
        take(storage, StandingStill(die))

    # As one that had read the task's schedule before the other kept it under another id.
    found, is_new = storage._anew(first.task_id, first.schedule)

    assert (found.schedule_id, is_new) == (f"{first.schedule.schedule_id}+", False)
    assert [each.schedule_id for each in waiting(storage)] == [found.schedule_id]
    assert take(storage) == ["0", "1", "2"]
    assert len(due(storage)) == 3
