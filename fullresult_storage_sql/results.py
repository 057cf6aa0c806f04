"""The part of a storage that a result backend uses, in any SQL database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import uuid4

from fullresult.record import Stored, TaskRecord
from fullresult.storage import CompleteChord, QuietChord
from fullresult_storage_sql import rows
from fullresult_storage_sql.database import Joining
from fullresult_storage_sql.prepared import Prepared


class SqlResults(Prepared):
    """`ResultStorage`, `JoiningStorage`, `RecountingStorage` and `GroupsStorage`."""

    def get_results(self, task_ids: Collection[str]) -> list[TaskRecord]:
        return rows.records(self._prepared().get_results(task_ids))

    def get_ended(self, task_ids: Collection[str], *, messages: bool = True) -> list[TaskRecord]:
        found = self._prepared().get_ended(task_ids, messages=messages)
        return rows.records(found)

    def get_successes(self, task_ids: Collection[str]) -> dict[str, Stored | str]:
        found = self._prepared().get_successes(task_ids)
        return {
            task_id: Stored._make(stored) if result is None else result
            for task_id, result, *stored in found
        }

    def forget(self, task_id: str) -> None:
        database = self._prepared()
        where = f"{database.sql['ids']} WHERE t.task_id = {database.placeholder}"
        database.delete(where, [task_id])

    def save_group(self, group_id: str, value: bytes, expire_at: datetime | None) -> None:
        database = self._prepared()
        database.keep(database.sql["save_group"], [group_id, value, _expires(expire_at)])

    def restore_group(self, group_id: str) -> bytes | None:
        database = self._prepared()
        found = database.keep(database.sql["restore_group"], [group_id])
        return bytes(found[0][0]) if found else None

    def restore_groups(self, group_ids: Collection[str]) -> dict[str, bytes]:
        database = self._prepared()
        found = database.keep(database.sql["restore_groups"], [database.many(group_ids)])
        return {group_id: bytes(value) for group_id, value in found}

    def delete_group(self, group_id: str) -> None:
        database = self._prepared()
        database.keep(database.sql["delete_group"], [group_id])

    def delete_groups(self, group_ids: Collection[str]) -> None:
        database = self._prepared()
        database.keep(database.sql["delete_groups"], [database.many(group_ids)])

    def begin_chord(
        self, chord_id: str, size: int | None, body: str, expire_at: datetime | None
    ) -> int:
        return self._prepared().begin_chord(chord_id, size, body, _expires(expire_at))

    def set_chord_size(self, chord_id: str, size: int, expire_at: datetime | None) -> None:
        database = self._prepared()
        known = [chord_id, size, _expires(expire_at)]
        database.keep(database.sql["set_chord_size"], known)

    def add_to_chord(self, chord_id: str, added: str, expire_at: datetime | None) -> None:
        self._prepared().add_to_chord(chord_id, added, _expires(expire_at))

    def join_chord(
        self,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> bool:
        known = _joining(chord_id, member, size, expire_at, call)
        return self._prepared().join_chord(known)

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[list[str], bool]:
        known = _joining(chord_id, member, size, expire_at, call)
        return self._prepared().write_and_join(event, known)

    def get_members(self, chord_id: str) -> list[str]:
        database = self._prepared()
        found = database.ask(database.sql["get_members"], [chord_id])
        return [member for (member,) in found]

    def close_chord(self, chord_id: str, call: str) -> None:
        database = self._prepared()
        database.keep(database.sql["close_chord"], [chord_id, call])

    def take_complete_chords(self, before: datetime, call: str, limit: int) -> list[CompleteChord]:
        database = self._prepared()
        asked = [call, rows.date_text(before), limit]
        found = database.keep(database.sql["take_complete_chords"], asked)
        return [*map(CompleteChord._make, found)]

    def take_quiet_chords(self, before: datetime, limit: int) -> list[QuietChord]:
        database = self._prepared()
        asked = [rows.date_text(before), limit]
        found = database.keep(database.sql["take_quiet_chords"], asked)
        return [QuietChord._make(known) for is_quiet, *known in found if is_quiet]

    def find_ended_members(self, chord_id: str) -> list[str]:
        database = self._prepared()
        found = database.ask(database.sql["find_ended_members"], [chord_id])
        return [task_id for (task_id,) in found]

    def forget_chord(self, chord_id: str) -> None:
        database = self._prepared()
        database.keep(database.sql["forget_chord"], [chord_id])
        database.keep(database.sql["forget_bodies"], [database.many([chord_id])])

    def delete_expired_results(self, now: datetime, limit: int) -> bool:
        return self._prepared().delete_expired_results(now, limit)


def _joining(
    chord_id: str, member: str, size: int | None, expire_at: datetime | None, call: str | None
) -> Joining:
    return Joining(chord_id, member, size, _expires(expire_at), call or uuid4().hex)


def _expires(expire_at: datetime | None) -> str | None:
    return None if expire_at is None else rows.date_text(expire_at)
