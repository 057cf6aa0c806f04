"""Queues: what waits in each, since when, and who consumes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def queues(request: Request) -> Response:
    """Every queue, those that nobody consumes first, by the storage alone.

    The broker may take a second to answer: with `broker` it is asked, and with `part` the answer is
    without what is around it, for the page to load.
    """
    site, asked = site_of(request), request.query_params
    part, by_broker = asked.get("part") is not None, asked.get("broker") is not None
    found = site.full.queues(offline=not (part or by_broker))
    template = "queues_part.html" if part else "queues.html"
    return site.render(request, template, found=found, by_broker=part or by_broker)


routes = [Route("/queues", queues)]
