"""The fields that choose tasks, and the `TaskQuery` that they make."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fullresult.insight.unresolved import unresolved_first
from fullresult.storage import TaskQuery
from fullresult.web.api.fields import ARRAY, CURSOR, FLAG, OBJECT, PAST, Field, choice, text, whole

if TYPE_CHECKING:
    from fullresult.web.api.operation import Call

MOST = 200
"""Records in a page."""
_USUAL = 50
_MOST_STATES = 30

FILTERS = (
    Field("state", text(), "In one of these states.", many=_MOST_STATES),
    Field("not_state", text(), "In none of these states.", many=_MOST_STATES),
    Field("name", text(), "With this name, or a glob like `shop.*`."),
    Field("queue", text(), "Sent to this queue."),
    Field("worker", text(), "Run by this worker, such as `celery@host`."),
    Field("root_id", text(), "In the workflow that this task began.", names_task=True),
    Field("group_id", text(), "Members of this group."),
    Field("retry_of", text(), "Re-sends of this task.", names_task=True),
    Field("fingerprint", text(), "In this group of failures."),
    Field("since", PAST, "Created since: how long ago (`2h`), or an ISO date, else in UTC."),
    Field("until", PAST, "Created before; like `since`."),
    Field("text", text(), "With this text in name, id or exception."),
    Field("args", ARRAY, "With these first positional arguments."),
    Field("args_at", OBJECT, 'With these positional arguments, by place: `{"1": 42}`.'),
    Field("exception", text(), "Of this type: `shop.errors.Declined`, or `Declined`."),
    Field("kwargs", OBJECT, "With these keyword arguments, or with dicts that have such items."),
)
ALL = Field(
    "all",
    FLAG,
    "Of tasks that ended badly, also those that are dealt with: sent again since, or resolved.",
)
TASK_ID = Field("id", text(), "The task.", required=True, names_task=True)


def limit(most: int = MOST, usual: int = _USUAL) -> Field:
    return Field("limit", whole(1, most), "At most this many.", default=usual)


AFTER = Field("after", CURSOR, "The `next` of the page before.")
ORDER = Field("order", choice("newest", "oldest"), "The first ones.", default="newest")
PAGE = (limit(), AFTER, ORDER)


def query_of(call: Call, **more: Any) -> TaskQuery:
    """The query of *call*'s fields; of failures, what is dealt with is left out without `all`.

    Raises `ValueError`.
    """
    query = query_as_given(call, **more)
    return query if call.get("all") else unresolved_first(query)


def query_as_given(call: Call, **more: Any) -> TaskQuery:
    """The same, whether dealt with or not."""
    known = {field.name for field in (*FILTERS, AFTER, ORDER)}
    given = {name: value for name, value in call.given.items() if name in known}
    return TaskQuery(**{**given, **more})


def of_all_pages(query: TaskQuery) -> TaskQuery:
    return replace(query, limit=None, after=None)
