"""The spool's files: whose they are, how much they hold, and what of them is read again.

Long because each property of a file is tried with one spool made here.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from fullresult.config import DEFAULT_SPOOL, Settings
from fullresult.outage import lines
from fullresult.outage.directory import directory_of, writable_by_others
from fullresult.outage.segment import Segment
from fullresult.outage.spool import Spool
from fullresult.record import TaskRecord
from fullresult.testing import samples
from tests.kit.scripts import run_script

LIMIT = 1024 * 1024


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "of-a-storage"


@pytest.fixture
def spool(place: Path) -> Iterator[Spool]:
    spool = Spool(place, LIMIT)
    yield spool
    close(spool)


def close(spool: Spool) -> None:
    """As if its process had ended."""
    spool.close()
    spool._after_fork_in_child()


def event(task_id: str, text: str = "") -> TaskRecord:
    return samples.event(task_id, outcome=samples.outcome(exception_message=text))


def ids_in(segment: Segment | None) -> list[str]:
    assert segment is not None
    found, _ = segment.read()
    return [each.task_id for each in found if isinstance(each, TaskRecord)]


def files(place: Path) -> list[Path]:
    return sorted(place.glob("*.spool"))


# --- One process


def test_what_is_appended_is_read_in_order(spool: Spool) -> None:
    for task_id in "abc":
        assert spool.append(event(task_id))

    segment = spool.take()

    assert ids_in(segment) == ["a", "b", "c"]
    assert segment is not None
    assert segment.remembered == [event("a"), event("b"), event("c")]


def test_what_comes_after_a_segment_was_taken_goes_into_another(spool: Spool) -> None:
    spool.append(event("a"))
    first = spool.take()
    assert first is not None
    spool.append(event("b"))

    spool.done(first)

    assert ids_in(spool.take()) == ["b"]


def test_a_segment_that_is_not_done_is_taken_again(spool: Spool) -> None:
    spool.append(event("a"))
    spool.take()
    spool.append(event("b"))

    again = spool.take()

    assert ids_in(again) == ["a"]


def test_what_is_written_leaves_no_file(spool: Spool, place: Path) -> None:
    spool.append(event("a"))
    segment = spool.take()
    assert segment is not None

    spool.done(segment)

    assert files(place) == []
    assert spool.is_idle
    assert spool.take() is None


def test_a_spool_that_is_not_needed_makes_no_directory(spool: Spool, place: Path) -> None:
    assert spool.take() is None
    assert spool.adopt() is None
    assert spool.status().events == 0
    assert not place.parent.exists()


def test_only_its_user_may_read_what_it_keeps(spool: Spool, place: Path) -> None:
    """Whatever the umask allows: there are arguments of tasks in it."""
    before = os.umask(0)
    try:
        spool.append(event("a"))
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in files(place)}
    assert modes == {0o600}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


def test_status_tells_how_much_waits_and_since_when(spool: Spool) -> None:
    spool.append(event("a"), event("b"))

    status = spool.status()

    assert (status.segments, status.events, status.owned) == (1, 2, 2)
    assert status.bytes == sum(len(lines.encode(event(each))) for each in "ab")
    assert status.oldest is not None
    assert status.oldest_left is None


def test_what_cannot_be_written_as_a_line_is_not_kept(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    """And costs its task nothing."""
    odd = samples.event("a", outcome=samples.outcome(runtime=object()))

    assert not spool.append(odd)
    assert spool.append(event("b"))
    assert "cannot be kept" in caplog.text
    assert ids_in(spool.take()) == ["b"]


# --- Bounds


def test_no_more_is_kept_than_there_is_room_for(place: Path) -> None:
    limit = 50_000
    spool = Spool(place, limit)

    kept = [spool.append(event(str(number), "x" * 1000)) for number in range(100)]

    assert kept[:30] == [True] * 30
    assert not kept[-1]
    assert spool.status().bytes <= limit
    assert spool.status().events == sum(kept)
    close(spool)


def test_what_others_keep_counts_too(place: Path) -> None:
    other, spool = Spool(place, 20_000), Spool(place, 20_000)
    for number in range(10):
        other.append(event(str(number), "x" * 1000))

    kept = [spool.append(event(str(number), "x" * 1000)) for number in range(10)]

    assert 0 < sum(kept) < 10
    assert spool.status().bytes <= 20_000
    close(other)
    close(spool)


def test_what_was_written_makes_room(place: Path) -> None:
    spool = Spool(place, 10_000)
    while spool.append(event("a", "x" * 1000)):
        pass
    segment = spool.take()
    assert segment is not None

    spool.done(segment)

    assert spool.append(event("b", "x" * 1000))
    close(spool)


def test_an_event_larger_than_the_spool_is_not_kept(place: Path) -> None:
    spool = Spool(place, 1000)

    assert not spool.append(event("a", "x" * 2000))


def test_a_long_outage_fills_files_and_not_the_memory(place: Path) -> None:
    spool = Spool(place, 4_000_000)
    for number in range(2000):
        assert spool.append(event(str(number), "x" * 1000))

    sealed = list(spool._own)[:-1]

    assert len(sealed) > 1
    assert all(segment.remembered is None for segment in sealed)
    assert len(ids_in(spool.take())) > 100
    close(spool)


def test_that_nothing_can_be_kept_is_said_once(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(place, 1000)
    for _ in range(5):
        spool._unusable_until = 0
        spool.append(event("a", "x" * 2000))

    (line,) = caplog.records

    assert "fullresult_spool_size is 1000" in line.getMessage()


def test_an_event_that_does_not_fit_takes_no_small_ones_along(place: Path) -> None:
    spool = Spool(place, 20_000)

    kept = [spool.append(event("a", "x" * size)) for size in (1, 50_000, 1, 50_000, 40_000, 1)]

    assert kept == [True, False, True, False, False, True]
    close(spool)


def test_events_that_do_not_fit_are_said_once_for_each_order_of_size(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And none of those is that fits again, before one as large does."""
    spool = Spool(place, 20_000)
    for size in (50_000, 1, 45_000, 60_000, 1, 10_000, 9_000, 1):
        spool._refused_until = 0
        spool.append(event("a", "x" * size))
    fill(spool)
    caplog.clear()
    for size in (50_000, 1, 45_000, 60_000):
        spool._refused_until = 0
        spool.append(event("a", "x" * size))

    assert len(caplog.records) <= 2
    close(spool)


def fill(spool: Spool) -> None:
    while spool.append(event("a", "x" * 100)):
        pass


def test_it_is_said_when_there_is_room_again(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(place, 20_000)
    fill(spool)
    segment = spool.take()
    assert segment is not None

    spool.done(segment)
    spool.append(event("a", "x" * 100))

    assert [record.getMessage()[:30] for record in caplog.records] == [
        "fullresult: an event of " + caplog.records[0].getMessage()[24:30],
        "fullresult: events can be kept",
    ]
    close(spool)


@pytest.mark.parametrize("size", [1000, 100_000])
def test_the_bound_is_that_of_all_processes_together(place: Path, size: int) -> None:
    """However many append at once, and to the last byte."""
    limit = 2 * 1024 * 1024
    ready, go = os.pipe()
    hogs = []
    for _ in range(8):
        if not (pid := os.fork()):
            with suppress(BaseException):
                os.close(go)
                os.read(ready, 1)  # until the parent closes it
                hog(Spool(place, limit), event("a", "x" * size))
            os._exit(0)
        hogs.append(pid)
    os.close(ready)
    os.close(go)
    for pid in hogs:
        os.waitpid(pid, 0)

    spool = Spool(place, limit)
    assert sum(file.stat().st_size for file in files(place)) <= limit
    assert limit / 2 < spool.status().bytes <= limit


def hog(spool: Spool, event: TaskRecord) -> None:
    misses = 0
    while misses < 20:
        spool._refused_until = 0
        misses += not spool.append(event)


def test_what_was_reserved_is_no_line_and_is_given_back(place: Path, spool: Spool) -> None:
    """By an end that is clean; of a killed process it stays until its file is adopted."""
    gone = Spool(place, 100 * LIMIT)
    for number in range(10):
        gone.append(event(str(number)))
    (file,) = files(place)
    reserved, events, size = file.stat().st_size, gone.status().events, gone.status().bytes
    gone._after_fork_in_child()  # as if it had been killed

    segment = spool.adopt()

    assert ids_in(segment) == [str(number) for number in range(10)]
    assert segment is not None
    assert segment.read()[1] == 0
    assert reserved > size
    assert events == 10


def test_an_end_gives_back_what_was_reserved(place: Path) -> None:
    spool = Spool(place, 100 * LIMIT)
    spool.append(event("a"))

    spool.close()

    (file,) = files(place)
    assert file.stat().st_size == spool.status().bytes
    spool.append(event("b"))
    assert spool.status().events == 2
    close(spool)


@pytest.mark.parametrize("kind", [TimeoutError, RuntimeError])
def test_a_line_that_was_written_stays_though_a_signals_handler_raises_just_then(
    place: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """Signals are handled when a call of the system returns. A `TimeoutError` is an `OSError`."""
    real = os.pwrite

    def on_alarm(*_: object) -> None:
        raise kind

    def written_and_interrupted(*given: Any) -> int:
        written = real(*given)
        signal.raise_signal(signal.SIGALRM)
        return written

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", written_and_interrupted)
            with pytest.raises(kind):
                spool.append(event("a"))
    finally:
        signal.signal(signal.SIGALRM, before)
    spool.append(event("b"))

    assert sum(file.read_bytes().count(b"\n") for file in files(place)) == 2
    assert ids_in(spool.take()) == ["a"]


@pytest.mark.parametrize("at", range(40))
def test_a_signal_handler_that_appends_in_the_middle_of_an_append_writes_over_nothing(
    place: Path, at: int
) -> None:
    """At each line of an append another one happens, as in a handler of a signal."""
    spool = Spool(place, LIMIT)
    spool.append(event("before"))
    lines = 0

    def trace(frame: FrameType, what: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename.endswith(("spool.py", "segment.py")):
            lines += what == "line"
            if lines == at and what == "line":
                sys.settrace(None)
                lines += 1
                spool.append(event("handler"))
        return trace

    sys.settrace(trace)
    try:
        spool.append(event("outer"))
    finally:
        sys.settrace(None)
    spool.append(event("after"))

    found = []
    for segment in list(spool._own):
        found += ids_in(segment)
        assert segment.read()[1] == 0
    assert {"before", "outer", "after"} <= {*found}
    assert ("handler" in found) == (lines > at > 0)
    close(spool)


# --- Disks


def test_of_a_full_disk_no_half_line_remains(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool.append(event("a"))
    real = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda to, data, at: real(to, data[: len(data) // 2], at))

    kept = spool.append(event("b"))

    monkeypatch.undo()
    spool._unusable_until = 0
    assert not kept
    assert spool.append(event("c"))
    first = spool.take()
    assert ids_in(first) == ["a"]
    assert first is not None
    assert first.remembered is None  # or "b" might be written though it was told to be lost
    spool.done(first)
    assert ids_in(spool.take()) == ["c"]
    assert "no space left" in caplog.text
    assert "can be kept in" in caplog.records[-1].getMessage()


def test_a_directory_that_cannot_be_made_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocking = tmp_path / "file"
    blocking.touch()
    spool = Spool(blocking / "spool", LIMIT)

    kept = [spool.append(event("a")) for _ in range(3)]

    assert kept == [False] * 3
    assert len(caplog.records) == 1


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755])
def test_a_directory_that_others_may_use_is_not_used(place: Path, mode: int) -> None:
    place.mkdir(parents=True)
    place.chmod(mode)

    assert not Spool(place, LIMIT).append(event("a"))
    assert files(place) == []


@pytest.mark.parametrize(
    ("mode", "is_said"), [(0o777, True), (0o1777, False), (0o755, False), (0o700, False)]
)
def test_it_is_said_if_others_may_put_something_in_its_place(
    tmp_path: Path, mode: int, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(mode)
    spool = Spool(above / "spool" / "of-a-storage", LIMIT)

    kept = [spool.append(event("a")) for _ in range(3)]

    assert kept == [True] * 3
    assert [f"others may write to {above}" in line for line in caplog.messages] == [True] * is_said
    close(spool)


def test_of_a_directory_that_is_not_made_yet_those_above_count(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o777)

    assert writable_by_others(above / "not" / "yet" / "made") == above


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory away")
@pytest.mark.parametrize(
    ("owner", "group", "mode", "is_said"),
    [(1, 1, 0o755, True), (0, 1, 0o775, True), (0, 0, 0o775, False), (0, 1, 0o755, False)],
)
def test_a_directory_of_another_user_or_group_is_one_in_which_others_may_write(
    tmp_path: Path, owner: int, group: int, mode: int, is_said: bool
) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(mode)
    os.chown(above, owner, group)

    assert (writable_by_others(above / "spool") == above) == is_said


def test_a_link_in_the_place_of_the_directory_is_not_followed(place: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place.parent.mkdir()
    place.symlink_to(elsewhere)

    assert not Spool(place, LIMIT).append(event("a"))
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_the_place_of_a_file_is_not_followed(place: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(lines.encode(event("a")))
    place.mkdir(parents=True, mode=0o700)
    (place / "0000-1-a.spool").symlink_to(secret)
    spool = Spool(place, LIMIT)

    assert spool.adopt() is None
    assert spool.status().events == 0
    assert secret.exists()


def test_what_is_no_file_is_left_alone(place: Path) -> None:
    place.mkdir(parents=True, mode=0o700)
    os.mkfifo(place / "0000-1-a.spool")
    (place / "0000-2-b.spool").mkdir()

    assert Spool(place, LIMIT).adopt() is None


# --- What was torn


def left_by_a_dead_one(place: Path, *events: TaskRecord) -> Path:
    spool = Spool(place, LIMIT)
    spool.append(*events)
    close(spool)
    (path,) = files(place)
    return path


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_torn_last_line_loses_that_line_only(place: Path, cut: int) -> None:
    path = left_by_a_dead_one(place, event("a"), event("b"), event("c"))
    os.truncate(path, path.stat().st_size - cut)

    segment = Spool(place, LIMIT).adopt()

    assert segment is not None
    found, unreadable = segment.read()
    assert [each.task_id for each in found if isinstance(each, TaskRecord)] == (
        ["a", "b", "c"] if cut == 1 else ["a", "b"]
    )
    assert unreadable == (0 if cut == 1 else 1)


def test_a_line_that_was_overwritten_is_counted_and_skipped(place: Path) -> None:
    path = left_by_a_dead_one(place, event("a"), event("b"), event("c"))
    first = len(lines.encode(event("a")))
    with path.open("r+b") as file:
        file.seek(first + 30)
        file.write(b"\x00\n\xff")

    segment = Spool(place, LIMIT).adopt()

    assert segment is not None
    found, unreadable = segment.read()
    assert len(found) == 2
    assert unreadable == 2  # for it now looks like two


# --- Several processes


def test_what_a_dead_process_left_is_adopted(place: Path, spool: Spool) -> None:
    left_by_a_dead_one(place, event("a"))
    assert spool.status().oldest_left is not None

    segment = spool.adopt()

    assert ids_in(segment) == ["a"]
    assert segment is not None
    spool.done(segment)
    assert files(place) == []


def test_what_a_living_process_has_is_not(place: Path, spool: Spool) -> None:
    living = Spool(place, LIMIT)
    living.append(event("a"))

    assert spool.adopt() is None
    assert spool.status().owned == 1
    close(living)


def test_of_two_that_look_one_gets_it(place: Path, spool: Spool) -> None:
    left_by_a_dead_one(place, event("a"))
    other = Spool(place, LIMIT)

    first, second = spool.adopt(), other.adopt()

    assert first is not None
    assert second is None
    first.close()


PRELUDE = """
    import os, signal, sys, time
    from pathlib import Path
    from fullresult.record import TaskRecord
    from fullresult.outage.spool import Spool
    from fullresult.testing import samples

    place = Path(sys.argv[1])
    spool = Spool(place, 1_000_000)

    def ids(segment):
        return segment and [each.task_id for each in segment.read()[0]]
"""


def script(body: str, place: Path) -> str:
    return run_script(PRELUDE + body, place, directory=place.parent.parent)


def test_what_a_killed_process_left_is_whole(place: Path, spool: Spool) -> None:
    body = """
    pid = os.fork()
    if not pid:
        for number in range(10):
            spool.append(samples.event(str(number)))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    """
    script(body, place)

    assert ids_in(spool.adopt()) == [str(number) for number in range(10)]


def test_a_child_has_files_of_its_own(place: Path) -> None:
    """What its parent has waits for the parent, though the child inherited it."""
    body = """
    spool.append(samples.event("of the parent"))
    pid = os.fork()
    if not pid:
        spool.append(samples.event("of the child"))
        os._exit(0 if ids(spool.take()) == ["of the child"] else 1)
    code = os.waitpid(pid, 0)[1]
    other = Spool(place, 1_000_000)
    print(code, ids(other.adopt()), other.adopt(), ids(spool.take()))
    """

    assert script(body, place) == "0 ['of the child'] None ['of the parent']"


def test_a_child_that_lives_on_does_not_make_its_parent_look_alive(place: Path) -> None:
    body = """
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        spool.append(samples.event("of the parent"))
        if not os.fork():
            os.write(writing, b"forked")
            time.sleep(60)
        os.read(reading, 6)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    print(ids(spool.adopt()))
    """

    # The grandchild, which waits, has the pipe of the script's output: it is ended by name.
    body = body.replace("if not os.fork():", "if not os.fork():\n            sys.stdout.close()")
    body = body.replace("time.sleep(60)", "os.close(1); os.close(2); time.sleep(2); os._exit(0)")

    assert script(body, place) == "['of the parent']"


def test_many_that_append_and_adopt_at_once_lose_nothing(place: Path) -> None:
    """And none reads what another is about to write, or deletes it."""
    body = """
    def work(number):
        mine = Spool(place, 1_000_000)
        seen = []
        for each in range(60):
            assert mine.append(samples.event(f"{number}-{each}"))
            if each % 3 == 0:
                segment = mine.take()
                seen += ids(segment)
                mine.done(segment)
            if (other := mine.adopt()) is not None:
                seen += ids(other)
                mine.done(other)
        (place.parent / f"seen-{number}").write_text(" ".join(seen))
        os._exit(0)

    pids = []
    for number in range(4):
        pid = os.fork()
        if not pid:
            work(number)
        pids.append(pid)
    assert not any(os.waitpid(pid, 0)[1] for pid in pids)
    seen = [word for file in place.parent.glob("seen-*") for word in file.read_text().split()]
    while (segment := spool.adopt()) is not None:
        seen += ids(segment)
        spool.done(segment)
    print(len(seen), len(set(seen)), len(list(place.glob("*.spool"))))
    """

    assert script(body, place) == "240 240 0"


def test_threads_that_append_at_once_lose_nothing(place: Path) -> None:
    spool = Spool(place, LIMIT)

    def work(name: str) -> None:
        for number in range(200):
            assert spool.append(event(f"{name}{number}"))

    threads = [threading.Thread(target=work, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    while any(thread.is_alive() for thread in threads) or not spool.is_idle:
        if (segment := spool.take()) is not None:
            seen += ids_in(segment)
            spool.done(segment)

    assert sorted(seen) == sorted(f"{name}{number}" for name in "abcd" for number in range(200))


# --- Which directory


def settings(**known: Any) -> Settings:
    return replace(Settings(storage="sqlite:////var/lib/records.db"), **known)


def test_it_is_in_the_users_state_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert directory_of(settings()).parent == tmp_path / "fullresult"  # type: ignore[union-attr]

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    place = directory_of(settings())

    assert place is not None
    assert place.parent == tmp_path / DEFAULT_SPOOL[2:]


def test_each_storage_has_one_of_its_own() -> None:
    urls = ["postgresql://a/x", "postgresql://a/y", "postgresql://b/x", "sqlite:////x.db"]

    places = {directory_of(settings(storage=url, spool_directory="/spool")) for url in urls}

    assert len(places) == 4


def test_a_new_password_changes_nothing() -> None:
    old, new = (f"postgresql://user:{password}@host/db" for password in ("old", "new"))

    places = {directory_of(settings(storage=url, spool_directory="/spool")) for url in (old, new)}

    assert len(places) == 1


def test_a_relative_file_of_two_directories_is_two_storages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        places.add(directory_of(settings(storage="sqlite:///records.db", spool_directory="/spool")))
        absolute = f"sqlite:///{tmp_path / name / 'records.db'}"
        places.add(directory_of(settings(storage=absolute, spool_directory="/spool")))

    assert len(places) == 2


def test_without_a_home_it_is_said_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.expanduser", _no_home)

    with pytest.raises(LookupError, match="set fullresult_spool_directory"):
        directory_of(settings())


def _no_home(_: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_none_is_no_spool() -> None:
    assert directory_of(settings(spool_directory=None)) is None


def test_a_lock_that_the_file_system_does_not_know_is_a_spool_that_cannot_be_used(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_lock)

    with caplog.at_level(logging.ERROR):
        kept = Spool(place, LIMIT).append(event("a"))

    assert not kept
    assert "No locks available" in caplog.text
