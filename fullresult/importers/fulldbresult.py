"""The table of django-celery-fulldbresult, the original of this program."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fullresult.importers.row import Row, Unreadable, date, state_of, text
from fullresult.importers.source import Column, Read, Table, decoded, named
from fullresult.importers.values import (
    UNKNOWN,
    Given,
    children_of,
    failed_of,
    from_base64,
    from_json,
    from_text,
)
from fullresult.record import encoding
from fullresult.record.states import SCHEDULED, SCHEDULED_SENT, SUCCESS

TAKING = "66756c6c726545738100000000000001"
"""The `scheduled_id` of rows that are about to become schedules: its sweeper passes them."""
TAKEN = "66756c6c726545738100000000000002"
"""The `scheduled_id` of rows that have become schedules."""
NOT_CLAIMED = (None, TAKING, TAKEN)
"""Marks of rows that the original has not begun to send."""
_EXCEPTIONS = ("FAILURE", "RETRY", "REVOKED")


class FullDbResult(Table):
    """Results of version 0.5, and with migrations of 0.3 or newer."""

    name = "django-celery-fulldbresult"
    missing = "links, headers, priority, limits, attempts, when it started"
    default_table = "celery_taskresultmeta"
    needed = ("id", "task_id", "task", "args", "kwargs", "status", "result", "date_done")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._parents: dict[str, str] = {}
        """The ids of tasks that were sent when due, by the new ids under which they went on."""

    def pages(self, after: Any) -> Iterator[list[Read]]:
        self._find_parents()
        yield from super().pages(after)

    def changed(self, since: datetime) -> Iterator[list[Read]]:
        self._find_parents()
        yield from super().changed(since)

    def _find_parents(self) -> None:
        found = self._ask(
            f"SELECT task_id, result FROM {self.table} WHERE status = :state",  # noqa: S608
            {"state": SCHEDULED_SENT},
        )
        for each in found:
            new_id = _new_id(each["result"])
            if new_id is not None:
                self._parents[new_id] = str(each["task_id"])

    def row(self, column: Column) -> Row:
        zone, state = self.options.zone, state_of(column["status"])
        row = Row(
            task_id=column["task_id"],
            state=state,
            changed=date(column, "date_done", zone),
            created=date(column, "date_submitted", zone),
            published=None if state == SCHEDULED else date(column, "date_submitted", zone),
            waits_here=mark_of(column) == TAKEN,
            eta=date(column, "eta", zone),
            expires=date(column, "expires", zone),
            name=text(column["task"]),
            args=_argument(column, "args", list),
            kwargs=_argument(column, "kwargs", dict),
            worker=text(column.get("hostname")),
            exchange=column.get("exchange"),
            routing_key=text(column.get("routing_key")),
            traceback=column.get("traceback") or None,
            parent_id=text(self._parents.get(str(column["task_id"]))),
        )
        meta = decoded(column, "meta", from_base64)
        if isinstance(meta, dict):
            row.children = children_of(meta.get("children"))
        content = column["result"]
        value = None if content is None else named("result", from_text, str(content))
        if state in _EXCEPTIONS:
            row.exception_type, row.exception_message = failed_of(value)
        elif value is not None or state == SUCCESS:
            row.result = Given.of(value)
        return row


def mark_of(column: Column) -> str | None:
    """The `scheduled_id` of a row, which another database has as text; None for none."""
    mark = column.get("scheduled_id")
    return str(mark).replace("-", "") if mark else None


def _new_id(result: Any) -> str | None:
    try:
        value = None if result is None else from_text(str(result))
    except ValueError:
        return None
    return str(value["new_task_id"]) if isinstance(value, dict) and "new_task_id" in value else None


def _argument(column: Column, part: str, kind: type[list[Any] | dict[str, Any]]) -> Given:
    """JSON, as kombu writes it."""
    content = column[part]
    if content in (None, ""):
        return UNKNOWN
    try:
        value = from_json(content)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its {part} are no JSON: {error}") from None
    if not isinstance(value, kind):
        wanted = "list" if kind is list else "object"
        raise Unreadable(f"its {part} are no JSON {wanted}: {encoding.safe_repr(value)[:100]}")
    return Given(value, exact=True)
