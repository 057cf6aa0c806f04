"""Functions that the suite runs in processes of their own; all of them can be pickled."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from fullresult.record import TaskRecord
from fullresult.storage import (
    JoiningStorage,
    OverlappingStorage,
    ResultStorage,
    Storage,
    TaskQuery,
)
from fullresult.testing import samples

OpenStorage = Callable[[str], Storage]
T = TypeVar("T")

SECONDS = 60
"""The longest that a process may take."""


def run(do: Callable[..., None], *arguments: Sequence[Any]) -> list[int | None]:
    """Call *do* at once in one new process for each of *arguments*; returns their exit codes.

    *do* is given a barrier first, which all of them share.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(arguments), timeout=SECONDS)
    started = [context.Process(target=do, args=(barrier, *given)) for given in arguments]
    try:
        for process in started:
            process.start()
        for process in started:
            process.join(SECONDS)
        return [process.exitcode for process in started]
    finally:
        for process in started:
            process.kill()
            process.join()
            process.close()


def answers(
    open_storage: OpenStorage,
    url: str,
    do: Callable[..., T],
    *arguments: Sequence[Any],
) -> list[T]:
    """The values *do* returns, called at once in one new process for each of *arguments*.

    *do* is given a barrier, which all of them share, and the storage at *url*, connected.
    """
    with TemporaryDirectory() as directory:
        files = [Path(directory, str(number)) for number in range(len(arguments))]
        tasks = [
            (open_storage, url, file, do, *given)
            for file, given in zip(files, arguments, strict=True)
        ]
        codes = run(_answer, *tasks)
        assert codes == [0] * len(arguments)
        return [pickle.loads(file.read_bytes()) for file in files]


def _answer(
    barrier: Barrier,
    open_storage: OpenStorage,
    url: str,
    file: Path,
    do: Callable[..., object],
    *given: Any,
) -> None:
    storage = open_storage(url)
    storage.now()
    file.write_bytes(pickle.dumps(do(barrier, storage, *given)))
    storage.close()


def join_chord(
    barrier: Barrier, storage: Storage, chord_id: str, members: Sequence[str], size: int
) -> list[bool]:
    """Join with each of *members*, one after the other; returns the answers."""
    assert isinstance(storage, ResultStorage)
    barrier.wait()
    return [storage.join_chord(chord_id, member, size, None) for member in members]


def end_members(
    barrier: Barrier, storage: Storage, chord_id: str, members: Sequence[str], size: int
) -> list[bool]:
    """The same, by the writes of their ends."""
    assert isinstance(storage, JoiningStorage)
    ends = [
        samples.event(member, outcome=samples.outcome("SUCCESS"), message=samples.message())
        for member in members
    ]
    barrier.wait()
    return [storage.write_and_join(end, chord_id, end.task_id, size, None)[1] for end in ends]


def delete_expired(barrier: Barrier, storage: Storage, now: datetime, limit: int) -> int:
    """Delete until no expired record is left; returns the number of records."""
    barrier.wait()
    deleted = 0
    while storage.find(TaskQuery(name="expires", limit=1)):
        deleted += storage.delete_expired(now, limit)
    return deleted


def call_and_die(
    _: Barrier, open_storage: OpenStorage, url: str, call: Callable[[Storage], object]
) -> None:
    """Make *call*, and be killed as soon as it returns."""
    call(open_storage(url))
    os.kill(os.getpid(), signal.SIGKILL)


def write(
    barrier: Barrier, open_storage: OpenStorage, url: str, batches: Sequence[Sequence[TaskRecord]]
) -> None:
    storage = open_storage(url)
    barrier.wait()
    for batch in batches:
        storage.write(batch)
    storage.close()


def set_up_and_write(
    barrier: Barrier, open_storage: OpenStorage, url: str, batch: Sequence[TaskRecord]
) -> None:
    storage = open_storage(url)
    barrier.wait()
    storage.setup()
    storage.write(batch)
    storage.close()


def write_and_die(
    _: Barrier, open_storage: OpenStorage, url: str, batch: Sequence[TaskRecord]
) -> None:
    open_storage(url).write(batch)
    os.kill(os.getpid(), signal.SIGKILL)


def fork(_: Barrier, open_storage: OpenStorage, url: str) -> None:
    """Use a storage before a fork and on both sides after it."""
    storage = open_storage(url)
    storage.write([samples.task("parent before")])
    child = _forked(lambda: _check_child(storage))
    storage.write([samples.task("parent during")])
    _finished(child)
    storage.write([samples.task("parent after")])
    assert storage.get("child") is not None
    storage.close()


def _check_child(storage: Storage) -> None:
    assert storage.get("parent before") is not None
    storage.write([samples.task("child")])
    storage.close()


def fork_and_close(_: Barrier, open_storage: OpenStorage, url: str) -> None:
    """Close a storage in the parent while a forked child goes on using it."""
    storage = open_storage(url)
    storage.write([samples.task("parent")])
    written, write_written = os.pipe()
    closed, write_closed = os.pipe()

    def child() -> None:
        storage.write([samples.task("child before")])
        os.write(write_written, b".")
        os.read(closed, 1)
        storage.write([samples.task("child after")])

    forked = _forked(child)
    os.read(written, 1)
    storage.close()
    os.write(write_closed, b".")
    _finished(forked)


def fork_amid_threads(_: Barrier, open_storage: OpenStorage, url: str, count: int) -> None:
    """Fork *count* children while other threads write; each child writes too."""
    storage = open_storage(url)
    enough = threading.Event()

    def keep_writing(thread: int) -> None:
        number = 0
        while not enough.is_set():
            storage.write([samples.task(f"thread {thread} {number % 10}")])
            number += 1

    with ThreadPoolExecutor(2) as threads:
        writing = [threads.submit(keep_writing, thread) for thread in range(2)]
        try:
            for number in range(count):
                child = samples.task(f"child {number}")
                _finished(_forked(partial(storage.write, [child])))
        finally:
            enough.set()
    for each in writing:
        each.result()
    storage.close()


def _forked(do: Callable[[], object]) -> int:
    """Fork a child that runs *do* and ends at once; returns its process id."""
    if child := os.fork():
        return child
    code = 1
    try:
        signal.alarm(SECONDS)
        do()
        code = 0
    except BaseException:  # noqa: BLE001  (the child must not run the rest of its parent's test)
        traceback.print_exc()
    finally:
        os._exit(code)


def _finished(child: int) -> None:
    _, status = os.waitpid(child, 0)
    assert status == 0, f"a forked child ended with status {status}"


def begin_and_die(_: Barrier, open_storage: OpenStorage, url: str, event: TaskRecord) -> None:
    """Send *event* to the storage, and be killed before the answer is read."""
    storage = open_storage(url)
    assert isinstance(storage, OverlappingStorage)
    storage.begin_write(event)
    os.kill(os.getpid(), signal.SIGKILL)


def until(is_true: Callable[[], bool]) -> bool:
    """True if it becomes true in time."""
    deadline = time.monotonic() + SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
