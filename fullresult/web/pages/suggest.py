"""Suggestions of the search box, as JSON."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from fullresult.record import STATES
from fullresult.web.search import QUALIFIERS
from fullresult.web.shown import exact
from fullresult.web.site import Site, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.record import TaskRecord

_MOST, _SAMPLE, _LONGEST = 12, 200, 100
_FRESH = 20.0
"""Seconds for which the newest records are not read again."""


class Seen:
    """Names, queues, workers and arguments of the newest records."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._values: dict[str, list[str]] = {}

    def values(self, site: Site) -> dict[str, list[str]]:
        with self._lock:
            if time.monotonic() > self._until:
                self._values = _values(site, site.full.reading.find(limit=_SAMPLE))
                self._until = time.monotonic() + _FRESH
            return self._values


def _values(site: Site, records: list[TaskRecord]) -> dict[str, list[str]]:
    app = site.full.app
    registered = [name for name in app.tasks if not name.startswith(("celery.", "fullresult."))]
    return {
        "name": _often(r.name for r in records) + sorted(filter(_can_be_typed, registered)),
        "queue": _often(r.queue for r in records) + sorted(filter(_can_be_typed, app.amqp.queues)),
        "worker": _often(r.worker for r in records),
        "exception": _often(r.exception_type for r in records),
        "kwargs": _often(key for r in records if isinstance(r.kwargs, dict) for key in r.kwargs),
        "state": list(STATES),
        "since": ["15m", "1h", "1d", "7d"],
        "until": ["15m", "1h", "1d", "7d"],
    }


def _often(values: Iterable[Any]) -> list[str]:
    """The values that can be typed, the most frequent first."""
    count = Counter(v for v in values if isinstance(v, str) and _can_be_typed(v))
    return [value for value, _ in count.most_common()]


def _can_be_typed(value: str) -> bool:
    return 0 < len(value) <= _LONGEST and value.isprintable() and not set(value) & set(' ":')


def suggest(request: Request) -> Response:
    """Continuations of the word `word`, each as [text to type, meaning]."""
    site = site_of(request)
    word = request.query_params.get("word", "")[:_LONGEST]
    qualifier, colon, begun = word.partition(":")
    if colon:
        values = site_seen(site).values(site).get(qualifier.lstrip("-"), [])
        found = [
            (f"{qualifier}:{value}", "") for value in dict.fromkeys(values) if _fits(value, begun)
        ]
    else:
        found = list(_qualifiers(site, word))
    return JSONResponse([[text, exact(about)] for text, about in found[:_MOST]])


def _qualifiers(site: Site, word: str) -> Iterable[tuple[str, str]]:
    if word.startswith("kwargs."):
        for key in site_seen(site).values(site)["kwargs"]:
            if key.startswith(word[len("kwargs.") :]) and "." not in key:
                yield f"kwargs.{key}:", ""
        return
    for name, about in QUALIFIERS.items():
        if name.startswith(word.lower()):
            yield f"{name}{'.' if name in ('kwargs', 'args') else ':'}", about


def _fits(value: str, begun: str) -> bool:
    return begun.lower() in value.lower() and value != begun


def site_seen(site: Site) -> Seen:
    if not isinstance(site.seen, Seen):
        site.seen = Seen()
    return site.seen


routes = [Route("/suggest", suggest)]
