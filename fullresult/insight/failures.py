"""Failures by their cause: which groups there are, since when, how many, and what is new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Literal

from fullresult.insight.document import plain
from fullresult.record import Decision, FailureGroup, FailureQuery, TaskRecord, pages
from fullresult.record.card import Card
from fullresult.record.stamps import release_in
from fullresult.storage import (
    CardStorage,
    FailureStorage,
    StatisticsStorage,
    Storage,
    StorageError,
    TaskQuery,
    WorkerStorage,
)

MOST = 1_000
"""Failures of a group that are counted."""
_FURTHER = 100_000
"""The same where all of the newest ones are dealt with: an older one may not be."""
SHOWN = 100
_GROUPS = 2_000
"""Groups that are looked at, those that failed last."""
_MORE = 5
_EXAMPLES = 3
_LOOKED = 1_000
"""The newest failures of a group that are looked at for its releases, workers and arguments."""
_BARS = 24
_A_DAY = timedelta(days=1)

Standing = Literal["new", "open", "regressed", "resolved", "muted"]


@dataclass(frozen=True)
class Failure:
    """A group of failures, as it stands."""

    fingerprint: str
    name: str | None
    standing: Standing
    """regressed: it failed after it was resolved, in another release than before."""
    state: str
    exception_type: str | None
    exception_message: str | None
    """Of the task that failed last."""
    date_first: datetime
    date_last: datetime
    newest_id: str
    release: str | None
    """The release in which it failed last."""
    count: int
    """In the time that was asked for; `MOST` may be more."""
    unresolved: int
    """Those of the counted ones that were neither sent again nor resolved; of older ones only if
    all of these are dealt with."""
    per_hour: float
    """Of those that were counted."""
    decision: Decision | None

    @property
    def counted(self) -> str:
        """`12`, or `1,000+`."""
        return _shown(self.count)

    @property
    def rate(self) -> str:
        """`2.5`, or `41.7+`."""
        return f"{self.per_hour:,.1f}{'+' if self.count >= MOST else ''}"

    @property
    def left(self) -> str:
        may_be_more = self.count >= MOST and self.standing != "resolved"
        return f"{self.unresolved:,}{'+' if may_be_more else ''}"

    @property
    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found["decision"] = self.decision and self.decision._asdict()
        return {name: plain(value) for name, value in found.items()}


@dataclass(frozen=True)
class FailureDetails:
    """A group of failures with what its newest failures tell."""

    failure: Failure
    example: TaskRecord
    """The task that failed last."""
    examples: tuple[TaskRecord, ...]
    """The last ones that are not dealt with, or else the last ones."""
    looked: int
    """The number of its newest failures that the rest is about."""
    releases: dict[str, int]
    """The number of failures by release; "" is unknown."""
    workers: dict[str, int]
    bars: tuple[int, ...]
    """The number of failures in each of 24 equal spans from the first one to now."""
    bars_since: datetime
    share: float | None
    """The share of the runs of its name's newest tasks, as far as that can be counted."""
    affected: dict[str, int] | None
    """The number of failures by the value of the argument that was asked for, as JSON."""

    @property
    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        told = ("looked", "releases", "workers", "bars", "bars_since", "share", "affected")
        found = {name: plain(getattr(self, name)) for name in told}
        examples = [record.task_id for record in self.examples]
        traceback = self.example.traceback
        return {**self.failure.document, **found, "traceback": traceback, "examples": examples}


class Failures:
    """Asks a storage for its failures. Every method raises `StorageError`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def _groups(self) -> FailureStorage:
        if not isinstance(self._storage, FailureStorage):
            raise StorageError("this storage does not group failures")
        return self._storage

    def find(
        self,
        since: datetime | timedelta = _A_DAY,
        *,
        name: str | None = None,
        new_since: datetime | str | None = None,
        all: bool = False,  # noqa: A002  # As `--all` of the command.
        limit: int = SHOWN,
    ) -> list[Failure]:
        """The groups that failed *since*, a time or a length of time; the last ones first.

        At most *limit* of them, of the 2,000 that failed last. *name* is a glob. *new_since*, a
        time or a release, leaves out groups that had failed before. Without *all*, those are left
        out in which nothing is left to be done: all sent again, resolved, or muted. Raises
        `LookupError` for a release of which no worker left a card.
        """
        now = self._storage.now()
        began = now - since if isinstance(since, timedelta) else since
        edge = self.since_release(new_since) if isinstance(new_since, str) else new_since

        def is_asked_for(each: Failure) -> bool:
            is_named = name is None or fnmatchcase(each.name or "", name)
            return (
                is_named and (edge is None or each.date_first >= edge) and (all or _is_left(each))
            )

        looked = limit
        while True:
            groups = self._groups.find_failures(FailureQuery(began, most=MOST, limit=looked))
            found = [self._seen(group, began, now, edge) for group in groups]
            wanted = [each for each in found if is_asked_for(each)]
            if len(wanted) >= limit or len(groups) < looked or looked >= _GROUPS:
                return wanted[:limit]
            looked = min(looked * _MORE, _GROUPS)

    def get(self, fingerprint: str) -> Failure | None:
        """One group, with all of its failures that are kept; None if there is none."""
        found = self._groups.find_failures(FailureQuery(fingerprint=fingerprint, most=MOST))
        if not found:
            return None
        return self._seen(found[0], found[0].date_first, self._storage.now(), None)

    def show(self, fingerprint: str, affected: str | None = None) -> FailureDetails | None:
        """One group in detail. *affected* names a keyword argument whose values are counted."""
        failure = self.get(fingerprint)
        if failure is None:
            return None
        query = TaskQuery(fingerprint=fingerprint, limit=100)
        newest = list(islice(pages.walk(self._storage.find, query), _LOOKED))
        if not newest:
            return None
        left = self._storage.find(TaskQuery(fingerprint=fingerprint, unresolved=True, limit=3))
        now = self._storage.now()
        began = min(filter(None, (each.date_done for each in newest)), default=now)
        last = next((r for r in newest if r.task_id == failure.newest_id), newest[0])
        return FailureDetails(
            failure,
            last,
            tuple((left or newest)[:_EXAMPLES]),
            len(newest),
            _counts(release_in(each.outcome.stamp) for each in newest if each.outcome),
            _counts(each.worker or "" for each in newest),
            _bars(newest, began, now),
            began,
            self._share(failure),
            None if affected is None else _counts(_values(newest, affected)),
        )

    def since_release(self, release: str) -> datetime:
        """When the first worker of *release* began. Raises `LookupError`."""
        storage = self._storage
        if not isinstance(storage, CardStorage) or not isinstance(storage, WorkerStorage):
            raise StorageError("this storage does not keep what workers say of their release")
        of_release = {
            each.worker_id for each in storage.find_cards() if Card.of(each.text).release == release
        }
        began = [
            each.date_started for each in storage.find_workers() if each.worker_id in of_release
        ]
        if not began:
            raise LookupError(
                f"no worker of the release {release!r} is known; give a time instead, such as 2h"
            )
        return min(began)

    def _seen(
        self, group: FailureGroup, began: datetime, now: datetime, edge: datetime | None
    ) -> Failure:
        release = release_in(group.stamp) or None
        unresolved = group.unresolved
        if not unresolved and group.number >= MOST:
            unresolved = self._unresolved_before(group, began)
        hours = max((now - max(began, group.date_first)).total_seconds() / 3600, 1 / 60)
        return Failure(
            group.fingerprint,
            group.name,
            self._standing(group, release, now, edge),
            group.state,
            group.exception_type,
            group.exception_message,
            group.date_first,
            group.date_last,
            group.newest_id,
            release,
            group.number,
            unresolved,
            group.number / hours,
            group.decision,
        )

    def _unresolved_before(self, group: FailureGroup, began: datetime) -> int:
        """The failures of *group* that are not dealt with, though its newest ones all are."""
        decision = group.decision
        if decision and decision.is_resolved and group.date_last <= decision.date_decided:
            return 0
        query = FailureQuery(began, group.fingerprint, most=_FURTHER)
        found = self._groups.find_failures(query)
        return min(found[0].unresolved, MOST) if found else 0

    def _standing(
        self, group: FailureGroup, release: str | None, now: datetime, edge: datetime | None
    ) -> Standing:
        decision = group.decision
        is_new = edge is not None and group.date_first >= edge
        if decision is None or decision.status == "open":
            return "new" if is_new else "open"
        if decision.status == "muted":
            return "muted" if self._is_muted(decision, now) else "open"
        if group.date_last <= decision.date_decided:
            return "resolved"
        # Workers of the old release may still run: what fails there was not mended yet.
        is_old = release is not None and release == decision.release
        return "open" if is_old else "regressed"

    def _is_muted(self, decision: Decision, now: datetime) -> bool:
        if decision.until_time is not None and now >= decision.until_time:
            return False
        if decision.until_count is None:
            return True
        since = FailureQuery(
            decision.date_decided, decision.fingerprint, most=decision.until_count + 1
        )
        found = self._groups.find_failures(since)
        return not found or found[0].number <= decision.until_count

    def _share(self, failure: Failure) -> float | None:
        """Of its name's tasks since the first of the failures that were counted."""
        storage = self._storage
        if failure.name is None or not isinstance(storage, StatisticsStorage):
            return None
        if failure.count >= MOST:
            return None
        runs = TaskQuery(name=failure.name, since=failure.date_first)
        number = storage.count_capped(runs, 10 * MOST)
        return None if number >= 10 * MOST else failure.count / max(number, failure.count, 1)


def _is_left(failure: Failure) -> bool:
    return failure.unresolved > 0 and failure.standing not in ("resolved", "muted")


def _shown(number: int) -> str:
    return f"{number:,}{'+' if number >= MOST else ''}"


def _counts(values: Iterator[str]) -> dict[str, int]:
    """How often each of *values* came, the most frequent first."""
    found: dict[str, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _values(records: list[TaskRecord], keyword: str) -> Iterator[str]:
    for record in records:
        kwargs = record.kwargs
        if isinstance(kwargs, dict) and keyword in kwargs:
            yield json.dumps(plain(kwargs[keyword]))[:200]


def _bars(records: list[TaskRecord], began: datetime, now: datetime) -> tuple[int, ...]:
    bars = [0] * _BARS
    length = max((now - began) / _BARS, timedelta(milliseconds=1))
    for record in records:
        if record.date_done is not None:
            bars[max(min(int((record.date_done - began) / length), _BARS - 1), 0)] += 1
    return tuple(bars)
