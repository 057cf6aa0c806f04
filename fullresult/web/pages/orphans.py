"""Orphans: tasks that were running when their worker went away."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.insight.dates import length
from fullresult.insight.orphans import Orphans
from fullresult.storage import TaskQuery
from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MOST = 200


def orphans(request: Request) -> Response:
    """The orphans, the oldest first."""
    site, older = site_of(request), request.query_params.get("older", "")
    if not site.can.workers:
        return site.error(request, 501, "This storage does not keep which workers are alive.")
    try:
        gone_for = length(older) if older.strip() else None
    except ValueError as error:
        return site.error(request, 400, str(error))
    found = list(islice(Orphans(site.full.storage, gone_for).find(TaskQuery()), MOST + 1))
    gone = {orphan.worker.worker_id: orphan.worker for orphan in found}
    return site.render(
        request, "orphans.html", records=[orphan.record for orphan in found[:MOST]],
        gone=sorted((worker.name, worker.gone_since) for worker in gone.values()),
        more=len(found) > MOST, older=older,
    )  # fmt: skip


routes = [Route("/orphans", orphans)]
