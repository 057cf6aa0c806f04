"""The table of Celery's `database` result backend."""

from __future__ import annotations

from typing import Any

from fullresult.importers.row import Row, date, number, state_of, text
from fullresult.importers.source import Column, Table, decoded
from fullresult.importers.values import (
    UNKNOWN,
    Given,
    children_of,
    failed_of,
    from_any,
    given_any,
)
from fullresult.record.states import SUCCESS

_EXCEPTIONS = ("FAILURE", "RETRY", "REVOKED")


class CeleryDatabase(Table):
    """Results of Celery 5.4 to 5.7, extended or not. Before 5.7 they are pickles."""

    name = "celery"
    missing = "links, headers, priority, ETA, limits, when it was published and started"
    default_table = "celery_taskmeta"
    needed = ("id", "task_id", "status", "result", "date_done")

    groups_in = ("celery_tasksetmeta", "taskset_id")

    def group_of(self, column: Column) -> Any:
        return _value(column, "result")

    def row(self, column: Column) -> Row:
        state = state_of(column["status"])
        row = Row(
            task_id=column["task_id"],
            state=state,
            changed=date(column, "date_done", self.options.zone),
            name=text(column.get("name")),
            worker=text(column.get("worker")),
            queue=text(column.get("queue")),
            retries=number(column.get("retries")),
            traceback=column.get("traceback") or None,
            children=children_of(_value(column, "children")),
        )
        row.args, row.kwargs = _argument(column, "args"), _argument(column, "kwargs")
        stamps = _value(column, "stamps")
        if isinstance(stamps, dict) and isinstance(stamps.get("stamps"), dict):
            row.stamps = stamps["stamps"]
        value = _value(column, "result")
        if state in _EXCEPTIONS:
            row.exception_type, row.exception_message = failed_of(value)
        elif value is not None or state == SUCCESS:
            row.result = Given.of(value)
        return row


def _argument(column: Column, part: str) -> Given:
    return decoded(column, part, given_any) or UNKNOWN


def _value(column: Column, part: str) -> Any:
    return decoded(column, part, from_any)
