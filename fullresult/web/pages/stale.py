"""Stale: tasks that neither finished nor moved for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.insight.queues import left_alone
from fullresult.insight.stale import find_stale
from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = 50


def stale(request: Request) -> Response:
    """A page of the stale tasks, the oldest first."""
    site, asked = site_of(request), request.query_params
    try:
        age = site.age(asked.get("older", ""))
        after = asked.get("after") or None
        found = find_stale(site.full.storage, age, None, PAGE + 1, after)
    except ValueError as error:
        return site.error(request, 400, str(error))
    page = found[:PAGE]
    return site.render(
        request, "stale.html", records=page, age=age, older=asked.get("older", ""),
        age_text=f"{age.total_seconds():.0f}s",
        next=page[-1].cursor if len(found) > PAGE else None, after=asked.get("after"),
        unconsumed=left_alone(site.full.storage, site.full.settings, page),
    )  # fmt: skip


routes = [Route("/stale", stale)]
