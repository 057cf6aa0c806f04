"""A segment of the spool: one append-only file of frames, which belongs to one process."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from fullresult.outage.lines import Frame, Unreadable, decode
from fullresult.record.dates import from_milliseconds

logger = logging.getLogger(__name__)

_PIECE = 8 * 1024 * 1024
_REMEMBERED = 5000
"""Frames of the segment that is being appended to, kept in memory: a flush need not read them."""
_LARGEST_REMEMBERED = 2 * 1024 * 1024


class Segment:
    """One file of frames, locked by this process."""

    def __init__(self, path: Path, descriptor: int, size: int = 0) -> None:
        self.path = path
        self.size = size
        self.remembered: list[Frame] | None = None
        """What it holds, where that is known without reading it."""
        self._descriptor = descriptor

    def append(self, lines: bytes) -> None:
        """Write *lines* whole or not at all. Raises `OSError`."""
        written = os.write(self._descriptor, lines)
        if written != len(lines):
            # Of what comes next, no line must be glued to a half one.
            os.ftruncate(self._descriptor, self.size)
            raise OSError(28, "no space left on device")
        self.size += written

    def read(self) -> tuple[list[Frame], int]:
        """What it holds, and how many lines of it cannot be read. Raises `OSError`."""
        found: list[Frame] = []
        unreadable = 0
        for line in self._content().split(b"\n"):
            if not line:
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

    def close(self) -> None:
        """Let go of it, once; its lock goes with the last process that has it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)

    def delete(self) -> None:
        with suppress(OSError):
            self.path.unlink()
        self.close()


def locked(descriptor: int) -> bool:
    """Lock it, unless somebody has; whether that was done."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def opened(path: Path) -> int:
    # Not for reading only: NFS gives an exclusive lock to writers alone.
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)


def adopted(path: Path) -> Segment | None:
    try:
        descriptor = opened(path)
    except OSError:
        return None
    try:
        if _is_ours(descriptor) and locked(descriptor) and os.fstat(descriptor).st_nlink:
            return Segment(path, descriptor, os.fstat(descriptor).st_size)
    except OSError as error:
        logger.debug("fullresult: %s cannot be locked: %s", path, error)
    os.close(descriptor)
    return None


def _is_ours(descriptor: int) -> bool:
    known = os.fstat(descriptor)
    return stat.S_ISREG(known.st_mode) and known.st_uid == os.geteuid()


def remember(segment: Segment, what: tuple[Frame, ...]) -> None:
    remembered = segment.remembered
    if remembered is None:
        return
    if len(remembered) >= _REMEMBERED or segment.size > _LARGEST_REMEMBERED:
        segment.remembered = None
    else:
        remembered += what


def begun(path: Path) -> datetime:
    try:
        return from_milliseconds(int(path.name.partition("-")[0], 16) // 1_000_000)
    except (ValueError, OverflowError):
        return from_milliseconds(int(path.stat().st_mtime * 1000))
