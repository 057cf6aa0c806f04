"""Which questions an index leads to, in a storage that has one for what is asked often."""

from __future__ import annotations

from fullresult.storage import TaskQuery

_FEW = ("root_id", "group_id", "retry_of")
"""What only a few records have in common, whatever a database thinks."""


def is_of_few(query: TaskQuery) -> bool:
    """Whether it asks for what only a few records have in common."""
    return any(getattr(query, name) is not None for name in _FEW)


def is_indexed(query: TaskQuery, *, json: bool) -> bool:
    """`IndexedStorage.has_index`; *json* is whether the arguments it asks for are in an index."""
    if is_of_few(query):
        return True
    if query.kwargs or query.args:
        return json
    return query.text is query.queue is query.worker is None
