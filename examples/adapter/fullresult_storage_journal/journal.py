"""A file to which changes are appended, one a line, by any number of processes."""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from uuid import uuid4
from zlib import crc32

from fullresult.storage import ForkGate, StorageError, Uncertain
from fullresult_storage_journal import changes
from fullresult_storage_journal.changes import Change, State

_KIND = b"fullresult journal 1 "
_HEADER = len(_KIND) + 33
"""Bytes of the first line: the kind, a name of 32 letters, the line break."""


class Journal:
    """A file of changes, each of which is there whole or not at all, and their sum.

    Reading and appending need a lock, which one thread of one process has at a time. The file is
    open only under the lock, and forks wait for it, so a child inherits neither. Raises
    `StorageError` and `OSError`.
    """

    def __init__(self, file: Path, *, patience: float, spare: int = 10_000) -> None:
        """*patience* is the seconds to wait for the lock.

        The file is rewritten when it has *spare* lines more than twice the lines it needs.
        """
        self._file = file
        self._lock = file.with_name(f"{file.name}.lock")
        self._new = file.with_name(f"{file.name}.new")
        self._patience = patience
        self._spare = spare
        self._gate = ForkGate()
        self._state: State | None = None

    def __repr__(self) -> str:
        return f"journal:///{self._file}"

    @contextmanager
    def locked(self, *, create: bool) -> Iterator[State]:
        """Take the lock; yields the state as it is now, which must not be changed."""
        with self._gate, self._exclusively():
            if create and not self._file.exists():
                self._rewrite(iter(()))
            state = self._read()
            if state.lines > self._spare + 2 * state.size:
                self._rewrite(state.changes())
                state = self._read()
            yield state

    def append(self, state: State, change: Change, *, durable: bool) -> None:
        """Append *change* under the lock; with *durable*, wait until it is on the disk.

        Raises `Uncertain` if it is unknown whether the change is kept.
        """
        with FileIO(self._file, "r+") as file:
            # A process that died, or found the disk full, left a part of a line.
            file.truncate(state.position)
            file.seek(state.position)
            _write(file, _line(change))
            if durable:
                self._to_disk(file, state.position)

    def forget(self) -> None:
        """Free the memory; the file is read again at the next use."""
        with self._gate:
            self._state = None

    def _to_disk(self, file: FileIO, position: int) -> None:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                file.truncate(position)
            raise Uncertain(f"{self!r}: {error}") from error

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        # A file of its own, because a rewritten journal replaces the old file.
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(lock)
            yield
        finally:
            # Closing is not enough if a child has inherited it after all.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            with suppress(BlockingIOError):
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{self!r}: others have had its lock for {self._patience:g} s; set "
                    "fullresult_storage_timeout to wait longer"
                )
            time.sleep(random.uniform(0, 0.002))

    def _read(self) -> State:
        """The state brought up to date with the file."""
        with FileIO(self._file) as file:
            header = file.read(_HEADER)
            if not header.startswith(_KIND) or len(header) != _HEADER:
                raise StorageError(f"{self!r} is not a journal of fullresult, version 1")
            # Removed while it changes: if that fails half-way, the file is read again.
            state, self._state = self._state, None
            if state is None or state.journal != header.decode():
                state = State(header.decode(), _HEADER)
            file.seek(state.position)
            self._apply(state, file.readall())
        self._state = state
        return state

    def _apply(self, state: State, text: bytes) -> None:
        *lines, _ = text.split(b"\n")
        for number, line in enumerate(lines, 1):
            if not _is_whole(line):
                if number == len(lines):
                    return  # the machine stopped while this was written
                raise StorageError(f"{self!r} is damaged at byte {state.position}")
            state.apply(changes.loads(line[9:]))
            state.position += len(line) + 1

    def _rewrite(self, story: Iterator[Change]) -> None:
        """Replace the journal, if there is one, by a journal of *story*."""
        with suppress(FileNotFoundError):
            self._new.unlink()
        descriptor = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with FileIO(descriptor, "w") as file:
            _write(file, _KIND + uuid4().hex.encode() + b"\n")
            for change in story:
                _write(file, _line(change))
            os.fsync(file.fileno())
        self._new.replace(self._file)
        _sync_directory(self._file.parent)


def _line(change: Change) -> bytes:
    text = changes.dumps(change).encode()
    return b"%08x %b\n" % (crc32(text), text)


def _is_whole(line: bytes) -> bool:
    return line[:9] == b"%08x " % crc32(line[9:])


def _write(file: FileIO, text: bytes) -> None:
    left = memoryview(text)
    while left:
        left = left[file.write(left) :]


def _sync_directory(directory: Path) -> None:
    """Make sure that a file created in this directory is there after a crash."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
