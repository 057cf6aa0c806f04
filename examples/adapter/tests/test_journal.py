"""A journal through crashes of the process and of the machine, full disks, and being rewritten."""

from __future__ import annotations

import fcntl
import multiprocessing
import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from celery.exceptions import ImproperlyConfigured
from fullresult_storage_journal.journal import Journal
from fullresult_storage_journal.storage import JournalStorage

from fullresult import plugins
from fullresult.config import Settings
from fullresult.record import SCHEDULED, SUCCESS, ScheduleQuery
from fullresult.storage import StorageError, TaskQuery, Uncertain
from fullresult.testing import samples

ROUNDS = 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tasks"


def journal_in(directory: Path, *, patience: float = 30.0, spare: int = 10_000) -> JournalStorage:
    journal = Journal(directory / "tasks", patience=patience, spare=spare)
    return JournalStorage(journal, auto_setup=True)


def ids(directory: Path) -> list[str]:
    """What a process that reads the file for the first time finds."""
    return [record.task_id for record in journal_in(directory).find(TaskQuery(order="oldest"))]


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """As on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- Crashes


@pytest.mark.parametrize("kept", [1, 8, 9, 10, 50, -1])
def test_a_line_that_was_cut_off_was_never_written(tmp_path: Path, file: Path, kept: int) -> None:
    storage = journal_in(tmp_path)
    storage.write([samples.task("a")])
    whole = file.read_bytes()
    storage.write([samples.task("b")])
    line = file.read_bytes()[len(whole) :]

    file.write_bytes(whole + line[:kept])

    assert ids(tmp_path) == ["a"]
    journal_in(tmp_path).write([samples.task("c")])
    assert ids(tmp_path) == ["a", "c"]


@pytest.mark.parametrize("end", [b"\0" * 64, b"\0" * 64 + b"\n", b"00000000 {}\n"])
def test_what_a_machine_left_at_the_end_is_no_line(tmp_path: Path, file: Path, end: bytes) -> None:
    """A file may have become longer, and what was written into it not have come to the disk."""
    journal_in(tmp_path).write([samples.task("a")])

    with file.open("ab") as journal:
        journal.write(end)

    assert ids(tmp_path) == ["a"]
    journal_in(tmp_path).write([samples.task("b")])
    assert ids(tmp_path) == ["a", "b"]


def test_a_damaged_line_among_others_is_an_error_and_stays(tmp_path: Path, file: Path) -> None:
    """What comes after it must not be thrown away."""
    storage = journal_in(tmp_path)
    for name in "abc":
        storage.write([samples.task(name)])
    damaged = file.read_bytes().replace(b'"task_id":"b"', b'"task_id":"x"')
    file.write_bytes(damaged)

    with pytest.raises(StorageError, match="is damaged at byte"):
        journal_in(tmp_path).write([samples.task("d")])

    assert file.read_bytes() == damaged


@pytest.mark.parametrize("text", [b"", b"A letter.\n", b"fullresult journal 2 " + b"0" * 33])
def test_a_file_of_another_kind_is_an_error_and_stays(
    tmp_path: Path, file: Path, text: bytes
) -> None:
    file.write_bytes(text)

    with pytest.raises(StorageError, match="is not a journal"):
        journal_in(tmp_path).setup()

    assert file.read_bytes() == text


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_what_was_answered_survives_the_killing_of_all_who_write(tmp_path: Path, seed: int) -> None:
    """Nothing is lost, sent twice or half done, wherever SIGKILL strikes; a rewriting included."""
    dice, fork = random.Random(seed), multiprocessing.get_context("fork")
    for number in range(5):
        ready = fork.Barrier(3)
        arguments = [(tmp_path, f"{number}-{writer}", ready) for writer in range(2)]
        writers = [fork.Process(target=write_until_killed, args=given) for given in arguments]
        for writer in writers:
            writer.start()
        ready.wait(30)
        time.sleep(dice.uniform(0, 0.3))  # when it strikes is the test
        for writer in writers:
            writer.kill()
            writer.join()

        check_nothing_is_lost(tmp_path)


def write_until_killed(directory: Path, name: str, ready: Barrier) -> None:
    """Schedule and send tasks, and note in a file what was answered."""
    storage = journal_in(directory, spare=20)
    with (directory / f"answered {name}").open("a", encoding="ascii", buffering=1) as answered:
        ready.wait(30)
        for number in count():
            schedule = samples.schedule(f"{name}-{number}")
            storage.schedule(schedule, samples.became(schedule.task_id, SCHEDULED))
            print("scheduled", schedule.schedule_id, file=answered)
            for claimed in storage.claim_due("shop", samples.NOON, schedule.schedule_id, 1):
                event = samples.became(claimed.task_id, SUCCESS)
                storage.mark_sent(schedule.schedule_id, [claimed.schedule_id], [event])
                print("sent", claimed.schedule_id, file=answered)


def check_nothing_is_lost(directory: Path) -> None:
    answered = [
        line.split()
        for notes in directory.glob("answered *")
        for line in notes.read_text("ascii").splitlines()
    ]
    scheduled = [name for what, name in answered if what == "scheduled"]
    sent = [name for what, name in answered if what == "sent"]
    storage = journal_in(directory)
    kept = {each.schedule_id for each in storage.find_schedules(ScheduleQuery(limit=None))}
    states = {record.task_id: record.state for record in storage.find(TaskQuery(limit=None))}
    assert scheduled
    assert len(sent) == len(set(sent))
    assert not kept & set(sent)
    for name in scheduled:
        assert states[f"task {name}"] == (SCHEDULED if name in kept else SUCCESS)


# --- Full disks, and others


def test_what_a_full_disk_did_not_take_is_not_there(tmp_path: Path, file: Path) -> None:
    storage = journal_in(tmp_path)
    storage.write([samples.task("a")])

    with files_no_longer_than(file.stat().st_size + 100):
        with pytest.raises(StorageError, match="too large") as raised:
            storage.schedule(samples.schedule("s"), samples.task("b"))
        found = storage.find(TaskQuery())

    assert not isinstance(raised.value, Uncertain)
    assert [record.task_id for record in found] == ["a"]
    storage.write([samples.task("c")])
    assert ids(tmp_path) == ["a", "c"]
    assert storage.count_schedules(ScheduleQuery()) == 0


def test_who_does_not_get_the_lock_is_told_so(tmp_path: Path) -> None:
    storage = journal_in(tmp_path, patience=0.05)
    storage.setup()

    with (tmp_path / "tasks.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(
            StorageError, match=r"had its lock for 0.05 s; set fullresult_storage_timeout"
        ):
            storage.write([samples.task("a")])

    storage.write([samples.task("b")])
    assert ids(tmp_path) == ["b"]


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    journal_in(tmp_path).setup()

    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600, 0o600]


# --- Rewriting


def test_a_journal_does_not_grow_for_ever(tmp_path: Path, file: Path) -> None:
    storage, most = journal_in(tmp_path, spare=20), 50

    for number in range(500):
        storage.note_sweep("shop", samples.after(number))
        storage.write([samples.task(f"{number % 3}", samples.after(number), queue=f"{number}")])

    assert len(file.read_bytes().splitlines()) < most
    assert journal_in(tmp_path).last_sweep("shop") == samples.after(499)


def test_what_it_says_stays_when_it_is_written_anew(tmp_path: Path, file: Path) -> None:
    storage, other = journal_in(tmp_path, spare=10), journal_in(tmp_path)
    storage.schedule(samples.RICH_SCHEDULE, samples.rich("a"))
    storage.schedule(samples.schedule("claimed"), samples.task("b"))
    storage.claim_due("shop", samples.NOON, "x", 1)
    storage.withdraw("withdrawn")
    expected = other.find(TaskQuery()), other.find_schedules(ScheduleQuery())
    name = file.read_bytes().splitlines()[0]

    for number in range(50):
        storage.note_sweep("shop", samples.after(number))

    assert file.read_bytes().splitlines()[0] != name
    for each in (storage, other, journal_in(tmp_path)):
        assert (each.find(TaskQuery()), each.find_schedules(ScheduleQuery())) == expected
        each.schedule(samples.schedule("withdrawn"), samples.task("c"))
        assert each.count_schedules(ScheduleQuery()) == len(expected[1])
        each.delete(TaskQuery(text="c"))


def test_what_was_left_of_a_rewriting_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "tasks.new").write_bytes(b"fullresult jou")

    journal_in(tmp_path).write([samples.task("a")])

    assert ids(tmp_path) == ["a"]


# --- URLs and settings


@pytest.mark.parametrize("url", ["journal://", "journal:///", "journal://host/a", "journal:///a?b"])
def test_a_url_that_cannot_be_right_says_what_to_write(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="write journal:///relative"):
        plugins.open_storage(Settings(storage=url))


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    storage = plugins.open_storage(Settings(storage=f"journal:///{tmp_path}/my%20t%C3%A4sks"))

    storage.setup()

    assert (tmp_path / "my täsks").exists()


def test_without_auto_setup_it_refuses_until_it_is_set_up(tmp_path: Path) -> None:
    settings = Settings(storage=f"journal:///{tmp_path}/tasks", auto_setup=False)
    storage = plugins.open_storage(settings)

    with pytest.raises(StorageError, match="fullresult setup"):
        storage.count(TaskQuery())
    storage.setup()

    assert storage.count(TaskQuery()) == 0
