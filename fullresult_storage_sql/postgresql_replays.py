"""Replays in PostgreSQL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from fullresult.record import Replay, Taking, TaskRecord
from fullresult_storage_sql import postgresql_statements as prepared
from fullresult_storage_sql import replays, rows
from fullresult_storage_sql.due_edges import Edges
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session


class TakesForReplays:
    """The part of `PostgreSQL` that takes tasks for a replay."""

    _edges: Edges
    _server: Server
    _prepare: bool
    sql: dict[str, str]

    def take_for_replay(
        self, replay: Replay, takings: Sequence[Taking], instead_of: int
    ) -> list[str] | None:
        def all_of_it(session: Session) -> list[str] | None:
            with session.transaction():
                session.execute(self.sql["durable_prefer_index"])
                known = replays.changed(replay, instead_of)
                if not session.execute(self.sql["change_replay"], known, prepare=False).fetchall():
                    return None
                took = [each for each in takings if self._take(session, replay, each)]
                others = [event for each in took for event in each.events[1:]]
                self._write_all(session, others)
            return [each.task_id for each in took]

        found = self._server.run_once(all_of_it)
        for taking in takings:
            # It may be due before the edge that is known.
            self._edges.added(replay.namespace, rows.date_text(taking.schedule.due))
        return found

    def _take(self, session: Session, replay: Replay, taking: Taking) -> bool:
        mine = replays.taken(replay, taking)
        if not session.execute(self.sql["take_for_replay"], mine, prepare=False).fetchall():
            return False
        before = rows.schedule_parameters(taking.schedule)
        session.send(
            *prepared.of_event(taking.events[0], prepared.SCHEDULES, before), prepare=self._prepare
        )
        session.first_value()
        return True

    @abstractmethod
    def _write_all(self, session: Session, events: Sequence[TaskRecord]) -> list[str]: ...
