"""Actions on all that match refuse a query that is of one page of a listing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from fullresult import FullResult, TaskQuery

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def full(tmp_path: Path) -> FullResult:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/tasks.db"
    full = FullResult(app)
    for number in range(4):
        app.send_task("shop.pay", task_id=str(number))
    return full


@pytest.mark.parametrize("page", [{"limit": 2}, {"after": "2026-01-01T00:00:00.000+00:00|1"}])
@pytest.mark.parametrize("deed", ["delete", "resend_many", "resend_missing"])
def test_a_query_with_a_page_of_its_own_is_refused(
    full: FullResult, deed: str, page: dict[str, Any]
) -> None:
    ways = {"stale": True} if deed == "resend_missing" else {}

    with pytest.raises(ValueError, match=rf"TaskQuery\({next(iter(page))}=.* is a page"):
        getattr(full, deed)(TaskQuery(name="shop.*", **page), **ways)

    assert full.count() == 4


def test_a_query_without_one_is_of_all_that_match_and_limit_is_the_calls(full: FullResult) -> None:
    assert len(full.resend_many(TaskQuery(name="shop.*"), limit=3, dry_run=True).would_send) == 3
    assert full.delete(TaskQuery(name="shop.*"), limit=3) == 3
    assert full.delete(TaskQuery(name="shop.*", limit=None)) == 1


@pytest.mark.parametrize("deed", ["delete", "resend_many"])
@pytest.mark.parametrize(
    "given",
    [
        *({}, {"name": None}, {"query": TaskQuery()}, {"limit": 2}),
        *({"args": []}, {"kwargs": {}}, {"not_state": []}, {"args": (), "kwargs": {}}),
        *({"not_state": ["SUCCESS"]}, {"open": False}, {"unresolved": True}),
        {"query": TaskQuery(not_state=["SUCCESS"], unresolved=True)},
    ],
)
def test_every_record_is_meant_only_where_it_is_said(
    full: FullResult, deed: str, given: dict[str, Any]
) -> None:
    """A script whose option was not given hands over None, or nothing in a list or dict.

    What leaves out a few says nothing about which are meant.
    """
    with pytest.raises(ValueError, match=r"done to every record, or nearly .* all=True"):
        getattr(full, deed)(**given)

    assert full.count() == 4


def test_every_record_can_be_meant(full: FullResult) -> None:
    assert len(full.resend_many(all=True, dry_run=True).would_send) == 4
    assert full.delete(all=True) == 4
