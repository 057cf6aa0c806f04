"""How many need somebody, for the numbers in the navigation."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from fullresult.insight.needing import MOST, Needing, needing
from fullresult.web.site import Site, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_FRESH = 10.0
"""Seconds for which nothing is counted again, whoever looks."""


class Counted:
    """The numbers that were counted last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._found = Needing()

    def found(self, site: Site) -> Needing:
        with self._lock:
            if time.monotonic() > self._until:
                self._found = needing(site.full.storage, site.full.settings)
                self._until = time.monotonic() + _FRESH
            return self._found


def counts(request: Request) -> Response:
    """A text for each page on which something waits for somebody."""
    site = site_of(request)
    if not isinstance(site.counted, Counted):
        site.counted = Counted()
    found = site.counted.found(site)
    numbers = {
        "lost": found.lost,
        "stale": found.stale,
        "orphans": found.orphans,
        "stale-scheduled": found.stale_scheduled,
        "failures": found.failures,
        "workers": found.workers,
        "queues": found.paused,
    }
    unsure = {"lost", "stale"} if found.stale_at_least else set()
    return JSONResponse(
        {
            page: _shown(number, page in unsure)
            for page, number in numbers.items()
            if number or page in unsure
        }
    )


def _shown(number: int, unsure: bool) -> str:
    return f"{number}+" if unsure or number >= MOST else f"{number}"


routes = [Route("/counts", counts)]
