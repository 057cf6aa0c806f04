"""Replays in an SQLite file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from fullresult.record import Replay, Taking, TaskRecord
from fullresult_storage_sql import replays, rows
from fullresult_storage_sql.sqlite_session import Session

T = TypeVar("T")


class TakesForReplays:
    """The part of `SQLite` that takes tasks for a replay."""

    sql: dict[str, str]

    def take_for_replay(
        self, replay: Replay, takings: Sequence[Taking], instead_of: int
    ) -> list[str] | None:
        def all_of_it(session: Session) -> list[str] | None:
            with self._durable(session):
                known = replays.changed(replay, instead_of)
                if not session.execute(self.sql["change_replay"], known).fetchall():
                    return None
                return [each.task_id for each in takings if self._take(session, replay, each)]

        return self._run(all_of_it)

    def _take(self, session: Session, replay: Replay, taking: Taking) -> bool:
        mine = replays.taken(replay, taking)
        if not session.execute(self.sql["take_for_replay"], mine).fetchall():
            return False
        session.execute(self.sql["schedule"], rows.schedule_parameters(taking.schedule))
        self._write_events(session, taking.events)
        return True

    @abstractmethod
    def _durable(self, session: Session) -> AbstractContextManager[None]: ...

    @abstractmethod
    def _write_events(self, session: Session, events: Sequence[TaskRecord]) -> list[str]: ...

    @abstractmethod
    def _run(self, do: Callable[[Session], T]) -> T: ...
