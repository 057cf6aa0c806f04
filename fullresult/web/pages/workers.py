"""Workers: which live, which are gone, what each runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_FOLDED = 200


def workers(request: Request) -> Response:
    """Every worker; those that ended as they should are folded away."""
    site = site_of(request)
    if not site.can.workers:
        return site.error(request, 501, "This storage does not keep which workers are alive.")
    found = site.full.workers()
    return site.render(
        request,
        "workers.html",
        found=found,
        folded=found.folded[:_FOLDED],
        more=max(len(found.folded) - _FOLDED, 0),
    )


routes = [Route("/workers", workers)]
