"""What is asked of a full store, and how long the answer may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.filling import COMMON_NAME, RARE_NAME, RARE_QUEUE
from fullresult.config import Settings
from fullresult.insight import stale
from fullresult.insight.overview import CAP, Overviews
from fullresult.storage import TaskQuery

if TYPE_CHECKING:
    from benchmarks.filling import Filled
    from fullresult.storage import Storage

LISTING = 10.0
STALE = 1.0
KWARGS = 50.0
OVERVIEW = 100.0
INDEXED_KWARGS = ("order_id", "flag", "batch")
"""The `fullresult_index_kwargs` of the SQLite file and of MongoDB."""


@dataclass(frozen=True)
class Question:
    """A query, and the milliseconds its answer was promised in (None: no promise)."""

    name: str
    query: TaskQuery
    promised: float | None = None
    everywhere: bool = True
    """Whether the promise holds on SQLite and MongoDB, too."""
    counts: bool = False
    shown: bool = False
    """Whether its plan is always printed."""

    def ask(self, storage: Storage) -> int:
        """How many records the answer has, or tells of."""
        return storage.count(self.query) if self.counts else len(storage.find(self.query))

    def bound(self, kind: str) -> float | None:
        return self.promised if self.everywhere or kind == "postgresql" else None


@dataclass(frozen=True)
class OverviewQuestion(Question):
    """All that a page asks which shows how the tasks created within `query` are doing."""

    def ask(self, storage: Storage) -> int:
        """How many records were looked at."""
        assert self.query.since is not None
        looking = Overviews(Settings(), storage)
        found = looking.overview(self.query.since, self.query.until, buckets=24, cap=CAP)
        return found.statistics.total.tasks

    def bound(self, kind: str) -> float | None:
        """MongoDB, which reads whole documents, has promised nothing."""
        return None if kind == "mongodb" else self.promised


def questions(filled: Filled, storage: Storage) -> list[Question]:
    return [
        *_listings(filled, storage),
        *_lineage(filled),
        *_stale(filled),
        *_kwargs(filled),
        *_unbounded(filled),
        *_counts(),
        *_overviews(filled),
    ]


def _overviews(filled: Filled) -> list[Question]:
    def overview(title: str, since: datetime) -> Question:
        return OverviewQuestion(title, TaskQuery(since=since, until=filled.end), OVERVIEW)

    return [
        overview("overview of an hour", filled.end - timedelta(hours=1)),
        overview("overview of a day", _days_before(filled, 1)),
        overview("overview of all 30 days", _days_before(filled, 30)),
    ]


def _listings(filled: Filled, storage: Storage) -> list[Question]:
    def listing(title: str, /, **asked: Any) -> Question:
        return Question(title, TaskQuery(**asked), LISTING, shown=title == "newest page")

    second = storage.find(TaskQuery())[-1].cursor
    second_failures = storage.find(TaskQuery(state="FAILURE"))[-1].cursor
    deep = filled.created(filled.rows - 99_900 if filled.rows > 200_000 else filled.rows // 2)
    return [
        listing("newest page"),
        listing("second page", after=second),
        listing("page 1000", after=f"{deep.isoformat(timespec='milliseconds')}|"),
        listing("oldest page", order="oldest"),
        listing("one day", since=filled.end - timedelta(days=9), until=_days_before(filled, 8)),
        listing("state FAILURE", state="FAILURE"),
        listing("state FAILURE, second page", state="FAILURE", after=second_failures),
        listing("states FAILURE and REVOKED", state=["FAILURE", "REVOKED"]),
        listing("states IGNORED and REJECTED, none", state=["IGNORED", "REJECTED"]),
        listing("state STARTED", state="STARTED"),
        listing("state SUCCESS", state="SUCCESS"),
        listing("common name", name=COMMON_NAME),
        listing("rare name", name=RARE_NAME),
        listing("unknown name", name="no.such.task"),
        listing("common glob", name="shop.*"),
        listing("rare glob", name="nightly.*"),
        listing("glob within", name="*.close_*"),
        listing("unknown glob", name="nothing.*"),
        listing("name, state FAILURE", name=COMMON_NAME, state="FAILURE"),
        listing("common queue", queue="mail"),
        listing("worker", worker="celery@host-3"),
        listing(
            "failures of 2 hours by glob",
            name="shop.*",
            state="FAILURE",
            since=filled.end - timedelta(hours=2),
        ),
    ]


def _days_before(filled: Filled, days: int) -> datetime:
    return filled.end - timedelta(days=days)


def _lineage(filled: Filled) -> list[Question]:
    middle = filled.rows // 2
    return [
        Question("root", TaskQuery(root_id=f"root-{middle // 100}"), LISTING),
        Question("root of itself", TaskQuery(root_id=filled.task_id(middle)), LISTING),
        Question("group", TaskQuery(group_id=f"group-{middle // 400}"), LISTING),
    ]


def _stale(filled: Filled) -> list[Question]:
    before = filled.end - timedelta(hours=2)
    nothing = filled.created(0) - timedelta(days=1)
    accepted = ["SUCCESS", "FAILURE", "REVOKED"]
    return [
        Question("stale, none", stale.stale_query(nothing, None, None), STALE),
        Question("stale", stale.stale_query(before, None, None), STALE, shown=True),
        Question("stale, with states", stale.stale_query(before, accepted, None), STALE),
    ]


def _kwargs(filled: Filled) -> list[Question]:
    def asked(title: str, indexed: bool, kwargs: dict[str, Any], /, **more: Any) -> Question:
        query = TaskQuery(kwargs=kwargs, **more)
        return Question(title, query, KWARGS, indexed, shown=title == "kwargs, one record")

    return [
        asked("kwargs, one record", True, {"order_id": filled.rows // 3}),
        asked("kwargs, no record", True, {"order_id": -1}),
        asked("kwargs, every other record", True, {"flag": True}),
        asked("kwargs, one in 1,000", True, {"batch": 77}),
        asked("kwargs, nested", False, {"shipping": {"zip": 7 * 4321}}),
        asked("kwargs, nested, no record", False, {"shipping": {"country": "XX"}}),
        asked("kwargs and glob", True, {"order_id": filled.rows // 3}, name="*"),
        asked("kwargs, state FAILURE", True, {"flag": True}, state="FAILURE"),
        asked(
            "kwargs of one hour", True, {"customer": "c-77"}, since=filled.end - timedelta(hours=1)
        ),
        Question("args, few", TaskQuery(args=[55, "item-12345"]), KWARGS, everywhere=False),
        Question("args, no record", TaskQuery(args=["none"]), KWARGS, everywhere=False),
    ]


def _unbounded(filled: Filled) -> list[Question]:
    hour = filled.end - timedelta(hours=1)
    return [
        Question("kwargs of the oldest tenth", TaskQuery(kwargs={"plan": "old"})),
        Question("rare queue", TaskQuery(queue=RARE_QUEUE)),
        Question("unknown worker", TaskQuery(worker="none")),
        Question("common text", TaskQuery(text="charge")),
        Question("rare text of one hour", TaskQuery(text="card 12 ", since=hour)),
        Question("rare text", TaskQuery(text="card 12 ")),
    ]


def _counts() -> list[Question]:
    return [
        Question("count of STARTED", TaskQuery(state="STARTED"), counts=True),
        Question("count of FAILURE", TaskQuery(state="FAILURE"), counts=True),
    ]
