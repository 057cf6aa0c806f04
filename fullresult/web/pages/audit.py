"""Audit: what people did, who and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.insight.dates import past
from fullresult.record.audit import AuditQuery
from fullresult.web.site import site_of
from fullresult.web.trees import tree_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = 50
_FILTERS = ("actor", "action", "task_id", "since")


def audit(request: Request) -> Response:
    """Audit entries, the newest first; of one person, one action or one task."""
    site, asked = site_of(request), request.query_params
    if not site.can.audit:
        return site.error(request, 501, "This storage keeps no audit log.")
    given = {name: asked[name].strip() for name in _FILTERS if asked.get(name, "").strip()}
    after = asked.get("after") or None
    try:
        query = AuditQuery(
            actor=given.get("actor"),
            action=given.get("action"),
            task_id=given.get("task_id"),
            since=past(given["since"], site.now()) if "since" in given else None,
            limit=PAGE + 1,
            after=after,
        )
        found = site.full.audit_log(query)
    except ValueError as error:
        return site.error(request, 400, str(error))
    page = found[:PAGE]
    return site.render(
        request, "audit.html", given=given, after=after,
        entries=[(entry, tree_of(dict(entry.details))) for entry in page],
        next=page[-1].cursor if len(found) > PAGE else None,
    )  # fmt: skip


routes = [Route("/audit", audit)]
