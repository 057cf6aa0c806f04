"""Periodic: the entries of beat's plan, how each last went, and one of them run now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from fullresult.insight.document import plain
from fullresult.record.encoding import clip, safe_str
from fullresult.web.acting import action, write_down
from fullresult.web.site import redirect, site_of
from fullresult.web.trees import tree_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.insight.periodic import PeriodicTask
    from fullresult.web.forms import Form
    from fullresult.web.site import Site


def periodic(request: Request) -> Response:
    """All entries, by name."""
    from fullresult.insight.periodic import SchedulerError

    site = site_of(request)
    try:
        entries = site.full.periodic(site.scheduler)
    except SchedulerError as error:
        return site.error(request, 502, safe_str(error), "Beat's plan cannot be read")
    return site.render(request, "periodic.html", entries=entries)


def preview(request: Request) -> Response:
    """What will be sent."""
    site, name = site_of(request), request.query_params.get("name", "")
    entry = _entry(site, name)
    if entry is None:
        return site.error(request, 404, f"No periodic task is called {name[:200]!r}.")
    return site.render(
        request, "trigger.html", entry=entry, args=tree_of(list(entry.args)),
        kwargs=tree_of(entry.kwargs), options=tree_of(entry.options) if entry.options else None,
    )  # fmt: skip


def trigger(request: Request, _: Form, person: Person) -> Response:
    """Send it as beat would."""
    site, name = site_of(request), request.query_params.get("name", "")
    try:
        new_id = str(site.full.trigger(name, site.scheduler).id)
    except Exception as error:  # noqa: BLE001  (a broker's library, or an argument, may raise anything)
        problem = clip(safe_str(error), 1000)
        write_down(
            request, person, "trigger", [], {"name": plain(name), "problem": problem}, "failed"
        )
        status = 404 if type(error) is LookupError else 502
        return site.error(request, status, f"It was not sent: {problem}")
    write_down(request, person, "trigger", [new_id], {"name": plain(name)})
    if site.full.get(new_id) is None:  # as tasks that are never recorded
        return redirect(request, "periodic")
    return redirect(request, "task", {"id": new_id})


def _entry(site: Site, name: str) -> PeriodicTask | None:
    entries: list[Any] = site.full.periodic(site.scheduler)
    return next((entry for entry in entries if entry.name == name), None)


routes = [
    Route("/periodic", periodic),
    Route("/trigger", preview, methods=["GET"]),
    Route("/trigger", action(trigger), methods=["POST"]),
]
