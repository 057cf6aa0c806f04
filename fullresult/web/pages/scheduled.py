"""Scheduled: the tasks that wait in the storage; cancelled, moved, sent now, given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from starlette.routing import Route

from fullresult.actions.batch import NotDone, run, sending
from fullresult.actions.schedules import why_not
from fullresult.insight.dates import moment
from fullresult.insight.overdue import Kind, Overdue, schedules_of
from fullresult.record import encoding
from fullresult.web.acting import action, write_down_batch
from fullresult.web.forms import ids_of
from fullresult.web.search import NotUnderstood, Search
from fullresult.web.site import Site, redirect, site_of

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.record.schedule import Schedule
    from fullresult.web.forms import Form

PAGE = 50
_MOST_IDS = 1000


def scheduled(request: Request) -> Response:
    """The tasks that wait, the first due first."""
    site, asked = site_of(request), request.query_params
    text = asked.get("q", "").strip()
    try:
        search = Search.read(text)
        query = search.query(site.now()) if search.terms else None
        found = site.full.scheduled(query, limit=PAGE + 1, after=asked.get("after") or None)
    except (NotUnderstood, ValueError) as error:
        return _list(request, [], text, 400, str(error))
    return _list(request, found, str(search))


def _list(
    request: Request,
    found: list[Schedule],
    text: str,
    status: int = 200,
    problem: str | None = None,
) -> Response:
    site, page = site_of(request), found[:PAGE]
    overdue = Overdue(site.full.storage, site.full.settings)
    being_sent = {s.schedule_id for s in page if overdue.kind_of(s) is Kind.BEING_SENT}
    return site.render(
        request, "scheduled.html", status, schedules=page, problem=problem, q=text,
        next=page[-1].cursor if len(found) > PAGE else None, being_sent=being_sent,
        after=request.query_params.get("after"), namespace=overdue.namespace,
    )  # fmt: skip


class Verb(NamedTuple):
    """Something that is done to what is scheduled."""

    command: str
    """That does the same."""
    title: str
    button: str
    done: str
    about: str
    """What will happen."""
    do: Callable[[Site, str, Form], str | None]
    """To the task of this id; raises `NotDone`."""
    asks_when: bool = False


def _cancel(site: Site, task_id: str, _: Form) -> None:
    if not site.full.cancel(task_id):
        raise NotDone(why_not(site.full, task_id))


def _reschedule(site: Site, task_id: str, form: Form) -> None:
    if not site.full.reschedule(task_id, moment(form.get("eta"), site.now())):
        raise NotDone(why_not(site.full, task_id))


def _release(site: Site, task_id: str, _: Form) -> None:
    if not site.full.release(task_id):
        raise NotDone(f"task {task_id!r} is not claimed: it waits, or was sent")


def _send(site: Site, task_id: str, _: Form) -> str:
    with sending(task_id):
        return str(site.full.resend_scheduled(task_id).id)


VERBS = {
    "cancel": Verb(
        "cancel",
        "Cancel", "Cancel for good", "cancelled",
        "They are not sent, and end as REVOKED. What a sweeper has claimed cannot be cancelled.",
        _cancel,
    ),
    "reschedule": Verb(
        "reschedule",
        "Reschedule", "Move", "moved",
        "They become due at another time, sooner or later. What a sweeper has claimed stays.",
        _reschedule, asks_when=True,
    ),
    "release": Verb(
        "release",
        "Give back", "Give back", "given back",
        "For what a sweeper claimed and never marked sent: other sweepers may send it. If it was "
        "sent already, it then runs twice.",
        _release,
    ),
    "send-now": Verb(
        "resend-scheduled",
        "Send now", "Send now", "sent",
        "They are sent now, each under its own id. If a sweeper that died had sent one already, "
        "it then runs twice.",
        _send,
    ),
}  # fmt: skip


def _preview(name: str) -> Callable[[Request], Response]:
    def preview(request: Request) -> Response:
        return _ask(request, name, ids_of(request.query_params))

    return preview


def _ask(request: Request, name: str, ids: list[str], problem: str | None = None) -> Response:
    site = site_of(request)
    if not ids or len(ids) > _MOST_IDS:
        return site.error(request, 400, f"Choose at least one task, and {_MOST_IDS:,} at most.")
    found = [
        schedule for task_id in ids[:PAGE] for schedule in schedules_of(site.full.storage, task_id)
    ]
    return site.render(
        request, "confirm_scheduled.html", 400 if problem else 200, verb=VERBS[name], page=name,
        ids=ids, schedules=found, problem=problem, namespace=site.full.settings.namespace,
    )  # fmt: skip


def _act(name: str) -> Callable[[Request, Form, Person], Response]:
    verb = VERBS[name]

    def act(request: Request, form: Form, person: Person) -> Response:
        site, ids = site_of(request), [encoding.key(each) for each in ids_of(form)]
        if not ids:
            return site.error(request, 400, "Nothing was chosen.")
        due: datetime | None = None
        if verb.asks_when:
            try:
                due = moment(form.get("eta"), site.now())
            except ValueError as error:
                return _ask(request, name, ids, str(error))
        batch = run(((task_id, task_id) for task_id in ids), lambda each: verb.do(site, each, form))
        details = {"eta": due.isoformat()} if due else None
        write_down_batch(request, person, verb.command, batch, details)
        if len(ids) == 1 and batch.done:
            return redirect(request, "task", {"id": batch.done[0].new_id or ids[0]})
        rest = batch.left(ids)
        return site.render(
            request, "done.html", verb=verb, page=name, batch=batch,
            fields=[*rest, ("eta", form.get("eta"))] if rest else None, left=len(rest),
        )  # fmt: skip

    return act


routes = [
    Route("/scheduled", scheduled),
    *(Route(f"/{name}", _preview(name), methods=["GET"]) for name in VERBS),
    *(Route(f"/{name}", action(_act(name)), methods=["POST"]) for name in VERBS),
]
