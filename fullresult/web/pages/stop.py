"""Revoke and terminate: tasks that were sent are stopped, after a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from starlette.routing import Route

from fullresult.actions.stopping import SIGNALS, Signal, Stopping
from fullresult.record import PENDING, RETRY, STARTED
from fullresult.web.acting import action, actor_of, pace
from fullresult.web.forms import ids_of, key_of
from fullresult.web.site import Site, redirect, site_of, visit_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.actions.batch import Report
    from fullresult.config.users import Person
    from fullresult.record import TaskRecord
    from fullresult.web.forms import Form

_MOST_IDS = 100
Name = Literal["revoke", "terminate"]


class Offer(NamedTuple):
    """One way to stop tasks."""

    title: str
    button: str
    done: str
    about: str
    do: Callable[[Stopping, list[str], Signal], Report]
    signals: tuple[Signal, ...] = ()


OFFERS: dict[Name, Offer] = {
    "revoke": Offer(
        "Revoke", "Revoke", "revoked",
        "Every living worker drops it when it comes to it, and has to confirm that. Workers "
        "remember it until they end: one that starts later may run it.",
        lambda stopping, ids, _: stopping.revoke(ids, pace()),
    ),
    "terminate": Offer(
        "Terminate", "End its process", "terminated",
        "Its worker ends the process in which it runs. What it has begun to do is half done.",
        lambda stopping, ids, signal: stopping.terminate(ids, signal, pace()), SIGNALS,
    ),
}  # fmt: skip


def offers_of(request: Request, record: TaskRecord) -> list[tuple[str, str]]:
    """(page, label) of the ways in which it can be stopped."""
    names: dict[str, Name] = {PENDING: "revoke", RETRY: "revoke", STARTED: "terminate"}
    name, person = names.get(record.state), visit_of(request).person
    if name is None or person is None or not person.may_act:
        return []
    if _stopping(request, person).why_not(record, name) is not None:
        return []
    return [(name, f"{OFFERS[name].title}…")]


def _stopping(request: Request, person: Person) -> Stopping:
    return site_of(request).full.stopping(actor_of(request, person))


def _preview(name: Name) -> Callable[[Request], Response]:
    def preview(request: Request) -> Response:
        return _ask(request, name, ids_of(request.query_params))

    return preview


def _ask(request: Request, name: Name, ids: list[str], problem: str | None = None) -> Response:
    site, person = site_of(request), visit_of(request).person
    if not _are_few(ids):
        return _refuse(request, site)
    found = [record for task_id in ids if (record := site.full.get(task_id)) is not None]
    assert person is not None  # the guard lets nobody else through
    stopping = _stopping(request, person)
    refusals = [why for each in found if (why := stopping.why_not(each, name)) is not None]
    return site.render(
        request, "confirm_stop.html", 400 if problem else 200, offer=OFFERS[name], page=name,
        ids=ids, records=found, refusals=refusals, problem=problem,
        possible=len(refusals) < len(found),
    )  # fmt: skip


def _act(name: Name) -> Callable[[Request, Form, Person], Response]:
    offer = OFFERS[name]

    def act(request: Request, form: Form, person: Person) -> Response:
        site, ids = site_of(request), ids_of(form)
        if not _are_few(ids):
            return _refuse(request, site)
        given = form.get("signal", SIGNALS[0])
        signal = next((each for each in SIGNALS if each == given), None)
        if signal is None:
            return _ask(request, name, ids, f"A signal is one of {', '.join(SIGNALS)}.")
        report = offer.do(_stopping(request, person), ids, signal)
        if len(ids) == 1 and report.done:
            return redirect(request, "task", {"id": ids[0]})
        rest = [("key", key_of(task_id)) for task_id in report.left(ids)]
        return site.render(
            request, "done.html", offer=offer, page=name, report=report, left=len(rest),
            fields=[*rest, ("signal", signal)] if rest else None,
        )  # fmt: skip

    return act


def _are_few(ids: list[str]) -> bool:
    return 0 < len(ids) <= _MOST_IDS


def _refuse(request: Request, site: Site) -> Response:
    return site.error(request, 400, f"Choose at least one task, and {_MOST_IDS} at most.")


routes = [
    *(Route(f"/{name}", _preview(name), methods=["GET"]) for name in OFFERS),
    *(Route(f"/{name}", action(_act(name)), methods=["POST"]) for name in OFFERS),
]
