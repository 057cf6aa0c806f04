"""Deleting what has expired from PostgreSQL: row by row, or partition by partition."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime

from fullresult_storage_sql.postgresql_partitions import Partitions
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session
from fullresult_storage_sql.postgresql_statements import SQL

_SKIPPING = 600.0
"""Seconds that a purge may take to find its beginning: the index leads to deleted rows, too, until
it is vacuumed. After ten million of them that takes longer than the timeout."""


class Expiry:
    """The methods of `Database` that are about records that have expired."""

    _server: Server
    _partitions: Partitions
    _purged: tuple[datetime, datetime] | None = None
    """The date as of which an unfinished purge deletes, and the date of expiry it came to."""

    def drop_partitions(self, now: datetime) -> int:
        return self._partitions.drop(now)

    def move_ended(self, now: datetime, limit: int) -> bool:
        return self._partitions.move(now, limit)

    def delete_expired(self, now: datetime, limit: int) -> int:
        expired = [now, max(limit, 0)]
        # A purge asks with the same *now* until all is gone: it goes on where it was.
        purged = self._purged if self._purged is not None and self._purged[0] == now else None
        since = purged[1] if purged else "-infinity"

        def all_of_them(session: Session) -> int:
            with session.transaction():
                session.execute(SQL["prefer_index"])
                # Two statements, as in `delete`.
                with nullcontext() if purged else self._server.waiting(session, _SKIPPING):
                    name = "lock_expired_unmoved" if session.is_partitioned else "lock_expired"
                    lock = SQL[name]
                    locked = session.execute(lock, [since, *expired], prepare=False).fetchall()
                ids = [row[0] for row in locked]
                if ids:
                    session.execute(SQL["delete"], [ids, ids], prepare=False)
            self._purged = (now, locked[-1][1]) if 0 < limit == len(locked) else None
            return len(ids)

        return self._server.run(all_of_them)
