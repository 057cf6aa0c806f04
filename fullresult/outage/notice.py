"""A notice in the spool that the storage does not answer, for the other processes of the host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fullresult.outage.directory import make_directory
from fullresult.record.interruptions import Suppressing, spare

_NAME = "away"
_EXTRA = 3.0
"""Seconds beyond the next probe, which takes as long as the last one, that a notice counts."""


@dataclass(frozen=True)
class Away:
    """The storage gave no answer, by the clock that all processes of a host share."""

    since: float
    """The middle of the call that had no answer."""
    until: float
    """Whoever posted it has renewed it by then, or has ended."""


class Notice:
    """Read by processes about to ask the storage, so that each need not wait in vain itself.

    Whoever has no answer posts it, and whoever has one again takes it down.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / _NAME

    def post(self, now: float, took: float) -> None:
        """Say that a call which ended *now* and *took* so many seconds had no answer."""
        line = f"{_host()} {now - took / 2!r} {now + took + _EXTRA!r}\n"
        new = self._path.with_name(f"{_NAME}-{os.getpid()}-{os.urandom(3).hex()}")
        with Suppressing(OSError):  # a full disk, say: each process finds out by itself
            make_directory(self._directory)
            new.write_text(line)
            new.replace(self._path)

    def take_down(self) -> None:
        with Suppressing(OSError):
            self._path.unlink()

    def read(self, now: float) -> Away | None:
        """What a process of this host posted; None if that was taken down or is too old."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            spare(error)
            return None
        try:
            host, since, until = os.read(descriptor, 200).decode().split()
            away = Away(float(since), float(until))
        except (OSError, ValueError) as error:
            spare(error)
            return None
        finally:
            os.close(descriptor)
        return away if host == _host() and away.since <= now < away.until else None


@cache
def _host() -> str:
    """A text that only processes share whose clocks since the start of the machine agree."""
    with Suppressing(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return os.uname().nodename.replace(" ", "-")
