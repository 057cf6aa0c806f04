"""The suite: replays, if a storage keeps them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from fullresult.record import SCHEDULED_SENT
from fullresult.record.replay import RUNNING, Replay, ReplayCounts, Replayed, Taking
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import Storage
from fullresult.storage.replays import ReplayStorage
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, must_say_so
from fullresult.testing.processes import OpenStorage
from fullresult.testing.schedule_helpers import LATER

CALLS: dict[str, Callable[[ReplayStorage], object]] = {
    "keep_replay": lambda storage: storage.keep_replay(replay(), instead_of=None),
    "find_replays": lambda storage: storage.find_replays(),
    "take_for_replay": lambda storage: storage.take_for_replay(
        changed(replay()), [taking("a")], instead_of=1
    ),
    "finish_taking": lambda storage: storage.finish_taking("one"),
    "count_replayed": lambda storage: storage.count_replayed("one", 9),
    "find_replayed": lambda storage: storage.find_replayed("one", limit=1),
    "forget_replays": lambda storage: storage.forget_replays(samples.NOON, 1),
    "give_up_replayed": lambda storage: storage.give_up_replayed({"a": "b"}),
}


def replay(replay_id: str = "one", at: int = 0, **known: Any) -> Replay:
    """A replay created that many milliseconds after noon."""
    values: dict[str, Any] = {"namespace": "shop", "state": RUNNING}
    return Replay(replay_id, date_created=samples.after(at), **values | known)


def changed(known: Replay, **changes: Any) -> Replay:
    return replace(known, version=known.version + 1, **changes)


def taking(task_id: str, position: int = 0, replay_id: str = "one") -> Taking:
    """The taking of a task by a replay."""
    whose = replay(replay_id)
    schedule = samples.schedule(whose.schedule_id(task_id))._replace(
        task_id=whose.new_id(task_id), new_task_id=None
    )
    return Taking(task_id, position, schedule, (samples.scheduled(schedule),))


def schedules(storage: ReplayStorage) -> list[str]:
    found = storage.find_schedules(ScheduleQuery(limit=None))
    return sorted(each.task_id for each in found)


class Replaying(Fixtures):
    @pytest.fixture
    def replays(self, storage: Storage) -> ReplayStorage:
        if not isinstance(storage, ReplayStorage):
            pytest.skip("this storage keeps no replays")
        return storage

    def test_every_field_of_a_replay_comes_back(self, replays: ReplayStorage) -> None:
        whole = replay(
            query={"name": "é \x00 \ud800", "until": {"\x00date": samples.NOON.isoformat()}},
            rate=0.5,
            ratio=0.05,
            cursor="a b",
            left_out={"why": 3},
            next_due=samples.after(7),
            canary_since=samples.after(8),
            exhausted=True,
        )

        assert replays.keep_replay(whole, instead_of=None)

        assert replays.find_replays() == [whole]

    def test_a_replay_is_kept_once_and_changed_from_the_version_that_is_named(
        self, replays: ReplayStorage
    ) -> None:
        first = replay()
        second = changed(first, state="PAUSED")

        assert replays.keep_replay(first, instead_of=None)
        assert not replays.keep_replay(replace(first, state="DONE"), instead_of=None)
        assert replays.keep_replay(second, instead_of=1)
        assert not replays.keep_replay(changed(first, state="DONE"), instead_of=1)
        assert not replays.keep_replay(replay("other", version=2), instead_of=1)

        assert replays.find_replays() == [second]

    def test_replays_are_found_by_id_namespace_and_state_the_newest_first(
        self, replays: ReplayStorage
    ) -> None:
        many = [replay("a"), replay("b", 2, state="DONE"), replay("c", 1, namespace="other")]
        for each in many:
            replays.keep_replay(each, instead_of=None)

        def found(**asked: Any) -> list[str]:
            return [each.replay_id for each in replays.find_replays(**asked)]

        assert found() == ["b", "c", "a"]
        assert found(limit=1) == ["b"]
        assert found(replay_ids=["a", "c", "x"]) == ["c", "a"]
        assert found(namespace="shop") == ["b", "a"]
        assert found(namespace="shop", states=["RUNNING", "CANARY"]) == ["a"]

    def test_taking_keeps_the_schedule_the_event_and_the_replay(
        self, replays: ReplayStorage
    ) -> None:
        replays.keep_replay(replay(), instead_of=None)
        after, some = changed(replay(), taken=2), [taking("a", 0), taking("b", 1)]

        took = replays.take_for_replay(after, some, instead_of=1)

        assert took is not None
        assert sorted(took) == ["a", "b"]
        assert replays.find_replays() == [after]
        assert schedules(replays) == sorted(each.schedule.task_id for each in some)
        for each in some:
            record = replays.get(each.schedule.task_id)
            assert record is not None
            assert record.state == "SCHEDULED"
        assert replays.find_replayed("one", limit=9) == [
            Replayed(each.task_id, each.position, each.schedule.task_id, each.schedule.schedule_id)
            for each in reversed(some)
        ]

    def test_another_version_takes_nothing(self, replays: ReplayStorage) -> None:
        replays.keep_replay(replay(version=2), instead_of=None)

        assert replays.take_for_replay(changed(replay()), [taking("a")], instead_of=1) is None

        assert replays.find_replayed("one", limit=9) == []
        assert schedules(replays) == []

    def test_a_task_goes_to_one_replay_until_that_gives_it_up(self, replays: ReplayStorage) -> None:
        for name in ("one", "two"):
            replays.keep_replay(replay(name), instead_of=None)
        replays.take_for_replay(changed(replay("one")), [taking("a")], instead_of=1)
        mine = taking("a", 0, "two"), taking("b", 1, "two")

        took = replays.take_for_replay(changed(replay("two")), mine, instead_of=1)

        assert took is not None
        assert list(took) == ["b"]
        assert replays.get(mine[0].schedule.task_id) is None
        first, second = replay("one"), replay("two")
        replays.give_up_replayed({"a": second.new_id("a")})
        assert [each.task_id for each in replays.find_replayed("one", limit=9)] == ["a"]
        replays.give_up_replayed({each: first.new_id(each) for each in ("a", "b")})
        assert [each.task_id for each in replays.find_replayed("two", limit=9)] == ["b"]
        again = replays.take_for_replay(replay("two", version=3), mine[:1], instead_of=2)
        assert again is not None
        assert list(again) == ["a"]

    def test_what_was_taken_is_found_in_pages(self, replays: ReplayStorage) -> None:
        replays.keep_replay(replay(), instead_of=None)
        some = [taking(str(number), number) for number in range(5)]
        replays.take_for_replay(changed(replay()), some, instead_of=1)

        first = replays.find_replayed("one", limit=3)
        rest = replays.find_replayed("one", before=first[-1].position, limit=3)

        assert [each.position for each in first] == [4, 3, 2]
        assert [each.position for each in rest] == [1, 0]
        assert replays.find_replayed("two", limit=3) == []

    def test_what_became_of_what_was_taken_last_is_counted(self, replays: ReplayStorage) -> None:
        replays.keep_replay(replay(), instead_of=None)
        some = [taking(str(number), number) for number in range(6)]
        replays.take_for_replay(changed(replay()), some, instead_of=1)
        claimed = replays.claim_due("shop", samples.after(10**9), "x", 4)
        ends = [samples.became(each.task_id, SCHEDULED_SENT, LATER) for each in claimed[:3]]
        replays.mark_sent("x", [each.schedule_id for each in claimed[:3]], ends)
        after = samples.after(10**6)
        for each, state in zip(claimed, ("SUCCESS", "FAILURE"), strict=False):
            replays.write([samples.became(each.task_id, state, after)])

        assert replays.finish_taking("one")
        assert replays.count_replayed("one", 9) == ReplayCounts(
            6, 2, 1, {"SUCCESS": 1, "FAILURE": 1}
        )
        assert replays.count_replayed("one", 1).counted == 1
        assert replays.count_replayed("one", 0) == ReplayCounts(0, 0, 0, {})
        assert replays.count_replayed("other", 9) == ReplayCounts(0, 0, 0, {})

    def test_of_callers_that_go_on_from_one_version_nothing_is_kept_twice(
        self, replays: ReplayStorage
    ) -> None:
        """Whether one of them takes the task or the other, it is sent once."""
        replays.keep_replay(replay(), instead_of=None)
        some = [taking(str(number), number) for number in range(10)]
        take = partial(replays.take_for_replay, changed(replay()), some, instead_of=1)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: take(), range(4)))

        waiting = replays.find_schedules(ScheduleQuery(limit=None))
        assert sorted(each.task_id for each in waiting) == sorted(
            each.schedule.task_id for each in some
        )

    def test_what_was_sent_is_not_kept_again_by_a_call_that_was_cut_off(
        self, replays: ReplayStorage
    ) -> None:
        """The cursor was not kept, so the page is done again: of it, some is sent already."""
        replays.keep_replay(replay(), instead_of=None)
        some = [taking("a"), taking("b", 1)]
        replays.take_for_replay(changed(replay()), some, instead_of=1)
        claimed = replays.claim_due("shop", samples.after(10**9), "x", 10)
        ends = [samples.became(each.task_id, SCHEDULED_SENT, LATER) for each in claimed]
        replays.mark_sent("x", [each.schedule_id for each in claimed], ends)

        replays.take_for_replay(replay(version=3), some, instead_of=2)

        assert schedules(replays) == []

    def test_replays_that_are_over_are_forgotten_in_portions(self, replays: ReplayStorage) -> None:
        states = {"old": "DONE", "going on": "RUNNING", "new": "DONE"}
        for name, state in states.items():
            known = replay(name, at=10**6 if name == "new" else 0)
            replays.keep_replay(known, instead_of=None)
            some = [taking(f"{name} {each}", each, name) for each in range(3)]
            after = replace(known, state=state, version=2)
            replays.take_for_replay(after, some, instead_of=1)

        deleted = [replays.forget_replays(samples.after(1000), 2) for _ in range(5)]

        assert max(deleted) <= 3  # what it took last, and itself
        assert sum(deleted) == 4
        assert {each.replay_id for each in replays.find_replays()} == {"going on", "new"}
        assert len(replays.find_replayed("going on", limit=9)) == 3
        assert len(replays.find_replayed("new", limit=9)) == 3

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_a_storage_that_does_not_answer_is_a_storage_error_here_too(
        self,
        call: Callable[[ReplayStorage], object],
        unreachable_url: str,
        opener: OpenStorage,
    ) -> None:
        storage = opener(unreachable_url)
        if not isinstance(storage, ReplayStorage):
            pytest.skip("this storage keeps no replays")

        must_say_so(storage, call)
