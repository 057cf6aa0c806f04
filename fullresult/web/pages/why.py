"""Why: the explanation of one task, as a page, and as a part that its task's page loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def why(request: Request) -> Response:
    """Why the task whose `id` is asked for is as it is; with `part`, without what is around it."""
    site, asked = site_of(request), request.query_params
    found = site.full.explain(asked.get("id", ""))
    template = "why_part.html" if asked.get("part") else "why.html"
    return site.render(request, template, 200 if found.known else 404, why=found)


routes = [Route("/why", why)]
