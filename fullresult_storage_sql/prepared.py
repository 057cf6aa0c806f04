"""A database whose schema is made or checked before its first use."""

from __future__ import annotations

from fullresult_storage_sql.database import Database


class Prepared:
    """The base of all parts of `SqlStorage`."""

    def __init__(self, database: Database, *, auto_setup: bool) -> None:
        self._database = database
        self._auto_setup = auto_setup
        self._ready = False

    def setup(self) -> None:
        self._database.migrate(patient=True)
        self._ready = True

    def close(self) -> None:
        self._database.close()

    def _prepared(self) -> Database:
        """The database, its schema known to be there."""
        if not self._ready:
            self._get_ready()
        return self._database

    def _get_ready(self) -> None:
        if self._auto_setup:
            self._database.migrate(patient=False)
        else:
            self._database.check()
        self._ready = True
