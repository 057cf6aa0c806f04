"""Overview: how much is done, how fast and how well, and what is late."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.insight.dates import past
from fullresult.insight.fleet import fleet_of
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
_AT_ONCE = (0.02, 500)
"""Seconds for counting tasks, and the number that is looked at, before the page is shown."""
_AFTERWARDS = (5.0, 5_000)
"""The same in what the page shows next."""
_EVERY, _SELDOM = 15, 60
"""Seconds after which the page is brought up to date; *seldom* where counting takes long."""
_LATE = timedelta(seconds=30)
"""A sweeper that is later than this is taken to be gone."""


def overview(request: Request) -> Response:
    """The overview of the last day, or since `since`; of all tasks, or of those of one `name`.

    With `fragment`, only the part of the page that changes, with more time to count.
    """
    site, asked = site_of(request), request.query_params
    since, name = asked.get("since") or _USUAL, asked.get("name")
    afterwards = asked.get("fragment") is not None
    if not site.can.statistics:
        return site.error(request, 501, "This storage makes no statistics.")
    seconds, looked_at = _AFTERWARDS if afterwards else _AT_ONCE
    try:
        reading = site.full.reading
        begin = past(since, site.now())
        found = reading.overview(begin, buckets=_BUCKETS, seconds=seconds, looked_at=looked_at)
    except ValueError as error:
        return site.error(request, 400, str(error))
    buckets = _buckets(found, name)
    if buckets is None:
        return site.error(request, 404, "This name is not among the 50 most frequent of this time.")
    total = found.statistics.total
    # Where counting takes long, so may looking for what runs: the page shows it next.
    running = False if total.exact or afterwards else None
    template = "overview_live.html" if afterwards else "overview.html"
    return site.render(
        request, template, found=found, since=since, spans=SPANS, name=name, exact=total.exact,
        every=_EVERY if total.exact else _SELDOM, total=total, buckets=buckets,
        tasks=found.statistics.tasks,
        throughput=charts.throughput(buckets), waits=charts.percentiles(buckets, "wait"),
        runs=charts.percentiles(buckets, "run"), late=found.sweeper_lag > _LATE,
        fleet=fleet_of(site.full.storage, running=running) if site.can.workers else None,
        orphans_known=running is not None,
        stale_after=site.full.settings.stale_after, behind=reading.behind,
    )  # fmt: skip


def _buckets(found: Overview, name: str | None) -> tuple[Counts, ...] | None:
    if not name:
        return found.statistics.buckets
    return next((task.buckets for task in found.statistics.tasks if task.name == name), None)


routes = [Route("/overview", overview)]
