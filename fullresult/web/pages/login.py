"""Log in and out, by name and password."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.routing import Route

from fullresult.web.acting import write_down
from fullresult.web.cookies import check_token, end_session, start_session
from fullresult.web.forms import read_form
from fullresult.web.site import Links, redirect, site_of, visit_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

logger = logging.getLogger(__name__)

_LONGEST = 200


def ask(request: Request) -> Response:
    site = site_of(request)
    if not site.users.can_log_in:
        return site.error(request, 404, "Nobody has a password here.")
    if visit_of(request).person is not None:
        return redirect(request)
    back = request.query_params.get("next", "")
    return site.render(request, "login.html", back=back, problem=None)


async def log_in(request: Request) -> Response:
    """A session for whoever knows the password; not as often as a guesser would like."""
    site, form = site_of(request), await read_form(request)
    if not check_token(request, form):
        return site.error(request, 403, "This form is too old. Go back, load the page anew.")
    name, back = form.get("name")[:_LONGEST], form.get("next")
    who = f"{request.client.host if request.client else '?'} {name}"
    if (seconds := site.throttle.wait(who)) > 0:
        answer = site.error(request, 429, f"Too many attempts. Try again in {seconds:.0f} seconds.")
        answer.headers["retry-after"] = f"{seconds:.0f}"
        return answer
    # Counted before it is checked: those that come at once are all counted.
    site.throttle.failed(who)
    person = await run_in_threadpool(site.users.by_password, name, form.get("password"))
    if person is None:
        logger.warning("fullresult: a login failed, of %r", who)
        problem = "The name or the password is wrong."
        return site.render(request, "login.html", 403, back=back, problem=problem)
    site.throttle.forget(who)
    await run_in_threadpool(write_down, request, person, "log-in", [])
    answer = RedirectResponse(_back(request, back), 303)
    start_session(site, request, answer, "password", person.name)
    return answer


def _back(request: Request, page: str) -> str:
    """A page of ours, whatever *page* says."""
    root = Links(request)()
    return root + page.lstrip("/\\") if page.isprintable() else root


async def log_out(request: Request) -> Response:
    form = await read_form(request)
    if not check_token(request, form):
        return site_of(request).error(request, 403, "This form is too old.")
    answer = redirect(request, "login" if site_of(request).users.can_log_in else "")
    end_session(request, answer)
    return answer


routes = [
    Route("/login", ask, methods=["GET"]),
    Route("/login", log_in, methods=["POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
