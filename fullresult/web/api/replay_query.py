"""The query of a replay: of all that match, and never of every record by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.web.api.fields import Wrong
from fullresult.web.api.filters import of_all_pages, query_as_given, query_of

if TYPE_CHECKING:
    from fullresult.storage import TaskQuery
    from fullresult.web.api.operation import Call


def query_of_replay(call: Call) -> TaskQuery:
    """What it sends, before `all` is asked. Raises `Wrong`."""
    if not query_as_given(call).is_narrow:
        raise Wrong("Say which tasks: give at least one filter, such as state and since.")
    return of_all_pages(query_of(call))
