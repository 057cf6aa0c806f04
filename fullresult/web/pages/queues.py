"""Queues: what waits in each, since when, and who consumes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def queues(request: Request) -> Response:
    """Every queue, those that nobody consumes first."""
    site = site_of(request)
    return site.render(request, "queues.html", found=site.full.queues())


routes = [Route("/queues", queues)]
