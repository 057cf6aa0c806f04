"""Workers in any SQL database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from fullresult.record import Worker, WorkerCard
from fullresult_storage_sql import rows
from fullresult_storage_sql.prepared import Prepared

_A_DAY = timedelta(days=1)


class SqlWorkers(Prepared):
    """A `fullresult.storage.CardStorage`."""

    def note_worker(self, worker: Worker) -> None:
        database = self._prepared()
        database.ask(database.sql["note_worker"], rows.worker_parameters(worker))

    def find_workers(self) -> list[Worker]:
        database = self._prepared()
        return [rows.worker(row) for row in database.ask(database.sql["find_workers"], [])]

    def forget_workers(self, seen_until: datetime) -> None:
        database = self._prepared()
        database.ask(database.sql["forget_workers"], [rows.date_text(seen_until)])

    def note_card(self, card: WorkerCard, names: str) -> None:
        database = self._prepared()
        database.ask(database.sql["note_card"], rows.texts(card))
        # After the card: names that no card has are deleted.
        noted = [card.names_id, rows.date_text(card.date_written), names]
        database.ask(database.sql["note_names"], noted)

    def find_cards(self, worker_ids: Collection[str] | None = None) -> list[WorkerCard]:
        database = self._prepared()
        if worker_ids is None:
            found = database.ask(database.sql["find_all_cards"], [])
        else:
            found = database.ask(database.sql["find_cards"], [database.many(worker_ids)])
        return [rows.worker_card(row) for row in found]

    def find_names(self, names_ids: Collection[str]) -> dict[str, str]:
        database = self._prepared()
        found = database.ask(database.sql["find_names"], [database.many(names_ids)])
        return {row[0]: row[1] for row in found}

    def forget_gone(self, now: datetime, most: int) -> None:
        database = self._prepared()
        database.ask(database.sql["forget_gone"], [rows.date_text(now), most])
        database.ask(database.sql["forget_cards"], [])
        database.ask(database.sql["forget_names"], [rows.date_text(now - _A_DAY)])
