"""The spool: what a storage did not take at once, in append-only files of each process.

Each file, a *segment*, belongs to one process, which holds a lock on it while it lives. One whose
lock can be had is of a dead process, and whoever has the lock may write what it holds. Segments are
deleted when all in them is written; what they hold is mergeable, so twice does no harm.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fullresult.config import DEFAULT_SPOOL, without_password
from fullresult.outage.lines import Frame, Unreadable, decode, encode
from fullresult.record.dates import from_milliseconds

if TYPE_CHECKING:
    from fullresult.config import Settings

logger = logging.getLogger(__name__)

_SUFFIX = ".spool"
_SEGMENT = 8 * 1024 * 1024
"""Bytes after which a segment is followed by another."""
_REMEMBERED = 5000
"""Frames of the segment that is being appended to, kept in memory: a flush need not read them."""
_LARGEST_REMEMBERED = 2 * 1024 * 1024
_PAUSE = 1.0
"""Seconds between two looks at a directory that is full or cannot be used."""
_TRIES = 100


@dataclass(frozen=True)
class SpoolStatus:
    """What waits in a spool to be written."""

    directory: str
    segments: int = 0
    """Files; of each process that lives no more than it needs."""
    events: int = 0
    bytes: int = 0
    owned: int = 0
    """Events in files of processes that live: these write them."""
    oldest: datetime | None = None
    """When the oldest file with events was begun."""
    oldest_left: datetime | None = None
    """The same of files whose process is gone: somebody else has to write them."""


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
        while piece := os.pread(self._descriptor, _SEGMENT, offset):
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


class Spool:
    """The segments of this process, and those that others left, in one directory."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self._limit = limit
        self._segment_size = max(min(_SEGMENT, limit // 4), 1)
        self._lock = threading.RLock()  # re-entrant, for a signal handler may publish
        self._own: deque[Segment] = deque()
        self._open: Segment | None = None
        self._summed = 0.0
        self._total = 0
        self._unusable_until = 0.0
        self._problem: str | None = None
        _watch_forks(self)

    # ---- appending

    @property
    def is_idle(self) -> bool:
        """Whether nothing of this process waits."""
        return not self._own

    @property
    def has_any(self) -> bool:
        """Whether there is a segment, of whichever process."""
        return bool(self._paths())

    def append(self, *what: Frame) -> bool:
        """Keep *what*, all or nothing; whether that was done. Neither waits nor raises."""
        if self._unusable_until and time.monotonic() < self._unusable_until:
            return False
        try:
            lines = b"".join(map(encode, what))
        except (TypeError, ValueError, RecursionError) as error:
            logger.error("fullresult: an event cannot be kept: %s", error)  # noqa: TRY400
            return False
        with self._lock:
            try:
                self._append(what, lines)
            except OSError as error:
                self._unusable(error.strerror or str(error))
                return False
            except _Full as error:
                self._unusable(str(error))
                return False
        if self._problem is not None:
            self._usable()
        return True

    def _append(self, what: tuple[Frame, ...], lines: bytes) -> None:
        segment = self._open
        if segment is None or segment.size + len(lines) > self._segment_size:
            self._seal()
            segment = self._new(len(lines))
        # Remembered first: it must not be in the file only, should a signal raise in between.
        _remember(segment, what)
        try:
            segment.append(lines)
        except OSError:
            segment.remembered = None
            self._seal()
            raise
        self._total += len(lines)

    def _new(self, needed: int) -> Segment:
        self._check_room(needed)
        _make_directory(self.directory)
        segment = self._create()
        segment.remembered = []
        self._own.append(segment)
        self._open = segment
        return segment

    def _create(self) -> Segment:
        how = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW
        for _ in range(_TRIES):
            name = f"{time.time_ns():016x}-{os.getpid()}-{os.urandom(3).hex()}{_SUFFIX}"
            path = self.directory / name
            descriptor = os.open(path, how, 0o600)
            # Somebody may have found it before it was locked, and deleted it as a dead one's.
            if _locked(descriptor) and os.fstat(descriptor).st_nlink:
                return Segment(path, descriptor)
            os.close(descriptor)
        raise OSError(11, "no file of it can be locked")

    def _check_room(self, needed: int) -> None:
        """For a whole segment, so that nobody has to look again before the next one."""
        now, segment = time.monotonic(), max(needed, self._segment_size)
        if now - self._summed > _PAUSE or (self._total + segment) * 2 > self._limit:
            self._total, self._summed = sum(size for _, size in self._sizes()), now
        if self._total + segment > self._limit:
            raise _Full(f"it holds {self._total} bytes, and fullresult_spool_size is {self._limit}")

    def _sizes(self) -> Iterator[tuple[Path, int]]:
        for path in self._paths():
            with suppress(OSError):
                yield path, path.stat(follow_symlinks=False).st_size

    def _paths(self) -> list[Path]:
        """All segments there are, the oldest first."""
        try:
            names = os.listdir(self.directory)  # noqa: PTH208  (many times faster, and often asked)
        except OSError:
            return []
        return [self.directory / name for name in sorted(names) if name.endswith(_SUFFIX)]

    def _seal(self) -> None:
        """No more is appended to the segment that is open."""
        segment, self._open = self._open, None
        if segment is not None and segment.size > self._segment_size // 2:
            segment.remembered = None  # of a long outage little is in memory

    def _unusable(self, why: str) -> None:
        self._unusable_until = time.monotonic() + _PAUSE
        if self._problem is None:
            logger.error("fullresult: nothing can be kept in %s: %s", self.directory, why)
        self._problem = why

    def _usable(self) -> None:
        self._problem, self._unusable_until = None, 0.0
        logger.warning("fullresult: events can be kept in %s again", self.directory)

    # ---- flushing

    def take(self) -> Segment | None:
        """The oldest segment of this process, which grows no more; None if there is none."""
        with self._lock:
            if not self._own:
                return None
            segment = self._own[0]
            if segment is self._open:
                self._open = None
            return segment

    def done(self, segment: Segment) -> None:
        """All of *segment*, own or adopted, is written."""
        with self._lock:
            segment.delete()
            if self._own and self._own[0] is segment:
                self._own.popleft()
            self._total = max(self._total - segment.size, 0)
            self._unusable_until = 0.0

    def adopt(self) -> Segment | None:
        """A segment whose process is gone, now locked by this one; None if there is none."""
        return next(filter(None, map(_adopted, self._paths())), None)

    def status(self) -> SpoolStatus:
        """What waits, of all processes."""
        found = SpoolStatus(str(self.directory))
        for path in self._paths():
            looked = self._look(path)
            if looked is not None:
                found = _sum(found, *looked)
        return found

    def _look(self, path: Path) -> tuple[datetime, int, int, bool] | None:
        """When *path* was begun, its lines, its bytes, and whether its process lives."""
        try:
            descriptor = _opened(path)
        except OSError:
            return None
        try:
            lives = not _locked(descriptor)
            lines = size = 0
            while piece := os.pread(descriptor, _SEGMENT, size):
                lines += piece.count(b"\n")
                size += len(piece)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return _begun(path), lines, size, lives

    # ---- forks

    def _after_fork_in_child(self) -> None:
        # They are the parent's, which would look alive as long as a child has them open.
        for segment in self._own:
            segment.close()
        self._own, self._open = deque(), None
        self._lock = threading.RLock()


class _Full(Exception):
    """There is no room left; the message says how much there was."""


def directory_of(settings: Settings) -> Path | None:
    """Where events for the storage of *settings* are kept; None where they are not to be.

    Raises `LookupError`, saying what to set, where nobody can tell.
    """
    if settings.spool_directory is None:
        return None
    state = os.environ.get("XDG_STATE_HOME", "")
    if settings.spool_directory == DEFAULT_SPOOL and Path(state).is_absolute():
        place = Path(state, Path(DEFAULT_SPOOL).name)
    else:
        try:
            place = Path(settings.spool_directory).expanduser()
        except RuntimeError:
            place = Path()
    if not place.is_absolute():
        raise LookupError(
            f"no directory {settings.spool_directory}, for this user has no home: "
            "set fullresult_spool_directory"
        )
    return place / _digest(settings.storage)


def _digest(url: str) -> str:
    """A short text that is the same for the same storage, whoever's password it is opened with."""
    scheme, mark, file = url.partition(":///")
    if scheme == "sqlite" and mark:
        url = f"sqlite:///{Path(file).absolute()}"
    return hashlib.sha256(without_password(url).encode(errors="replace")).hexdigest()[:16]


def _make_directory(directory: Path) -> None:
    """Make *directory* for this user alone. Raises `OSError` where it is not."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.mkdir(mode=0o700)
    except FileExistsError:
        known = directory.lstat()
        if not stat.S_ISDIR(known.st_mode):
            raise NotADirectoryError(20, "it is no directory") from None
        if known.st_uid != os.geteuid() or known.st_mode & 0o077:
            raise PermissionError(1, "others may use it: it must be this user's alone") from None


def _locked(descriptor: int) -> bool:
    """Lock it, unless somebody has; whether that was done."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened(path: Path) -> int:
    # Not for reading only: NFS gives an exclusive lock to writers alone.
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)


def _adopted(path: Path) -> Segment | None:
    try:
        descriptor = _opened(path)
    except OSError:
        return None
    try:
        if _is_ours(descriptor) and _locked(descriptor) and os.fstat(descriptor).st_nlink:
            return Segment(path, descriptor, os.fstat(descriptor).st_size)
    except OSError as error:
        logger.debug("fullresult: %s cannot be locked: %s", path, error)
    os.close(descriptor)
    return None


def _is_ours(descriptor: int) -> bool:
    known = os.fstat(descriptor)
    return stat.S_ISREG(known.st_mode) and known.st_uid == os.geteuid()


def _remember(segment: Segment, what: tuple[Frame, ...]) -> None:
    remembered = segment.remembered
    if remembered is None:
        return
    if len(remembered) >= _REMEMBERED or segment.size > _LARGEST_REMEMBERED:
        segment.remembered = None
    else:
        remembered += what


def _begun(path: Path) -> datetime:
    try:
        return from_milliseconds(int(path.name.partition("-")[0], 16) // 1_000_000)
    except (ValueError, OverflowError):
        return from_milliseconds(int(path.stat().st_mtime * 1000))


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
    )


def _watch_forks(spool: Spool) -> None:
    reference = weakref.ref(spool)  # what is registered stays so for good

    def forked() -> None:
        if (alive := reference()) is not None:
            alive._after_fork_in_child()  # noqa: SLF001  (its own)

    os.register_at_fork(after_in_child=forked)
