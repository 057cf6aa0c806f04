"""Stale scheduled: overdue schedules by their kind, and what may be done about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.insight.overdue import Kind, Overdue
from fullresult.web.site import needs_schedules, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = 50
_CANCEL = ("cancel", "Cancel selected…")
_GIVE_BACK = ("release", "Give selected back…")
_SEND = ("send-now", "Send selected now…")
_BUTTONS = {
    Kind.CLAIMED: (_SEND, _GIVE_BACK),
    Kind.UNCLAIMED: (_SEND, _CANCEL),
}
"""(page, label) of the buttons for a selection. The other kinds are for other processes to send."""
_REMEDIES = {
    Kind.CLAIMED: "Look whether they ran. If one did not, send it now, or give it back to the "
    "sweepers; if it was sent before, it then runs twice.",
    Kind.BEING_SENT: "Look again in a minute.",
    Kind.UNCLAIMED: "Start a worker, or fullresult sweep, and they are sent; or send them now.",
    Kind.FOREIGN: "The sweepers of the apps that made them send those. If this broker got another "
    "URL, set fullresult_namespace to the namespace they have.",
}


def stale_scheduled(request: Request) -> Response:
    """A page of overdue schedules by their kind; within one, the first due first."""
    site, asked = site_of(request), request.query_params
    older, after = asked.get("older", ""), asked.get("after") or None
    try:
        age = site.age(older)
        overdue = Overdue(site.full.storage, site.full.settings)
        found = overdue.page(age, PAGE + 1, after)
    except ValueError as error:
        return site.error(request, 400, str(error))
    page = found[:PAGE]
    return site.render(
        request, "stale_scheduled.html", kinds=overdue.by_kind(page), remedies=_REMEDIES,
        buttons=_BUTTONS, age=age, older=older, namespace=overdue.namespace, after=after,
        next=page[-1].cursor if len(found) > PAGE else None, calls=site.calls_of(page),
    )  # fmt: skip


routes = [Route("/stale-scheduled", needs_schedules(stale_scheduled))]
