"""Pauses of queues in any SQL database."""

from __future__ import annotations

from fullresult.record import Pause
from fullresult_storage_sql import rows
from fullresult_storage_sql.prepared import Prepared


class SqlPauses(Prepared):
    """A `fullresult.storage.PauseStorage`."""

    def keep_pause(self, pause: Pause) -> None:
        database = self._prepared()
        database.keep(database.sql["keep_pause"], rows.texts(pause))

    def end_pause(self, namespace: str, queue: str) -> bool:
        database = self._prepared()
        return bool(database.change(database.sql["end_pause"], [namespace, queue]))

    def find_pauses(self) -> list[Pause]:
        database = self._prepared()
        found = database.ask(database.sql["find_pauses"], [])
        return [
            Pause(
                namespace,
                queue,
                rows.known_date(since),
                None if until is None else rows.known_date(until),
                *rest,
            )
            for namespace, queue, since, until, *rest in found
        ]
