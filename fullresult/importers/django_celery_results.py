"""The table of django-celery-results."""

from __future__ import annotations

import base64
from typing import Any

from fullresult.importers.row import Row, date, state_of, text
from fullresult.importers.source import Column, Table, decoded
from fullresult.importers.values import (
    UNKNOWN,
    Given,
    children_of,
    failed_of,
    from_pickle,
    from_serialised,
    given_plain,
    given_repr,
)
from fullresult.record.states import SUCCESS

_EXCEPTIONS = ("FAILURE", "RETRY", "REVOKED")


class DjangoCeleryResults(Table):
    """Results of django-celery-results 2.0 or newer, extended or not."""

    name = "django-celery-results"
    missing = "links, headers, queue (today's is taken), priority, ETA, limits, retries"
    default_table = "django_celery_results_taskresult"
    needed = ("id", "task_id", "status", "result", "content_type", "content_encoding", "date_done")

    groups_in = ("django_celery_results_groupresult", "group_id")

    def group_of(self, column: Column) -> Any:
        return _decoded(column, "result")

    def row(self, column: Column) -> Row:
        zone, state = self.options.zone, state_of(column["status"])
        row = Row(
            task_id=column["task_id"],
            state=state,
            changed=date(column, "date_done", zone),
            created=date(column, "date_created", zone),
            started=date(column, "date_started", zone),
            name=text(column.get("task_name")),
            worker=text(column.get("worker")),
            periodic_entry=text(column.get("periodic_task_name")),
            traceback=column.get("traceback") or None,
        )
        row.args = _argument(column, "task_args")
        row.kwargs = _argument(column, "task_kwargs")
        meta = _decoded(column, "meta")
        if isinstance(meta, dict):
            row.children = children_of(meta.get("children"))
        value = _decoded(column, "result")
        if state in _EXCEPTIONS:
            row.exception_type, row.exception_message = failed_of(value)
        elif value is not None or state == SUCCESS:
            row.result = Given.of(value)
        return row


def _decoded(column: Column, part: str) -> Any:
    """The value of a column that the result serializer wrote."""
    is_binary = column["content_encoding"] == "binary"
    return decoded(column, part, _of_binary if is_binary else _of_text)


def _of_binary(content: str | bytes) -> Any:
    data = base64.b64decode(content)
    return from_pickle(data) if data[:1] == b"\x80" else from_serialised(data)


def _of_text(content: str | bytes) -> Any:
    return from_serialised(content.encode() if isinstance(content, str) else bytes(content))


def _argument(column: Column, part: str) -> Given:
    """Arguments: since 2.0 the text of a repr, which the serializer wrote once more."""
    content = column.get(part)
    if content in (None, ""):
        return UNKNOWN
    try:
        value = _decoded(column, part)
    except ValueError:
        value = content  # older versions wrote the repr alone
    return given_repr(value) if isinstance(value, str) else given_plain(value)
