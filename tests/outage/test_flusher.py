"""Writing later what the storage did not take at once: events, withdrawals, counts of chords.

Long because its storages that fail in one way each serve all cases.
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import threading
import time
from binascii import crc32
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult, StorageError
from fullresult.outage import lines
from fullresult.outage.breaker import Breaker
from fullresult.outage.flusher import Flusher
from fullresult.outage.lines import Count, Withdrawal
from fullresult.outage.spool import Spool
from fullresult.record import TaskRecord
from fullresult.scheduling.withdrawals import Withdrawals
from fullresult.storage import Refused
from fullresult.testing import samples
from tests.kit.scripts import run_script
from tests.kit.workers import until


class Storage:
    """As much of a storage as a flusher asks, which fails as long as it is told to."""

    def __init__(self) -> None:
        self.away = False
        self.refused: set[str] = set()
        self.poison: set[str] = set()
        self.batches: list[list[str]] = []
        self.told: list[tuple[str, str]] = []
        self.asked = 0

    def now(self) -> None:
        self._answer()

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        ids = [event.task_id for event in events]
        self._answer()
        if self.poison & set(ids):
            raise StorageError("the server went away")
        if self.refused & set(ids):
            raise Refused("no such date")
        self.batches.append(ids)
        self.told += [("event", task_id) for task_id in ids]
        return []

    def withdraw(self, schedule_id: str) -> None:
        self._answer()
        self.told.append(("withdrawal", schedule_id))

    def count(self, count: Count) -> None:
        self._answer()
        self.told.append(("count", count.member))

    def _answer(self) -> None:
        self.asked += 1
        if self.away:
            raise StorageError("nobody there")

    @property
    def written(self) -> list[str]:
        return [task_id for batch in self.batches for task_id in batch]


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def make(storage: Storage, tmp_path: Path) -> Iterator[Callable[..., Flusher]]:
    made: list[Flusher] = []

    def make_flusher(*, lingers: bool = False) -> Flusher:
        spool, breaker = Spool(tmp_path / "spool", 10_000_000), Breaker()
        ways = storage.withdraw, storage.count
        flusher = Flusher(storage, spool, breaker, *ways, lingers=lingers)  # type: ignore[arg-type]
        breaker.watched(flusher.wake, "a place")
        made.append(flusher)
        return flusher

    yield make_flusher
    for flusher in made:
        flusher.finish(5)


def event(task_id: str) -> TaskRecord:
    return samples.event(task_id, outcome=samples.outcome())


def count(member: str) -> Count:
    return Count("chord", member, 3, None, "call", "{}")


def keep_without_thread(flusher: Flusher, *what: Any) -> None:
    assert flusher._spool.append(*what)


def test_what_is_kept_is_written_soon(make: Callable[..., Flusher], storage: Storage) -> None:
    flusher = make()

    assert flusher.keep(event("a"))

    assert until(lambda: storage.written == ["a"])
    assert until(lambda: flusher.is_idle)
    assert flusher.status().segments == 0


def test_the_thread_ends_when_there_is_nothing_to_do_and_begins_again(
    make: Callable[..., Flusher], storage: Storage
) -> None:
    flusher = make()
    flusher.keep(event("a"))
    assert until(lambda: flusher._thread is None)

    flusher.keep(event("b"))

    assert until(lambda: storage.written == ["a", "b"])


def test_a_thread_that_lingers_writes_what_comes_together_at_once(
    make: Callable[..., Flusher], storage: Storage
) -> None:
    flusher = make(lingers=True)
    flusher.keep(event("first"))
    assert until(lambda: storage.written == ["first"])

    for number in range(50):
        flusher.keep(event(f"{number:02d}"))

    assert until(lambda: len(storage.written) == 51)
    assert len(storage.batches) < 25
    assert flusher._thread is not None


def test_while_the_storage_is_away_it_is_asked_again_until_it_answers(
    make: Callable[..., Flusher], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fullresult.outage.flusher._SHORTEST_PAUSE", 0.01)
    storage.away = True
    flusher = make()
    flusher.keep(event("a"))
    assert until(lambda: storage.asked > 2)

    storage.away = False

    assert until(lambda: storage.written == ["a"])
    assert until(lambda: not flusher._breaker.is_open)


def test_a_storage_that_is_away_is_asked_with_one_event_and_gets_many_once_it_answers(
    make: Callable[..., Flusher], storage: Storage
) -> None:
    """Also while the breaker is held open after several outages."""
    flusher = make()
    for outage in range(2):
        storage.away = True
        keep_without_thread(flusher, *(event(f"{outage}{task_id}") for task_id in "abcd"))
        with pytest.raises(StorageError):
            flusher.flush()
        storage.away = False
        flusher.flush()

    assert flusher._breaker.is_open
    assert [len(batch) for batch in storage.batches] == [1, 2, 1] * 2


def test_withdrawals_go_first_and_counts_of_chords_last(
    make: Callable[..., Flusher], storage: Storage
) -> None:
    flusher = make()
    keep_without_thread(flusher, event("b"), count("m"), event("a"), Withdrawal("w"))

    flusher.flush()

    assert storage.told == [("withdrawal", "w"), ("event", "a"), ("event", "b"), ("count", "m")]


def test_a_batch_holds_each_task_once(make: Callable[..., Flusher], storage: Storage) -> None:
    """As `Storage.write` wants it: merged, and in the order of the ids."""
    flusher = make()
    keep_without_thread(flusher, event("b"), event("a"), event("b"))

    assert flusher.flush() == 3

    assert storage.batches == [["a", "b"]]


def test_of_a_batch_only_what_is_refused_is_left_out(
    make: Callable[..., Flusher], storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    flusher = make()
    storage.refused = {"b"}
    keep_without_thread(flusher, *map(event, "abc"))

    flusher.flush()

    assert storage.written == ["a", "c"]
    assert flusher.status().segments == 0
    assert "task b: no such date" in caplog.text


def test_one_event_that_always_fails_keeps_no_other_waiting_and_is_given_up_in_the_end(
    make: Callable[..., Flusher], storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that is too large for the server, which then hangs up."""
    flusher = make()
    storage.poison = {"b"}
    keep_without_thread(flusher, *map(event, "abcdefghijklmnopqrstuvwxyz"))

    for number in range(100):
        keep_without_thread(flusher, event(str(number)))
        with suppress(StorageError):
            flusher.flush()

    assert set(storage.written) == {*"acdefghijklmnopqrstuvwxyz", *map(str, range(100))}
    assert "task b: an event was not recorded" in caplog.text
    assert flusher.status().segments == 0


def test_a_storage_that_takes_nothing_makes_nothing_be_given_up(
    make: Callable[..., Flusher], storage: Storage
) -> None:
    """It answers, but its tables are locked: that is an outage, whatever it lasts."""
    flusher = make()
    storage.poison = set("abc")
    keep_without_thread(flusher, *map(event, "abc"))
    for _ in range(100):
        with pytest.raises(StorageError):
            flusher.flush()

    storage.poison = set()
    flusher.flush()

    assert sorted(storage.written) == ["a", "b", "c"]


def test_what_remains_of_a_segment_is_written_later_and_what_was_is_not_again(
    make: Callable[..., Flusher], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fullresult.outage.flusher._MOST", 2)
    flusher = make()
    flusher._size = 2
    keep_without_thread(flusher, *map(event, "abcd"))
    flusher._step()
    storage.away = True
    with pytest.raises(StorageError):
        flusher.flush()

    storage.away = False
    flusher.flush()

    assert sorted(storage.written) == ["a", "b", "c", "d"]


def test_what_others_left_is_written_too(make: Callable[..., Flusher], storage: Storage) -> None:
    gone = make()
    keep_without_thread(gone, event("a"))
    gone._spool._after_fork_in_child()

    make().look()

    assert until(lambda: storage.written == ["a"])


def test_what_stays_finds_what_others_leave_later(
    make: Callable[..., Flusher], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fullresult.outage.adoption.LOOK_EVERY", 0.05)
    staying, gone = make(), make()
    staying.stay()

    keep_without_thread(gone, event("a"))
    gone._spool._after_fork_in_child()

    assert until(lambda: storage.written == ["a"])


def test_an_event_alone_looks_at_no_file_of_other_processes(
    make: Callable[..., Flusher], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a host with many processes would spend its time on looking."""
    living, flusher = make(), make()
    keep_without_thread(living, event("theirs"))
    flusher.look()
    assert until(lambda: flusher._thread is None)
    looks: list[object] = []
    monkeypatch.setattr(flusher._spool, "adopt", lambda: looks.append(1))

    for number in range(20):
        flusher.keep(event(f"{number}"))
        assert until(lambda: flusher.is_idle and flusher._thread is None)

    assert len(storage.written) == 20
    assert looks == []


def test_what_a_fork_of_a_worker_has_to_write_is_its_own(make: Callable[..., Flusher]) -> None:
    """Its parent looks for what others left."""
    staying, gone = make(), make()
    staying.stay()
    staying.finish(5)
    staying._stays = True
    keep_without_thread(gone, event("a"))
    gone._spool._after_fork_in_child()

    staying.after_fork_in_child()
    staying.look()

    assert staying._next() is None


def test_lines_that_cannot_be_read_are_counted_and_the_others_written(
    make: Callable[..., Flusher], storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    gone = make()
    keep_without_thread(gone, event("a"), event("b"))
    (segment,) = gone._spool._own
    gone._spool._after_fork_in_child()
    with segment.path.open("ab") as file:
        file.write(b"torn")

    make().flush()

    assert storage.written == ["a", "b"]
    assert "1 lines of" in caplog.text


def test_lines_of_another_version_are_kept_for_it(
    make: Callable[..., Flusher], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No flush deletes them; one by the version that wrote them reads them."""
    gone = make()
    keep_without_thread(gone, event("a"))
    (segment,) = gone._spool._own
    gone._spool._after_fork_in_child()
    newer = b"X[]"
    with segment.path.open("ab") as file:
        file.write(b"%08x%b\n" % (crc32(newer), newer))
    flusher = make()

    for _ in range(2):
        flusher.flush()

    assert storage.written == ["a", "a"]
    assert flusher._spool.status().unread == 1
    assert [path.suffix for path in segment.path.parent.iterdir()] == [".unread"]

    monkeypatch.setitem(lines._READERS, b"X", lambda _: Withdrawal("x"))
    flusher.flush()

    assert ("withdrawal", "x") in storage.told
    assert flusher._spool.status().unread == 0
    assert not [*segment.path.parent.iterdir()]


def test_finishing_writes_what_waits(make: Callable[..., Flusher], storage: Storage) -> None:
    flusher = make(lingers=True)
    for number in range(1000):
        flusher.keep(event(f"{number:03d}"))

    flusher.finish(10)

    assert len(storage.written) == 1000
    assert flusher.is_idle


def test_finishing_does_not_wait_for_a_storage_that_is_away(
    make: Callable[..., Flusher], storage: Storage
) -> None:
    storage.away = True
    flusher = make()
    flusher.keep(event("a"))
    assert until(lambda: flusher._breaker.is_open)
    began = time.monotonic()

    flusher.finish(10)

    assert time.monotonic() - began < 2
    assert flusher.status().events == 1


def test_after_a_fork_the_child_writes_its_own_and_the_parent_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    printed = run_script(APP + AFTER_FORK, url, tmp_path / "spool", directory=tmp_path)

    assert printed == "0 True True"


APP = """
    import os, signal, sys, time
    from celery import Celery
    from fullresult import FullResult

    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=sys.argv[1],
        fullresult_spool_directory=sys.argv[2],
        fullresult_write_mode="spooled",
    )
    full = FullResult(app)
    full.setup()
"""
AFTER_FORK = """
    for number in range(20):
        app.send_task("shop.pay", task_id=f"parent-{number}")
    pid = os.fork()
    for number in range(20):
        app.send_task("shop.pay", task_id=f"{'parent' if pid else 'child'}-more-{number}")
    full.close()
    if not pid:
        os._exit(0)
    code = os.waitpid(pid, 0)[1]
    ids = {record.task_id for record in full.find(limit=None)}
    parents = {f"parent-{n}" for n in range(20)} | {f"parent-more-{n}" for n in range(20)}
    print(code, parents <= ids, {f"child-more-{n}" for n in range(20)} <= ids)
"""


# --- Withdrawals


def test_a_withdrawal_and_its_event_are_kept_before_they_are_tried() -> None:
    """So that they are done by somebody, if the process ends."""
    kept: list[Any] = []
    storage = Storage()

    def keep(*what: Any) -> bool:
        kept.extend(what)
        return True

    withdrawals = Withdrawals(storage, keep)  # type: ignore[arg-type]

    withdrawals.withdraw("s", event("a"))

    assert kept == [Withdrawal("s"), event("a")]
    assert until(lambda: storage.told == [("withdrawal", "s"), ("event", "a")])


def test_an_error_of_any_kind_does_not_end_a_withdrawal(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a spool nobody else knows of it, and the task would run twice."""
    monkeypatch.setattr("fullresult.scheduling.withdrawals._FIRST_PAUSE", 0.01)
    errors = [ValueError("a driver's own"), StorageError("away"), OSError("no more files")]
    real = storage.withdraw

    def withdraw(schedule_id: str) -> None:
        if errors:
            raise errors.pop()
        real(schedule_id)

    monkeypatch.setattr(storage, "withdraw", withdraw)

    Withdrawals(storage, lambda *_: False).withdraw("s", event("a"))  # type: ignore[arg-type]

    assert until(lambda: storage.told == [("withdrawal", "s"), ("event", "a")])


def test_what_a_dead_process_could_not_withdraw_is_never_claimed(url: str) -> None:
    full = make_full(url)
    schedule = samples.schedule("s", samples.NOON)
    gone = Spool(full.recorder.writer.flusher.directory, 1_000_000)  # type: ignore[union-attr]
    gone.append(Withdrawal("s"))
    gone._after_fork_in_child()

    full.flush_spool()
    full.parts.schedule_storage.schedule(schedule, event(schedule.task_id))

    assert full.parts.schedule_storage.claim_due("shop", samples.LATEST, "claim", 10) == []
    full.close()


# --- With a storage


def make_full(url: str, **settings: object) -> FullResult:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=url, **settings)
    return FullResult(app)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


def test_what_is_spooled_is_found_a_moment_later(url: str) -> None:
    full = make_full(url, fullresult_write_mode="spooled")

    full.app.send_task("shop.pay", (7,), task_id="a")

    assert until(lambda: full.get("a"))
    record = full.get("a")
    full.close()
    assert record is not None
    assert (record.state, record.name, record.args) == ("PENDING", "shop.pay", [7])


def test_closing_writes_what_waits(url: str) -> None:
    full = make_full(url, fullresult_write_mode="spooled")
    for number in range(200):
        full.app.send_task("shop.pay", task_id=str(number))

    full.close()

    assert full.count() == 200
    full.close()


def test_a_process_that_ends_writes_what_waits(url: str, tmp_path: Path) -> None:
    body = """
    app.send_task("shop.pay", task_id="a")
    """
    run_script(APP + body, url, tmp_path / "spool", directory=tmp_path)

    full = make_full(url)
    assert full.get("a") is not None
    full.close()


def test_what_a_killed_process_kept_is_written_by_the_next_one(url: str, tmp_path: Path) -> None:
    """At its first event, without being told to look."""
    body = """
    import fullresult.outage.flusher
    fullresult.outage.flusher.Flusher.wake = lambda self: True
    app.send_task("shop.pay", task_id="a")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    with pytest.raises(AssertionError):
        run_script(APP + body, url, tmp_path / "spool", directory=tmp_path)
    full = make_full(url, fullresult_spool_directory=str(tmp_path / "spool"))
    assert full.get("a") is None

    full.app.send_task("shop.pay", task_id="b")

    assert until(lambda: full.get("a"))
    full.close()


def test_what_the_storage_does_not_take_is_written_when_it_does(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = make_full(url, fullresult_storage_timeout=0.2)
    full.setup()
    with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        for number in range(20):
            full.app.send_task("shop.pay", (number,), task_id=str(number))
        assert full.spool_status().events == 20  # type: ignore[union-attr]

    assert until(lambda: full.count() == 20)

    assert until(lambda: len(caplog.records) == 2)
    opened, answered = (record.getMessage() for record in caplog.records)
    assert "no answer from the storage; events are kept in" in opened
    assert "20 events were kept, and are written now; 0 were lost" in answered
    full.close()


def test_without_a_spool_what_the_storage_does_not_take_is_lost(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fullresult.outage.breaker._SHORTEST", 0.0)
    full = make_full(url, fullresult_storage_timeout=0.1, fullresult_spool_directory=None)
    full.setup()
    with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        full.app.send_task("shop.pay", task_id="lost")

    monkeypatch.setattr("fullresult.outage.breaker._LONGEST", 0.0)
    assert until(lambda: full.app.send_task("shop.pay", task_id="b") and full.get("b"))

    assert full.get("lost") is None
    assert full.spool_status() is None
    assert full.flush_spool() == 0
    full.close()


def test_where_nothing_can_be_kept_spooled_events_are_written_directly(
    url: str, tmp_path: Path
) -> None:
    blocking = tmp_path / "file"
    blocking.touch()
    full = make_full(url, fullresult_write_mode="spooled", fullresult_spool_directory=str(blocking))

    full.app.send_task("shop.pay", task_id="a")

    assert full.get("a") is not None
    full.close()


def test_where_a_user_has_no_home_it_is_said_once_and_there_is_no_spool(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_home(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("pathlib.Path.expanduser", no_home)
    full = make_full(url)

    with caplog.at_level(logging.WARNING):
        full.app.send_task("shop.pay", task_id="a")

    assert full.get("a") is not None
    assert full.spool_status() is None
    (line,) = (record for record in caplog.records if "spool" in record.getMessage())
    assert "set fullresult_spool_directory" in line.getMessage()
    full.close()


def test_a_signal_handler_that_publishes_in_the_middle_of_a_publish_loses_nothing(
    url: str,
) -> None:
    full = make_full(url, fullresult_write_mode="spooled")
    # An adapter whose import is interrupted half-way cannot be used by the handler.
    full.setup()
    sent: list[str] = []

    inside: list[None] = []

    def publish(*_: object) -> None:
        if len(inside) > 1:
            return  # or on a slow machine it would never come back
        inside.append(None)
        sent.append(full.app.send_task("shop.pay").id)
        inside.pop()

    before = signal.signal(signal.SIGUSR1, publish)
    stop = threading.Event()

    def bother() -> None:
        while not stop.wait(0.01):
            os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=bother)
    thread.start()
    try:
        for _ in range(100):
            publish()
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)

    full.close()

    assert len(sent) > 100
    assert full.count() == len(sent)
    full.close()
