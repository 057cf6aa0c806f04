"""Fast lists in the admin: counts that stop, and names without reading every record."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Q

CAP = 10_000
"""The number at which a count stops."""
MOST_NAMES = 100
_LAST = "\U0010ffff"

_NAMES = """
WITH RECURSIVE known (name) AS (
    SELECT min(name) FROM fullresult_task WHERE name >= %s
    UNION ALL
    SELECT (SELECT min(t.name) FROM fullresult_task AS t WHERE t.name > known.name)
    FROM known WHERE known.name IS NOT NULL
)
SELECT name FROM known WHERE name IS NOT NULL LIMIT %s
"""
"""From name to name along the index: DISTINCT would read all of it."""


class AtLeast(int):
    """A count that stopped; it is shown with a plus."""

    def __str__(self) -> str:
        return f"{int(self)}+"


class CappedPaginator(Paginator):
    """Pages of at most `CAP` records: further ones are found by filters."""

    @cached_property
    def count(self) -> int:
        found = self.object_list.order_by()[: CAP + 1].count()
        return AtLeast(CAP) if found > CAP else found


class InOneOrder(ChangeList):
    """A list in its own order: by any other column, `?o=5` in its address would sort all of it."""

    def get_ordering(self, request: Any, queryset: Any) -> Any:
        if self.sortable_by:
            return super().get_ordering(request, queryset)
        own = self.model_admin.get_ordering(request) or self.lookup_opts.ordering
        return self._get_deterministic_ordering(list(own))

    def get_ordering_field_columns(self) -> dict[int, str]:
        return super().get_ordering_field_columns() if self.sortable_by else {}


def begins_with(alias: str, prefix: str) -> Q:
    """The condition for records whose name begins with *prefix*, by the index of names."""
    names = task_names(alias, prefix, MOST_NAMES + 1)
    if len(names) <= MOST_NAMES:
        return Q(name__in=names)
    # Too many for a list: both databases compare names by their code points.
    return Q(name__gte=prefix, name__lt=prefix + _LAST)


def task_names(alias: str, prefix: str = "", most: int = MOST_NAMES) -> list[str]:
    """The names of recorded tasks that begin with *prefix*, sorted; at most *most*."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_NAMES, [prefix, most])
        names: list[Any] = [row[0] for row in cursor.fetchall()]
    return [name for name in names if name.startswith(prefix)]
