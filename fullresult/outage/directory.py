"""The directory of a spool: where it is, and who may use it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from fullresult.config import spool_home, without_password
from fullresult.record.interruptions import spare

if TYPE_CHECKING:
    from fullresult.config import Settings


def directory_of(settings: Settings) -> Path | None:
    """The directory in which events for the storage of *settings* are kept; None for no spool.

    Raises `LookupError`, which says what to set, if this user has no home directory.
    """
    home = spool_home(settings.spool_directory)
    return None if home is None else home / _digest(settings.storage)


def _digest(url: str) -> str:
    """A short text for a storage, the same with any password in its URL."""
    scheme, mark, file = url.partition(":///")
    if scheme == "sqlite" and mark:
        url = f"sqlite:///{Path(file).absolute()}"
    return hashlib.sha256(without_password(url).encode(errors="replace")).hexdigest()[:16]


def writable_by_others(directory: Path) -> Path | None:
    """The nearest directory above *directory* in which others may replace what is there; or None.

    Root may. A group counts as others, but not one whose number is its only user's.
    """
    us = os.geteuid()
    for above in Path(os.path.realpath(directory)).parents:
        try:
            known = above.stat()
        except OSError as error:  # it is not made yet, or not ours to see
            spare(error)
            continue
        if known.st_uid not in {0, us}:
            return above
        if not known.st_mode & stat.S_ISVTX and known.st_mode & _others(known):
            return above
    return None


def _others(known: os.stat_result) -> int:
    is_private = known.st_gid in {0, known.st_uid}
    return stat.S_IWOTH if is_private else stat.S_IWOTH | stat.S_IWGRP


def make_directory(directory: Path) -> None:
    """Make *directory* for this user alone. Raises `OSError` if others may use it."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.mkdir(mode=0o700)
    except FileExistsError:
        known = directory.lstat()
        if not stat.S_ISDIR(known.st_mode):
            raise NotADirectoryError(20, "it is no directory") from None
        if known.st_uid != os.geteuid() or known.st_mode & 0o077:
            raise PermissionError(1, "others may use it: it must be this user's alone") from None
