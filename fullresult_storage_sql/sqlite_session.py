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
    """A connection that remembers how long its commits wait for the disk."""

    owner = 0
    has_log = False
    """Whether what is committed goes to a log beside the file, as in WAL mode."""
    _synchronous = ""
    _log: int | None = None

    def survives(self, error: BaseException) -> bool:
        return isinstance(error, REFUSALS) and not self.in_transaction

    def wait_for_disk(self, synchronous: str) -> None:
        if self._synchronous != synchronous:
            self.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous

    def flush(self) -> None:
        """Wait until what was committed is on the disk. Raises OSError.

        The same as a commit with `synchronous = FULL` does, but nobody waits for it who wants to
        write meanwhile, and the setting, which costs more than what it sets, stays as it is.
        """
        if self._log is None:
            _, _, file = self.execute("PRAGMA database_list").fetchone()
            self._log = os.open(f"{file}-wal", os.O_RDWR)
        # Not everywhere.
        getattr(os, "fdatasync", os.fsync)(self._log)

    def close(self) -> None:
        super().close()
        log, self._log = self._log, None
        if log is not None:
            os.close(log)

    def __del__(self) -> None:
        # Else Python 3.13 warns of a connection left open. Ours are meant to end with the process.
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
