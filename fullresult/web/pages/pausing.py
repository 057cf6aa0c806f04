"""Pause and resume: a queue that no worker is to take tasks from, after a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.actions.pausing import LONGEST_REASON, CannotPause
from fullresult.insight.dates import length_of
from fullresult.record.encoding import safe_str
from fullresult.web.acting import action, actor_of
from fullresult.web.site import redirect, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.web.forms import Form


def _preview(request: Request) -> Response:
    """The queue, who consumes it, and a form to confirm."""
    return _ask(request, request.query_params.get("queue", ""))


def _ask(request: Request, name: str, problem: str | None = None, **given: str) -> Response:
    site = site_of(request)
    found = site.full.queues(offline=True)
    queue = next((each for each in found.queues if each.name == name), None)
    return site.render(
        request, "pause_queue.html", 400 if problem else 200, name=name, queue=queue,
        at=found.at, problem=problem, longest=LONGEST_REASON, given=given,
    )  # fmt: skip


def _act(request: Request, form: Form, person: Person) -> Response:
    """Pause it; with `resume`, end its pause."""
    pausing, name = site_of(request).full.pausing(actor_of(request, person)), form.get("queue")
    reason, lasts = form.get("reason").strip(), form.get("for").strip()
    try:
        if form.get("resume"):
            pausing.resume(name)
        else:
            pausing.pause(name, reason, length_of(lasts, "for") if lasts else None)
    except (CannotPause, ValueError) as error:
        return _ask(request, name, safe_str(error), reason=reason, lasts=lasts)
    return redirect(request, "queues")


routes = [
    Route("/pause-queue", _preview, methods=["GET"]),
    Route("/pause-queue", action(_act), methods=["POST"]),
]
