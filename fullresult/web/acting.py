"""Acting: checks who may act and that a form acts once, and writes deeds down."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from fullresult.actions.audit import Actor
from fullresult.actions.batch import Pace
from fullresult.actions.deeds import Deeds
from fullresult.web.cookies import check_token
from fullresult.web.forms import Form, read_form
from fullresult.web.site import site_of, visit_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person

Do = Callable[["Request", Form, "Person"], "Response"]

logger = logging.getLogger(__name__)

PATIENCE = 4.0
"""Seconds for which one request acts; the next request takes what is left."""


def action(do: Do) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that takes a form and calls *do*, which may block.

    Only for operators, only with a form of ours, and once for each form.
    """

    async def endpoint(request: Request) -> Response:
        site, visit = site_of(request), visit_of(request)
        person = visit.person
        if person is None or not person.may_act:
            return site.error(request, 403, "You may look but not act: only operators may act.")
        form = await read_form(request)
        if not check_token(request, form):
            return site.error(
                request, 403, "This form is not of this session. Go back, load the page anew."
            )
        if not visit.by_header and not site.once.first_time(form.get("once")):
            return site.error(
                request, 409, "This form was sent already, and is not acted upon twice."
            )
        answer = await run_in_threadpool(do, request, form, person)
        if visit.unwritten is None or not answer.headers.get("location"):
            return answer  # Pages show `unwritten`; a redirect cannot.
        text = f"It was done, but it is not in the audit log: {visit.unwritten}"
        return site.error(request, 500, text, "Done, but not written down")

    return endpoint


def deeds_of(request: Request, person: Person) -> Deeds:
    """The deeds of *person*. The page says so if the audit log could not be written."""
    return site_of(request).full.acting(actor_of(request, person))


def actor_of(request: Request, person: Person) -> Actor:
    """*person* as the audit log has them. The page says so if it could not be written."""

    def unwritten(why: str) -> None:
        logger.error("fullresult: what %s did is not in the audit log: %s", person.name, why)
        visit_of(request).unwritten = why

    return Actor(person.name, "web", unwritten=unwritten)


def pace() -> Pace:
    """The time that one request has for its deeds."""
    return Pace(PATIENCE)
