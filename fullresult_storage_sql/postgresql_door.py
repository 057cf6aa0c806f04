"""The door to a PostgreSQL server: of the processes of a host one at a time asks for room.

Room is asked for with a connection, so a hundred processes that asked at once would take, for that
moment, what is left to others. As long as there is plenty, nobody stands in line.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from fullresult.record import Suppressing, spare
from fullresult.storage import InLine

Note = Callable[[int], None]
"""Tells the door how many connections may be opened before it is crowded."""

_IN_LINE = 0.5
"""The part of the timeout for which a process stands in line."""
_LOOK = 0.01
_KNOWN = 1.0
"""Seconds for which what was found holds."""
_SHARE = 4
"""Of the room that was found a fourth may be taken unasked: other hosts take some, too."""


class Door:
    """A file in *home*, which is locked while a process asks for room.

    It says since when that is, and how many more may connect without asking. A lock that is older
    than *timeout* is a stopped process's and counts no more; where no file can be had, all may ask.
    """

    def __init__(self, home: Path | None, url: str, timeout: float) -> None:
        self._path = None if home is None else home / f"room-{_digest(url)}"
        self._patience, self._oldest = timeout * _IN_LINE, timeout + 1

    @contextmanager
    def turn(self) -> Iterator[Note]:
        """Connect within, and note the room that was found. Raises `InLine` if it takes long."""
        file = self._open()
        if file is None:
            yield _forget
            return
        with file:
            if not self._enter(file):
                yield _forget
                return
            try:
                yield lambda room: _write(file, max(0, room) // _SHARE)
            finally:
                # A child that was forked meanwhile has the file, too: to close it is not enough.
                fcntl.flock(file, fcntl.LOCK_UN)

    def _enter(self, file: FileIO) -> bool:
        """True with the lock, False where none is needed or to be had. Raises `InLine`."""
        try:
            return self._wait(file)
        except OSError as error:
            spare(error)
            return False

    def _wait(self, file: FileIO) -> bool:
        began = time.monotonic()
        while not _lock(file):
            since = _read(file)[0]
            if not 0 <= time.time() - since <= self._oldest:
                return False
            if time.monotonic() - began > self._patience:
                raise InLine(
                    "other processes of this host were asking for connections, one at a time, "
                    f"for {self._patience:g} s"
                )
            time.sleep(_LOOK)
        since, left = _read(file)
        if left > 0 and 0 <= time.time() - since <= _KNOWN:
            _write(file, left - 1, since)
            fcntl.flock(file, fcntl.LOCK_UN)
            return False
        _write(file, 0)
        return True

    def _open(self) -> FileIO | None:
        """The file, ours alone, not inherited by what we execute. None if there can be none."""
        if self._path is None:
            return None
        try:
            return _opened(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            spare(error)
            return None
        with Suppressing(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return _opened(self._path)
        return None


def _opened(path: Path) -> FileIO | None:
    file = FileIO(path, "r+", opener=_opener)
    if os.fstat(file.fileno()).st_uid == os.geteuid():
        return file
    file.close()
    return None


def _opener(path: str, _: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(path, flags, 0o600)


def _lock(file: FileIO) -> bool:
    """False if another has it. Raises `OSError` where nothing can be locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: FileIO) -> tuple[float, int]:
    """Since when what the file says holds, and how many may connect unasked."""
    try:
        since, left = os.pread(file.fileno(), 100, 0).split()
        return float(since), int(left)
    except (OSError, ValueError) as error:  # new, or being written
        spare(error)
        return time.time(), 0


def _write(file: FileIO, left: int, since: float | None = None) -> None:
    since = time.time() if since is None else since
    with Suppressing(OSError):  # a full disk
        os.pwrite(file.fileno(), b"%17.6f %6d\n" % (since, left), 0)


def _forget(room: int) -> None:
    pass


def _digest(url: str) -> str:
    """A short text for a server, whichever its database and user."""
    parts = conninfo_to_dict(url)
    names = [str(parts.get(key) or "") for key in ("host", "hostaddr", "port", "service")]
    return hashlib.sha256("\n".join(names).encode(errors="replace")).hexdigest()[:16]
