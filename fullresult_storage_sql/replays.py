"""Replays in any SQL database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from fullresult.record import Replay, ReplayCounts, Replayed, Taking
from fullresult_storage_sql import rows
from fullresult_storage_sql.prepared import Prepared

_BEYOND = 2**62


class SqlReplays(Prepared):
    """A `fullresult.storage.ReplayStorage`."""

    def keep_replay(self, replay: Replay, *, instead_of: int | None) -> bool:
        database = self._prepared()
        if instead_of is None:
            created = rows.date_text(replay.date_created)
            values = [replay.replay_id, replay.namespace, replay.state, created]
            added = [*values, replay.version, replay.about]
            return bool(database.change(database.sql["add_replay"], added))
        return bool(database.change(database.sql["change_replay"], changed(replay, instead_of)))

    def find_replays(
        self,
        *,
        replay_ids: Collection[str] | None = None,
        namespace: str | None = None,
        states: Collection[str] | None = None,
        limit: int = 100,
    ) -> list[Replay]:
        database = self._prepared()
        mark, any_of_many = database.placeholder, database.sql["any_of_many"]
        found: list[tuple[str, Any]] = []
        if replay_ids is not None:
            found.append((any_of_many.format(column="r.replay_id"), database.many(replay_ids)))
        if namespace is not None:
            found.append((f"r.namespace = {mark}", namespace))
        if states is not None:
            found.append((any_of_many.format(column="r.state"), database.many(states)))
        where = " AND ".join(condition for condition, _ in found)
        order = f" ORDER BY r.date_created DESC, r.replay_id DESC LIMIT {limit:d}"
        page = f"{f' WHERE {where}' if where else ''}{order}"
        answer = database.ask(f"{database.sql['replays']}{page}", [value for _, value in found])
        return [_replay(row) for row in answer]

    def take_for_replay(
        self, replay: Replay, takings: Sequence[Taking], *, instead_of: int
    ) -> list[str] | None:
        return self._prepared().take_for_replay(replay, takings, instead_of)

    def finish_taking(self, replay_id: str) -> bool:  # noqa: ARG002  # A transaction has no rest.
        self._prepared()
        return True

    def count_replayed(self, replay_id: str, most: int) -> ReplayCounts:
        database, last = self._prepared(), [replay_id, max(most, 0)]
        counted, waiting, claimed = database.ask(database.sql["count_replayed"], last)[0]
        ends = database.ask(database.sql["count_replayed_ends"], last)
        ended = {str(state): int(number) for state, number in ends}
        return ReplayCounts(counted, waiting or 0, claimed or 0, ended)

    def find_replayed(
        self, replay_id: str, *, before: int | None = None, limit: int
    ) -> list[Replayed]:
        database = self._prepared()
        below = _BEYOND if before is None else before
        found = database.ask(database.sql["replayed"], [replay_id, below, limit])
        return [Replayed(*row) for row in found]

    def give_up_replayed(self, new_ids: Mapping[str, str]) -> None:
        database = self._prepared()
        of_tasks, of_new = (
            database.sql["any_of_many"].format(column=column) for column in ("task_id", "new_id")
        )
        sql = database.sql["give_up_replayed"].format(of_tasks=of_tasks, of_new=of_new)
        database.change(sql, [database.many(new_ids), database.many(new_ids.values())])

    def forget_replays(self, until: datetime, limit: int) -> int:
        database, old = self._prepared(), [rows.date_text(until), max(limit, 0)]
        return sum(
            len(database.change(database.sql[name], old))
            for name in ("forget_replayed", "forget_replays")
        )


def changed(replay: Replay, instead_of: int) -> list[Any]:
    """The values of `change_replay`."""
    return [replay.state, replay.version, replay.about, replay.replay_id, instead_of]


def taken(replay: Replay, taking: Taking) -> list[Any]:
    """The values of `take_for_replay`."""
    task_id, position, schedule, _ = taking
    return [task_id, replay.replay_id, position, schedule.task_id, schedule.schedule_id]


def _replay(row: Sequence[Any]) -> Replay:
    replay_id, namespace, state, created, version, about = row
    return Replay.of(replay_id, namespace, state, rows.known_date(created), version, about)
