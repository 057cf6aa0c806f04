"""A segment of the spool: one append-only file of frames, owned by one process."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from datetime import datetime
from pathlib import Path

from fullresult.outage.lines import Frame, Unreadable, decode
from fullresult.record.dates import from_milliseconds
from fullresult.record.interruptions import Suppressing, spare

logger = logging.getLogger(__name__)

UNREAD = ".unread"
"""The suffix of a file with lines that this version cannot read."""
_PIECE = 8 * 1024 * 1024
_REMEMBERED = 5000
"""Frames of a segment kept in memory at most, so that a flush need not read them."""
_LARGEST_REMEMBERED = 2 * 1024 * 1024
"""Bytes of a segment whose frames are kept in memory, at most."""


class Segment:
    """One file of frames, locked by this process.

    It may end with NULs: room that is reserved for more lines, and counts as used.
    """

    def __init__(self, path: Path, descriptor: int, size: int = 0) -> None:
        self.path = path
        self.size = size
        """Bytes without what is reserved."""
        self.reserved = size
        """Bytes with it."""
        self.remembered: list[Frame] | None = None
        """Its frames, if they are known without reading it."""
        self._descriptor = descriptor

    def reserve(self, size: int) -> None:
        """Reserve room up to *size*, or give back what is beyond. Raises `OSError`."""
        os.ftruncate(self._descriptor, size)
        self.reserved = size

    def trim(self) -> None:
        """Give back the room that is reserved, and append no more."""
        if self.reserved > self.size and self._descriptor >= 0:
            with Suppressing(OSError):
                self.reserve(self.size)

    def append(self, lines: bytes) -> None:
        """Write *lines* whole or not at all. Raises `OSError`."""
        written = os.pwrite(self._descriptor, lines, self.size)
        if written != len(lines):
            # The next line must not be glued to half a line.
            self.reserve(self.size)
            raise OSError(28, "no space left on device")
        self.size += written
        self.reserved = max(self.reserved, self.size)

    def read(self) -> tuple[list[Frame], int]:
        """Its frames, and the number of lines that cannot be read. Raises `OSError`."""
        found: list[Frame] = []
        unreadable = 0
        for line in self._content().split(b"\n"):
            if not (line := line.strip(b"\0")):
                continue
            try:
                found.append(decode(line))
            except Unreadable:
                unreadable += 1
        return found, unreadable

    def _content(self) -> bytes:
        pieces, offset = [], 0
        while piece := os.pread(self._descriptor, _PIECE, offset):
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def remember(self, frames: tuple[Frame, ...]) -> None:
        """Keep *frames*, which are about to be appended, in memory, unless it has too many."""
        if self.remembered is None:
            return
        if len(self.remembered) >= _REMEMBERED or self.size > _LARGEST_REMEMBERED:
            self.remembered = None
        else:
            self.remembered += frames

    def close(self) -> None:
        """Close the file. Its lock ends when the last process that has it open closes it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with Suppressing(OSError):
                os.close(descriptor)

    def set_aside(self) -> None:
        """Keep the file for a version that can read all of it."""
        with Suppressing(OSError):
            self.path.rename(self.path.with_suffix(UNREAD))
        self.close()

    def delete(self) -> None:
        with Suppressing(OSError):
            self.path.unlink()
        self.close()


def lock(descriptor: int) -> bool:
    """Lock a file, unless another process has. True if it is locked now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_segment(path: Path) -> int:
    # For writing too: NFS gives an exclusive lock to writers alone.
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)


def adopt(path: Path) -> Segment | None:
    """The segment at *path*, now locked by this process; None if its process lives."""
    try:
        descriptor = open_segment(path)
    except OSError as error:
        spare(error)
        return None
    try:
        if _is_ours(descriptor) and lock(descriptor) and os.fstat(descriptor).st_nlink:
            return Segment(path, descriptor, os.fstat(descriptor).st_size)
    except OSError as error:
        logger.debug("fullresult: %s cannot be locked: %s", path, error)
    os.close(descriptor)
    return None


def _is_ours(descriptor: int) -> bool:
    known = os.fstat(descriptor)
    return stat.S_ISREG(known.st_mode) and known.st_uid == os.geteuid()


def begun(path: Path) -> datetime:
    """The time in the name of *path*; its time of change if the name has none."""
    try:
        return from_milliseconds(int(path.name.partition("-")[0], 16) // 1_000_000)
    except (ValueError, OverflowError):
        return from_milliseconds(int(path.stat().st_mtime * 1000))
