"""The spool: the events that a storage did not take at once, in append-only files of each process.

Each file, a *segment*, belongs to one process, which holds a lock on it while it lives. A segment
whose lock is free belongs to a dead process, and may be written by the one that takes the lock. It
is deleted when all of it is written. Events merge, so to write one twice does no harm.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sys import is_finalizing

from fullresult.outage.directory import make_directory, writable_by_others
from fullresult.outage.lines import Frame, encode
from fullresult.outage.segment import UNREAD, Segment, adopt, begun, lock, open_segment
from fullresult.record.interruptions import Suppressing, is_interruption, spare
from fullresult.storage import notice_fork, watch_forks

logger = logging.getLogger(__name__)

_SUFFIX = ".spool"
_SEGMENT = 8 * 1024 * 1024
"""Bytes after which another segment is begun."""
_PIECE = 64 * 1024
"""Bytes that a process reserves at a time."""
_PAUSE = 1.0
"""Seconds until a directory that is full or cannot be used is tried again."""
_TRIES = 100


@dataclass(frozen=True)
class SpoolStatus:
    """The events that wait in a spool, of all processes of this host."""

    directory: str
    segments: int = 0
    """The number of files."""
    events: int = 0
    bytes: int = 0
    owned: int = 0
    """The events in files of living processes, which write them themselves."""
    oldest: datetime | None = None
    """The time at which the oldest file with events was begun."""
    oldest_left: datetime | None = None
    """The same among files of dead processes, which another process has to write."""
    unread: int = 0
    """The number of files set aside, as they have lines that no version here could read."""


class Spool:
    """The segments of this process, and those of dead processes, in one directory."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self._limit = limit
        self._segment_size = max(min(_SEGMENT, limit // 4), 1)
        self._lock = threading.RLock()  # re-entrant, for a signal handler may publish
        self._own: deque[Segment] = deque()
        self._open: Segment | None = None
        self._piece = max(min(_PIECE, limit // 64), 1)
        self._appending = False
        self._unusable_until = 0.0
        self._problem: str | None = None
        self._refused_until = 0.0
        self._refused = 0
        """The size of the smallest event for which there was no room."""
        self._said: int | None = None
        """The same of those of which the log has told."""
        self._has_looked = False
        watch_forks(self, in_child=Spool._after_fork_in_child)

    # ---- appending

    @property
    def is_idle(self) -> bool:
        """True if no event of this process waits."""
        return not self._own

    @property
    def segments(self) -> int:
        """The number of segments, of all processes."""
        return len(self._paths())

    def append(self, *frames: Frame) -> bool:
        """Keep *frames*, all or nothing. True if they are kept. Neither waits nor raises."""
        notice_fork()
        if self._unusable_until and time.monotonic() < self._unusable_until:
            return False
        try:
            lines = b"".join(map(encode, frames))
        except (TypeError, ValueError, RecursionError) as error:
            logger.error("fullresult: an event cannot be kept: %s", error)  # noqa: TRY400
            return False
        if self._refused_until and self._refuses(len(lines)):
            return False
        if is_finalizing():
            # Only this thread is left, and whichever had the lock does not give it back.
            self._lock = threading.RLock()
        with self._lock:
            try:
                self._append_alone(frames, lines)
            except OSError as error:
                spare(error)
                self._unusable(error.strerror or str(error))
                return False
            except _Full as error:
                self._is_full(len(lines), error)
                return False
        if self._problem is not None or self._said is not None:
            self._usable(len(lines))
        return True

    def _append_alone(self, frames: tuple[Frame, ...], lines: bytes) -> None:
        if self._appending:
            # A signal handler publishes while its thread is in here: it has another segment.
            self._open = None
        outer, self._appending = self._appending, True
        try:
            self._append(frames, lines)
        finally:
            self._appending = outer

    def _append(self, frames: tuple[Frame, ...], lines: bytes) -> None:
        segment = self._open
        if segment is None or segment.size + len(lines) > self._segment_size:
            self._seal()
            segment = self._new(len(lines))
        elif segment.size + len(lines) > segment.reserved:
            self._reserve(segment, len(lines))
        # Remembered first: if a signal raises in between, a frame must not be in the file alone.
        segment.remember(frames)
        size = segment.size + len(lines)
        try:
            segment.append(lines)
        except BaseException as error:
            if isinstance(error, OSError) and not is_interruption(error):
                segment.remembered = None
                self._seal()
            else:
                # The line may be there: it is neither to be cut off nor to be written over.
                segment.size, self._open = size, None
            raise
        if segment is not self._open:
            segment.trim()

    def _new(self, needed: int) -> Segment:
        self._check(self._total() + needed)
        make_directory(self.directory)
        self.look_above()
        segment = self._create()
        try:
            self._reserve(segment, needed)
        except BaseException:
            segment.delete()
            raise
        segment.remembered = []
        self._own.append(segment)
        self._open = segment
        return segment

    def _create(self) -> Segment:
        how = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW
        for _ in range(_TRIES):
            name = f"{time.time_ns():016x}-{os.getpid()}-{os.urandom(3).hex()}{_SUFFIX}"
            path = self.directory / name
            descriptor = os.open(path, how, 0o600)
            # Before it was locked, another process may have found and deleted it as a dead one's.
            if lock(descriptor) and os.fstat(descriptor).st_nlink:
                return Segment(path, descriptor)
            os.close(descriptor)
        raise OSError(11, "no file of it can be locked")

    def _reserve(self, segment: Segment, needed: int) -> None:
        """Reserve room for *needed* bytes and some more in *segment*. Raises `_Full`, `OSError`.

        The room is taken first, and the sum made then: of two processes that take the last room at
        once one or none has it.
        """
        before = segment.reserved
        try:
            for size in (-(-needed // self._piece) * self._piece, needed):
                segment.reserve(segment.size + size)
                if (total := self._total()) <= self._limit:
                    return
            self._check(total)
        except BaseException:
            segment.reserve(before)
            raise

    def _check(self, total: int) -> None:
        if total > self._limit:
            raise _Full(
                f"with it there would be {total} bytes, and fullresult_spool_size is {self._limit}"
            )

    def _total(self) -> int:
        """The bytes of all processes, with what is reserved."""
        return sum(self._sizes())

    def _sizes(self) -> Iterator[int]:
        for path in self._paths((_SUFFIX, UNREAD)):
            try:
                size = path.stat(follow_symlinks=False).st_size
            except OSError as error:
                spare(error)
                continue
            yield size

    def _paths(self, suffix: str | tuple[str, ...] = _SUFFIX) -> list[Path]:
        """The segments of all processes, the oldest first."""
        try:
            names = os.listdir(self.directory)  # noqa: PTH208  (many times faster, and often asked)
        except OSError as error:
            spare(error)
            return []
        return [self.directory / name for name in sorted(names) if name.endswith(suffix)]

    def _seal(self) -> None:
        """Append no more to the open segment."""
        segment, self._open = self._open, None
        if segment is not None:
            segment.trim()
        if segment is not None and segment.size > self._segment_size // 2:
            segment.remembered = None  # in a long outage, memory must not grow

    def _unusable(self, why: str) -> None:
        self._unusable_until = time.monotonic() + _PAUSE
        if self._problem is None:
            logger.error("fullresult: no events can be kept in %s: %s", self.directory, why)
        self._problem = why

    def _refuses(self, size: int) -> bool:
        """True if there was no room for a smaller event a moment ago."""
        return size >= self._refused and time.monotonic() < self._refused_until

    def _is_full(self, size: int, why: _Full) -> None:
        is_smaller = time.monotonic() >= self._refused_until or size < self._refused
        if is_smaller:
            self._refused = size
        self._refused_until = time.monotonic() + _PAUSE
        if self._said is None or size <= self._said // 2:
            self._said = size
            logger.error(
                "fullresult: an event of %d bytes cannot be kept in %s: %s",
                *(size, self.directory, why),
            )

    def _usable(self, size: int) -> None:
        """An event of *size* bytes was kept."""
        if self._problem is None and size < (self._said or 0):
            return  # a smaller one fits all the time
        self._problem, self._unusable_until, self._said = None, 0.0, None
        logger.warning("fullresult: events can be kept in %s again", self.directory)

    def look_above(self) -> None:
        """Say, once, that others may put something else in the place of the directory."""
        if self._has_looked:
            return
        self._has_looked = True
        if (above := writable_by_others(self.directory)) is not None:
            logger.warning(
                "fullresult: others may write to %s, and so put something else in the place of %s, "
                "where events are kept; fullresult_spool_directory had better be below directories "
                "that are this user's alone",
                *(above, self.directory),
            )

    # ---- flushing

    def take(self) -> Segment | None:
        """The oldest segment of this process, which is appended to no more; None if none waits."""
        with self._lock:
            if not self._own:
                return None
            segment = self._own[0]
            if segment is self._open:
                self._open = None
            segment.trim()
            return segment

    def done(self, segment: Segment, *, keep: bool = False) -> None:
        """Delete *segment*, own or adopted: all of it is written. With *keep*, set it aside."""
        with self._lock:
            if keep:
                segment.set_aside()
            else:
                segment.delete()
            if self._own and self._own[0] is segment:
                self._own.popleft()
            self._unusable_until = self._refused_until = 0.0

    def close(self) -> None:
        """Give back the room that is reserved: this process is about to end."""
        with self._lock:
            if not self._appending:
                self._seal()

    def read_again(self) -> None:
        """Have files that were set aside adopted: this may be the version that can read them."""
        for path in self._paths(UNREAD):
            with Suppressing(OSError):
                path.rename(path.with_suffix(_SUFFIX))

    def adopt(self) -> Segment | None:
        """A segment of a dead process, now locked by this one; None if there is none."""
        return next(filter(None, map(adopt, self._paths())), None)

    def status(self) -> SpoolStatus:
        """The events that wait, of all processes."""
        found = SpoolStatus(str(self.directory), unread=len(self._paths(UNREAD)))
        for path in self._paths():
            looked = self._look(path)
            if looked is not None:
                found = _sum(found, *looked)
        return found

    def _look(self, path: Path) -> tuple[datetime, int, int, bool] | None:
        """When *path* was begun, its lines, its bytes, and True if its process lives."""
        try:
            descriptor = open_segment(path)
        except OSError:
            return None
        try:
            lives = not lock(descriptor)
            lines = size = offset = 0
            while piece := os.pread(descriptor, _SEGMENT, offset):
                lines += piece.count(b"\n")
                if written := len(piece.rstrip(b"\0")):
                    size = offset + written
                offset += len(piece)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return begun(path), lines, size, lives

    # ---- forks

    def _after_fork_in_child(self) -> None:
        # They are the parent's, which would look alive while a child has them open.
        for segment in self._own:
            segment.close()
        self._own, self._open = deque(), None
        self._lock = threading.RLock()


class _Full(Exception):
    """There is no room left; the message says how much is used."""


def _sum(
    known: SpoolStatus, begun: datetime | None, lines: int, size: int, lives: bool
) -> SpoolStatus:
    begun = begun if lines else None
    left = None if lives else begun
    return SpoolStatus(
        known.directory,
        known.segments + 1,
        known.events + lines,
        known.bytes + size,
        known.owned + (lines if lives else 0),
        min(filter(None, (known.oldest, begun)), default=None),
        min(filter(None, (known.oldest_left, left)), default=None),
        known.unread,
    )
