"""`/healthz`: whether the storage answers, for whoever asks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fullresult.storage import StorageError
from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request

logger = logging.getLogger(__name__)


def healthz(request: Request) -> Response:
    """It says yes or no, and not why: anybody may ask."""
    try:
        site_of(request).full.storage.now()
    except StorageError as error:
        logger.warning("fullresult: the storage does not answer: %s", error)
        return PlainTextResponse("the storage does not answer\n", 503)
    return PlainTextResponse("ok\n")


routes = [Route("/healthz", healthz)]
