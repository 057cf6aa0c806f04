"""Most events as an UPDATE: SQLite then writes only those indexes that change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fullresult.record import Start, Stored, TaskRecord, not_run
from fullresult_storage_sql import rows, statements
from fullresult_storage_sql.rows import Native

Update = tuple[str, list[Native]]
_OPEN, _CLOSED = True, False
_OUTCOME = {
    _CLOSED: rows.OUTCOME,
    _OPEN: tuple(name for name in rows.OUTCOME if name not in {"open", "expire_at", "fingerprint"}),
}
"""The columns that change, by whether the record stays open."""


class Updates:
    """The statements by the parts of an event. Each changes one row or none."""

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._statements = {
            (is_open, has_start, has_stored): sql["update"].format_map(
                {
                    ", outcome": _set(_OUTCOME[is_open]),
                    ", first start": _merged(rows.START, statements.FIRST) if has_start else "",
                    ", latest stored": _merged(rows.STORED, statements.LATEST)
                    if has_stored
                    else "",
                    "stays": sql["update_stays"] if is_open else "",
                }
            )
            for is_open in (_OPEN, _CLOSED)
            for has_start in (True, False)
            for has_stored in (True, False)
        }

    def of(self, event: TaskRecord) -> Update | None:
        """The statement that merges *event* into a record that knows nothing later.

        It changes nothing if there is no such record, or one without a message. None for an event
        with a message, a date of publish or a mark.
        """
        outcome, start, stored = event.outcome, event.start, event.stored
        if outcome is None or event.message is not None or event.date_published is not None:
            return None
        if event.resent is not None or event.published_again is not None or event.own is not None:
            return None
        values: list[Any] = [event.date_updated]
        if not outcome.open:
            values += not_run.as_written(outcome)
        elif outcome.expire_at is None:
            values += outcome[:2] + outcome[3:-2]  # as `_OUTCOME` has it
        else:
            return None
        parts: tuple[Start | Stored | None, ...] = (start, stored)
        for part in parts:
            if part is not None:
                for value in part:
                    values += [part.stamp, value]
        values += [event.task_id, outcome.stamp, event.date_created]
        statement = self._statements[outcome.open, start is not None, stored is not None]
        return statement, rows.natives(values)


def _set(columns: Sequence[str]) -> str:
    return "".join(f", {name} = ?" for name in columns)


def _merged(columns: Sequence[str], rule: statements.Rule) -> str:
    return statements.merged(columns, rule, new="?", old="{}")
