"""Large chords in MongoDB: members in segments, each counted once, and no document that grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pymongo
import pytest

from fullresult.storage import StorageError
from fullresult.testing import samples
from fullresult.testing.chords import Chords
from fullresult_storage_mongo import chord_members
from fullresult_storage_mongo.clients import Handle
from fullresult_storage_mongo.storage import MongoStorage
from tests.kit import servers
from tests.kit.counting import end, publish
from tests.kit.mongo import using

pytestmark = pytest.mark.slow

Document = dict[str, Any]
_numbers = count()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of three members."""
    monkeypatch.setattr(chord_members, "SEGMENT", 3)
    monkeypatch.setattr(chord_members, "_EVERY", 1)


@pytest.fixture
def storage(mongodb_url: str) -> Iterator[MongoStorage]:
    with using(mongodb_url, storage_timeout=timedelta(seconds=10)) as storage:
        storage.setup()
        yield storage


@pytest.fixture
def database(mongodb_url: str) -> Iterator[Any]:
    with pymongo.MongoClient[Document](mongodb_url, tz_aware=True) as client:
        yield client.get_default_database()


def run(storage: MongoStorage, do: Callable[[Handle], Any]) -> Any:
    return vars(storage)["_database"].run_patiently(do)


@pytest.fixture(scope="module")
def replica_set(mongodb_server: str) -> Iterator[str]:
    with servers.mongodb_database(mongodb_server) as url:
        yield url


@pytest.mark.usefixtures("short")
class TestShortSegments(Chords):
    """All that holds for chords, where each third member begins a segment."""

    @pytest.fixture
    def url(self, replica_set: str) -> str:
        bar = "&" if "?" in replica_set else "?"
        return f"{replica_set}{bar}fullresult_prefix=short_{next(_numbers)}_"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("alone", [True, False], ids=["join_chord", "write_and_join"])
def test_a_member_is_counted_once_wherever_it_is(storage: MongoStorage, alone: bool) -> None:
    """By this process, and by one that has not seen the chord."""
    members = [f"{number}" for number in range(20)]
    for member in members:
        publish(storage, member)

    def tell(storage: MongoStorage, member: str) -> bool:
        if alone:
            return storage.join_chord("a", member, 20, None)
        event = samples.event(member, outcome=samples.outcome("SUCCESS"))
        return storage.write_and_join(event, "a", member, 20, None)[1]

    answers = []
    for number, member in enumerate(members):
        answers.append(tell(storage, member))
        vars(run(storage, lambda handle: handle.moves)).update(_seen={})
        if number < 19:
            answers += [tell(storage, told) for told in members[: number + 1]]
            answers += [tell(storage, told) for told in members[: number + 1]]

    assert sum(answers) == 1
    assert answers[-1]
    assert sorted(storage.get_members("a")) == sorted(members)
    assert run(storage, lambda handle: handle.segments.count_documents({})) == 6


@pytest.mark.usefixtures("short")
def test_many_tell_of_the_same_members_at_once(storage: MongoStorage) -> None:
    members = [f"{number}" for number in range(60)] * 3

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda m: storage.join_chord("a", m, 60, None), members))

    assert sum(answers) == 1
    assert len(storage.get_members("a")) == 60


@pytest.mark.usefixtures("short")
def test_members_that_a_killed_process_had_begun_to_move_are_moved_by_the_next(
    storage: MongoStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(handle: Handle, chord_id: str) -> None:
        chord = handle.chords.find_one({"_id": chord_id})
        assert chord is not None
        segment = {name: chord[name] for name in ("birth", "expire_at")}
        segment |= {"members": chord["members"][:3], "chord_id": chord_id}
        handle.segments.insert_one({"_id": f"{chord['birth']}:0", **segment})
        raise StorageError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(chord_members, "settle", killed)
        for member in "123":
            storage.join_chord("a", member, 6, None)

    answers = [storage.join_chord("a", member, 6, None) for member in "1423156"]

    assert answers == [False] * 6 + [True]
    assert run(storage, lambda handle: handle.segments.count_documents({})) == 1
    assert sorted(storage.get_members("a")) == [*"123456"]


@pytest.mark.usefixtures("short")
def test_a_chord_whose_document_is_gone_has_no_member_of_before(storage: MongoStorage) -> None:
    """Not even where a segment of it was left behind."""
    for member in "12345":
        storage.join_chord("a", member, 9, None)
    run(storage, lambda handle: handle.chords.delete_one({"_id": "a"}))

    answers = [storage.join_chord("a", member, 5, None) for member in "12345"]

    assert answers == [False] * 4 + [True]


@pytest.mark.usefixtures("short")
def test_members_of_a_run_that_was_forgotten_stay_known(storage: MongoStorage) -> None:
    """Those in segments, too."""
    for member in "12345":
        storage.join_chord("a", member, 9, None)

    storage.forget_chord("a")

    assert storage.begin_chord("a", 2, "", None) == 2
    answers = [storage.join_chord("a", member, None, None) for member in "12345678"]
    assert answers == [False] * 6 + [True, False]


@pytest.mark.usefixtures("short")
def test_segments_are_kept_as_long_as_the_chord_whose_members_come_later(
    storage: MongoStorage, database: Any
) -> None:
    soon = datetime.now(timezone.utc) + timedelta(hours=2)
    for member in "1234567":
        storage.join_chord("a", member, 9, soon)
    later = soon + timedelta(days=1)

    storage.join_chord("a", "8", 9, later)

    kept = [each["expire_at"] for each in database["fullresult_chord_member"].find()]
    assert len(kept) == 2
    assert min(kept) >= later - timedelta(milliseconds=1)
    assert not storage.delete_expired_results(later + timedelta(hours=2), 100)
    assert database["fullresult_chord_member"].count_documents({}) == 0
    assert database["fullresult_chord"].count_documents({}) == 0


def test_a_chord_that_an_older_version_began_goes_on(storage: MongoStorage, database: Any) -> None:
    storage.begin_chord("a", 3, "the body", None)
    storage.join_chord("a", "1", None, None)
    new = {"moved": "", "birth": ""}
    database["fullresult_chord"].update_one({"_id": "a"}, {"$unset": new})

    answers = [storage.join_chord("a", member, None, None) for member in "1123"]

    assert answers == [False] * 3 + [True]


@pytest.mark.parametrize(
    "size", [10_000, pytest.param(1_000_000, marks=pytest.mark.campaign)], ids=str
)
def test_a_chord_may_have_many_members(storage: MongoStorage, database: Any, size: int) -> None:
    """The last of which costs little more than the first, in documents that do not grow."""
    members = [f"1:{number}:{number:036}" for number in range(size)]
    for member in members[-1500:]:
        publish(storage, member)
    first = seconds(lambda: [storage.join_chord("b", m, size, None) for m in members[:500]])
    storage.join_chord("a", members[0], size, None)
    fill(storage, members[:-1000])

    answers: list[bool] = []
    last = seconds(
        lambda: answers.extend(storage.join_chord("a", m, size, None) for m in members[-1000:-500])
    )
    answers += [storage.join_chord("a", members[5], size, None)]
    answers += [end(storage, member, size=size, chord_id="a") for member in members[-500:]]

    assert answers == [False] * 1000 + [True]
    assert last < 5 * first
    assert {*storage.get_members("a")} == {*members}
    assert {each.task_id for each in storage.get_results(members)} == {*members[-1500:]}
    pipeline = [{"$group": {"_id": None, "largest": {"$max": {"$bsonSize": "$$ROOT"}}}}]
    for name in ("fullresult_chord", "fullresult_chord_member"):
        (found,) = database[name].aggregate(pipeline)
        assert found["largest"] < 100_000


def fill(storage: MongoStorage, members: list[str]) -> None:
    """The chord "a" as it is when these have joined it."""

    def do(handle: Handle) -> None:
        chord = handle.chords.find_one({"_id": "a"})
        assert chord is not None
        length = chord_members.SEGMENT
        shares = [members[start : start + length] for start in range(0, len(members), length)]
        known = {"birth": chord["birth"], "expire_at": chord["expire_at"], "chord_id": "a"}
        handle.segments.insert_many(
            {"_id": f"{chord['birth']}:{number}", "members": share, **known}
            for number, share in enumerate(shares)
        )
        joined = {"joined": len(members), "left": chord["size"] - len(members)}
        kept = {"members": [], "moved": len(shares), "kept_until": chord["expire_at"]}
        handle.chords.update_one({"_id": "a"}, {"$set": {**joined, **kept}})

    run(storage, do)


def seconds(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return time.monotonic() - began
