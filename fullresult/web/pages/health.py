"""`/healthz`: 200 if the storage answers, 503 if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request


async def healthz(request: Request) -> Response:
    """Answer yes or no without a reason: anybody may ask."""
    if await site_of(request).health.answers():
        return PlainTextResponse("ok\n")
    return PlainTextResponse("the storage does not answer\n", 503)


routes = [Route("/healthz", healthz)]
