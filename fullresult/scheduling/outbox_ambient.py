"""The outbox that is around by itself: a Django transaction that `fullresult_outbox` names."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any


def connection_around(aliases: Iterable[str]) -> tuple[str, Any] | None:
    """The first of *aliases* whose connection of Django's is in `atomic()` here, and that one."""
    database = sys.modules.get("django.db")
    if database is None:  # so there is no transaction of Django's
        return None
    for alias in aliases:
        connection = database.connections[alias]
        if connection.in_atomic_block:
            return alias, connection
    return None
