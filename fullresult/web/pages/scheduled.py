"""Scheduled: the tasks that wait in the storage; cancelled, moved, sent now, given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from starlette.routing import Route

from fullresult.actions.why_not import being_sent
from fullresult.insight.dates import due
from fullresult.insight.overdue import Overdue, schedules_of
from fullresult.record import encoding
from fullresult.web.acting import action, deeds_of, pace
from fullresult.web.forms import ids_of, key_of
from fullresult.web.search import NotUnderstood, Search
from fullresult.web.site import Site, needs_schedules, redirect, site_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.actions.batch import Report
    from fullresult.actions.deeds import Deeds
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
    fixed = {s.schedule_id for s in page if overdue.is_being_sent(s)}
    return site.render(
        request, "scheduled.html", status, schedules=page, problem=problem, q=text,
        next=page[-1].cursor if len(found) > PAGE else None, fixed=fixed,
        after=request.query_params.get("after"), namespace=overdue.namespace,
        calls=site.calls_of(page),
    )  # fmt: skip


class Offer(NamedTuple):
    """A deed that a page offers for scheduled tasks."""

    title: str
    button: str
    done: str
    about: str
    """The effect, in words."""
    do: Callable[[Deeds, list[str], datetime | timedelta | None], Report]
    """Does it to the tasks of these ids; *when* is None unless `asks_when`."""
    asks_when: bool = False
    spares_claims: bool = False
    """True if claims of the last minute are left to their sweepers."""


def _reschedule(deeds: Deeds, ids: list[str], when: datetime | timedelta | None) -> Report:
    assert when is not None
    return deeds.reschedule(ids, when, pace())


OFFERS = {
    "cancel": Offer(
        "Cancel", "Cancel for good", "cancelled",
        "They are not sent, and end as REVOKED. What a sweeper has claimed cannot be cancelled.",
        lambda deeds, ids, _: deeds.cancel(ids, None, pace()),
    ),
    "reschedule": Offer(
        "Reschedule", "Move", "moved",
        "They become due at another time, sooner or later. What a sweeper has claimed stays.",
        _reschedule, asks_when=True,
    ),
    "release": Offer(
        "Give back", "Give back", "given back",
        "For what a sweeper claimed and never marked sent: other sweepers may send it. If it was "
        "sent already, it then runs twice.",
        lambda deeds, ids, _: deeds.release(ids, pace()), spares_claims=True,
    ),
    "send-now": Offer(
        "Send now", "Send now", "sent",
        "They are sent now, each under its own id. If a sweeper that died had sent one already, "
        "it then runs twice.",
        lambda deeds, ids, _: deeds.send_each_now(ids, pace()), spares_claims=True,
    ),
}  # fmt: skip


def _preview(name: str) -> Callable[[Request], Response]:
    def preview(request: Request) -> Response:
        return _ask(request, name, ids_of(request.query_params))

    return preview


def _ask(request: Request, name: str, ids: list[str], problem: str | None = None) -> Response:
    site, offer = site_of(request), OFFERS[name]
    if not ids or len(ids) > _MOST_IDS:
        return site.error(request, 400, f"Choose at least one task, and {_MOST_IDS:,} at most.")
    storage = site.full.storage
    found = [schedule for task_id in ids[:PAGE] for schedule in schedules_of(storage, task_id)]
    claims = _being_sent(site, found) if offer.spares_claims else set()
    return site.render(
        request, "confirm_scheduled.html", 400 if problem else 200, offer=offer, page=name,
        ids=ids, schedules=found, problem=problem, namespace=site.full.settings.namespace,
        refusals=[being_sent(task_id) for task_id in ids if task_id in claims],
        possible=any(task_id not in claims for task_id in ids), calls=site.calls_of(found),
        eta=request.query_params.get("eta", ""),
    )  # fmt: skip


def _being_sent(site: Site, schedules: list[Schedule]) -> set[str]:
    """The ids of the tasks that a sweeper is about to send."""
    overdue = Overdue(site.full.storage, site.full.settings)
    free = {each.task_id for each in schedules if not overdue.is_being_sent(each)}
    return {each.task_id for each in schedules} - free


def _act(name: str) -> Callable[[Request, Form, Person], Response]:
    offer = OFFERS[name]

    def act(request: Request, form: Form, person: Person) -> Response:
        site, ids = site_of(request), [encoding.key(each) for each in ids_of(form)]
        if not ids:
            return site.error(request, 400, "Nothing was chosen.")
        when: datetime | timedelta | None = None
        if offer.asks_when:
            try:
                when = due(form.get("eta"), site.now())
            except ValueError as error:
                return _ask(request, name, ids, str(error))
        report = offer.do(deeds_of(request, person), ids, when)
        if len(ids) == 1 and report.done:
            return redirect(request, "task", {"id": report.done[0].new_id or ids[0]})
        rest = [("key", key_of(task_id)) for task_id in report.left(ids)]
        return site.render(
            request, "done.html", offer=offer, page=name, report=report,
            fields=[*rest, ("eta", form.get("eta"))] if rest else None, left=len(rest),
        )  # fmt: skip

    return act


routes = [
    Route("/scheduled", needs_schedules(scheduled)),
    *(Route(f"/{name}", needs_schedules(_preview(name)), methods=["GET"]) for name in OFFERS),
    *(Route(f"/{name}", action(needs_schedules(_act(name))), methods=["POST"]) for name in OFFERS),
]
