"""A connection to a SQLite file: its transactions, and when they wait for the disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

REFUSALS = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    UnicodeError,
    OverflowError,
)


class Session(sqlite3.Connection):
    """A connection that knows how its commits wait for the disk."""

    owner = 0
    is_worn = False
    has_log = False
    """True in WAL mode: commits go to a log beside the file."""
    _synchronous = ""
    _log: int | None = None

    def survives(self, error: BaseException) -> bool:
        return isinstance(error, REFUSALS) and not self.in_transaction

    def wait_for_disk(self, synchronous: str) -> None:
        if self._synchronous != synchronous:
            self.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous

    def flush(self) -> None:
        """Wait until all commits are on the disk. Raises OSError.

        A commit with `synchronous = FULL` waits while it holds the file; this lets other processes
        write meanwhile.
        """
        if self._log is None:
            _, _, file = self.execute("PRAGMA database_list").fetchone()
            self._log = os.open(f"{file}-wal", os.O_RDWR)
        # Not every platform has fdatasync.
        getattr(os, "fdatasync", os.fsync)(self._log)

    def close(self) -> None:
        super().close()
        log, self._log = self._log, None
        if log is not None:
            os.close(log)

    def __del__(self) -> None:
        # Else Python 3.13 warns of a connection that is open when the process ends.
        with suppress(sqlite3.Error):
            self.close()


@contextmanager
def transaction(session: Session) -> Iterator[None]:
    session.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        session.execute("ROLLBACK")
        raise
    session.execute("COMMIT")
