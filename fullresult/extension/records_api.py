"""The questions of the API that look through records; a replica can answer them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from fullresult.extension.failures_api import FailuresAPI
from fullresult.extension.parts import Parts
from fullresult.insight.overview import CAP, Overview, Overviews
from fullresult.insight.statistics import Statistics
from fullresult.insight.tally import MOST
from fullresult.record import TaskRecord
from fullresult.record.filters import PageOfTasks
from fullresult.storage import Storage, TaskQuery

if TYPE_CHECKING:
    from typing_extensions import Unpack

_A_DAY = timedelta(days=1)


class RecordsAPI:
    """Looks through the tasks of one app."""

    parts: Parts

    @property
    @abstractmethod
    def storage(self) -> Storage:
        """The storage that is asked."""

    def find(
        self, query: TaskQuery | None = None, **filters: Unpack[PageOfTasks]
    ) -> list[TaskRecord]:
        """The records that match *query*, or its fields as keywords; newest first.

        Raises `StorageError`; `TypeError` or `ValueError` for wrong filters.
        """
        return self.storage.find(query_of(query, filters))

    def count(self, query: TaskQuery | None = None, **filters: Unpack[PageOfTasks]) -> int:
        """The number of records that match, on all pages of `find`. Raises like it."""
        return self.storage.count(query_of(query, filters))

    def count_states(
        self, query: TaskQuery | None = None, *, cap: int = CAP, **filters: Unpack[PageOfTasks]
    ) -> dict[str, int]:
        """The number of matching records in each state, counted up to *cap*.

        Where many thousands are open, a number may be of the oldest or the newest 2,500 of them
        alone. Raises like `find`, and `StorageError` if the storage makes no statistics.
        """
        return self._overviews.states(query_of(query, filters), cap).by_state

    def statistics(
        self,
        since: datetime | timedelta | str = _A_DAY,
        until: datetime | None = None,
        *,
        buckets: int = 24,
        seconds: float | None = None,
    ) -> Statistics:
        """The outcomes of the tasks that were created in a span of time, cut into *buckets*.

        The span ends *until* (now, by the storage's clock) and begins *since*, a time or a length
        of time before the end. Every task is counted, 20,000 at a time. With *seconds*, counting
        ends after about as long, and there are at least so many: `exact` says so. Times are of the
        newest 5,000 at most. Raises `ValueError` for a span that cannot be cut;
        `StorageError`.
        """
        return self._overviews.statistics(since, until, buckets, seconds)

    def overview(
        self,
        since: datetime | timedelta | str = _A_DAY,
        until: datetime | None = None,
        *,
        buckets: int = 24,
        cap: int = CAP,
        seconds: float | None = None,
        looked_at: int = MOST,
    ) -> Overview:
        """`statistics`, the tasks in each state, the late ones, and the delay of sweepers.

        All numbers except those of the statistics stop at *cap*; percentiles are of about
        *looked_at* tasks. Raises like `statistics`.
        """
        return self._overviews.overview(since, until, buckets, cap, seconds, looked_at)

    @property
    def failures(self) -> FailuresAPI:
        """Failures by their cause, and what is decided about them."""
        return FailuresAPI(self.parts, self.storage)

    @property
    def _overviews(self) -> Overviews:
        return Overviews(self.parts.settings, self.parts.storage, self.storage)


def query_of(query: TaskQuery | None, filters: Mapping[str, object]) -> TaskQuery:
    """*query*, or the query with *filters* as its fields.

    Raises `TypeError` if both are given, or if *query* is no query.
    """
    if query is None:
        return TaskQuery(**cast("Any", filters))
    if not isinstance(query, TaskQuery):
        raise TypeError(f"give a TaskQuery, or a filter by its name (state={query!r})")
    if filters:
        raise TypeError("give a TaskQuery or its fields as keywords, not both")
    return query
