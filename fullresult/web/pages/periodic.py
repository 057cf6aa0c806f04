"""Periodic: the tasks of beat's plan, the last run of each, and one of them triggered."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.record.encoding import clip, safe_str
from fullresult.web.acting import action, deeds_of
from fullresult.web.site import redirect, site_of
from fullresult.web.trees import tree_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.insight.periodic import PeriodicTask
    from fullresult.web.forms import Form
    from fullresult.web.site import Site


_LATE = timedelta(minutes=1)
_AT_ONCE = 0.04
"""Seconds in which runs are looked for before the page is shown."""


def periodic(request: Request) -> Response:
    """All periodic tasks, by name, at once with as many of their runs as there is time for.

    With `runs`, with all of them; with `part`, too, and without what is around the table.
    """
    from fullresult.insight.periodic import SchedulerError

    site, asked = site_of(request), request.query_params
    part = asked.get("part") is not None
    seconds = None if part or asked.get("runs") is not None else _AT_ONCE
    try:
        found = site.full.periodic(site.scheduler, seconds=seconds)
    except SchedulerError as error:
        return site.error(request, 502, safe_str(error), "Beat's plan cannot be read")
    return site.render(
        request, "periodic_part.html" if part else "periodic.html", tasks=found,
        late=site.now() - _LATE, whole=all(each.looked for each in found),
    )  # fmt: skip


def preview(request: Request) -> Response:
    """The periodic task that will be sent, and a form to confirm."""
    site, name = site_of(request), request.query_params.get("name", "")
    task = _task(site, name)
    if task is None:
        return site.error(request, 404, f"No periodic task is called {name[:200]!r}.")
    return site.render(
        request, "trigger.html", task=task, args=tree_of(list(task.args)),
        kwargs=tree_of(task.kwargs), options=tree_of(task.options) if task.options else None,
    )  # fmt: skip


def trigger(request: Request, _: Form, person: Person) -> Response:
    """Send it as beat would."""
    site, name = site_of(request), request.query_params.get("name", "")
    try:
        new_id = str(deeds_of(request, person).trigger(name, site.scheduler).id)
    except Exception as error:  # noqa: BLE001  (a broker's library, or an argument, may raise anything)
        problem = clip(safe_str(error), 1000)
        status = 404 if type(error) is LookupError else 502
        return site.error(request, status, f"It was not sent: {problem}")
    if site.full.get(new_id) is None:  # Some tasks are never recorded.
        return redirect(request, "periodic")
    return redirect(request, "task", {"id": new_id})


def _task(site: Site, name: str) -> PeriodicTask | None:
    found: list[PeriodicTask] = site.full.periodic(site.scheduler, seconds=0)
    return next((task for task in found if task.name == name), None)


routes = [
    Route("/periodic", periodic),
    Route("/trigger", preview, methods=["GET"]),
    Route("/trigger", action(trigger), methods=["POST"]),
]
