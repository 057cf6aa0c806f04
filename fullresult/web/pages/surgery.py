"""Surgery: a workflow goes on where it broke, or is run again from a step, after a preview."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.actions.errors import CannotResend
from fullresult.insight.surgery.signatures import TooDeep, membership_of, steps_of
from fullresult.record import NOT_RUN, SUCCESS, UNSENT, TaskRecord
from fullresult.record.encoding import clip, safe_str
from fullresult.record.states import FINISHED
from fullresult.storage import StorageError
from fullresult.web.acting import action, actor_of
from fullresult.web.site import redirect, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.insight.surgery.plan import How
    from fullresult.web.forms import Form

MOST_PARTS = 200
_DIGITS = 10
"""Of the number of a turn, fewer than these."""
_TITLES: dict[How, str] = {
    "resume": "Go on with the chain",
    "heal": "Retry in its chord",
    "fork": "Fork from here",
}


def offers_of(record: TaskRecord) -> list[tuple[How, str]]:
    """(operation, label) of what can be tried with the workflow of *record*."""
    try:
        steps, chord = steps_of(record), membership_of(record)
    except TooDeep:
        return []
    failed = record.state in FINISHED - {SUCCESS, NOT_RUN} or record.state == UNSENT
    found: list[How] = []
    if failed and chord is not None:
        found.append("heal")
    elif failed and steps:
        found.append("resume")
    if steps and record.state in FINISHED - {NOT_RUN}:
        found.append("fork")
    return [(how, f"{_TITLES[how]}…") for how in found]


def _asked(request: Request) -> tuple[str, How] | None:
    task_id, how = request.query_params.get("id", ""), request.query_params.get("how", "")
    found = next((each for each in _TITLES if each == how), None)
    return (task_id, found) if task_id and found else None


def preview(request: Request) -> Response:
    """What would be kept, run again, and run at last; and a form to confirm it."""
    site, asked = site_of(request), _asked(request)
    if asked is None:
        return site.error(request, 400, "Say which task, and resume, heal or fork.")
    task_id, how = asked
    try:
        surgery = site.full.surgery(task_id, how)
        plan = surgery.plan()
        taking_over = surgery.plan(take_over=True) if plan.problem else plan
    except LookupError:
        return site.error(request, 404, "No task with this id is recorded.")
    return site.render(
        request, "surgery.html", plan=plan, title=_TITLES[how],
        may_take_over=taking_over.problem is None, parts_shown=plan.parts[:MOST_PARTS],
        more=max(len(plan.parts) - MOST_PARTS, 0),
    )  # fmt: skip


def operate(request: Request, form: Form, person: Person) -> Response:
    """Do what the preview showed, planned anew."""
    site, asked = site_of(request), _asked(request)
    if asked is None:
        return site.error(request, 400, "Say which task, and resume, heal or fork.")
    try:
        surgery = site.full.operating(actor_of(request, person), *asked)
        seen, take_over = form.get("turn"), bool(form.get("take_over"))
        turn = int(seen) if seen.isdecimal() and len(seen) < _DIGITS else None
        result = surgery.run(take_over=take_over, turn=turn)
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001  (a broker's library may raise anything)
        status, told = 404 if type(error) is LookupError else 409, "Nothing was sent"
        if not isinstance(error, (CannotResend, LookupError)):
            told = "It broke off, and some messages may have been sent; look before you try again"
        return site.error(request, status, f"{told}: {clip(safe_str(error), 1000)}")
    task_id = str(result.id)
    shown = task_id if site.full.get(task_id) is not None else asked[0]
    return redirect(request, "task", {"id": shown})


routes = [
    Route("/surgery", preview, methods=["GET"]),
    Route("/surgery", action(operate), methods=["POST"]),
]
