"""Overview: how much is done, how fast and how well, and what is late."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.insight.dates import past
from fullresult.web import charts
from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.insight.overview import Overview
    from fullresult.insight.statistics import Counts

SPANS = ("15m", "1h", "6h", "1d", "7d", "30d")
_USUAL = "1d"
_BUCKETS = 48
_LATE = timedelta(seconds=30)
"""A sweeper that is later than this is taken to be gone."""


def overview(request: Request) -> Response:
    """The overview of the last day, or since `since`; of all tasks, or of those of one `name`."""
    site, asked = site_of(request), request.query_params
    since, name = asked.get("since") or _USUAL, asked.get("name")
    if not site.can.statistics:
        return site.error(request, 501, "This storage makes no statistics.")
    try:
        found = site.full.overview(past(since, site.now()), buckets=_BUCKETS)
    except ValueError as error:
        return site.error(request, 400, str(error))
    buckets = _buckets(found, name)
    if buckets is None:
        return site.error(request, 404, "No task of this name was created in this time.")
    return site.render(
        request, "overview.html", found=found, since=since, spans=SPANS, name=name,
        total=found.statistics.total, tasks=found.statistics.tasks, buckets=buckets,
        throughput=charts.throughput(buckets), waits=charts.percentiles(buckets, "wait"),
        runs=charts.percentiles(buckets, "run"), late=found.sweeper_lag > _LATE,
        fleet=site.full.workers(running=False) if site.can.workers else None,
        stale_after=site.full.settings.stale_after,
    )  # fmt: skip


def _buckets(found: Overview, name: str | None) -> tuple[Counts, ...] | None:
    if not name:
        return found.statistics.buckets
    return next((task.buckets for task in found.statistics.tasks if task.name == name), None)


routes = [Route("/overview", overview)]
