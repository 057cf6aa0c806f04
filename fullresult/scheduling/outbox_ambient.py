"""The outbox that is around by itself: a Django transaction that `fullresult_outbox` names."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any


def connection_around(aliases: Iterable[str]) -> Any | None:
    """Django's connection, the first of *aliases*, that is inside `atomic()` in this thread."""
    database = sys.modules.get("django.db")
    if database is None:  # so there is no transaction of Django's
        return None
    for alias in aliases:
        connection = database.connections[alias]
        if connection.in_atomic_block:
            return connection
    return None
