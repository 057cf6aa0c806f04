"""Log in and out, by name and password."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.routing import Route

from fullresult.web.acting import deeds_of
from fullresult.web.cookies import check_token, end_session, start_session
from fullresult.web.forms import STRANGER, read_form
from fullresult.web.sessions import LOG_OUT, Session, shown
from fullresult.web.site import Links, redirect, site_of, visit_of
from fullresult.web.throttle import Who

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person

logger = logging.getLogger(__name__)

_LONGEST = 200


def ask(request: Request) -> Response:
    site = site_of(request)
    if not site.can_log_in:
        return site.error(request, 404, "No user has a password here.")
    if visit_of(request).person is not None:
        return redirect(request)
    back = _printable(request.query_params.get("next", ""))
    return _form(request, back)


async def log_in(request: Request) -> Response:
    """Start a session for a person who knows the password; guesses are throttled."""
    site, form = site_of(request), await read_form(request, STRANGER)
    if not check_token(request, form):
        return site.error(request, 403, "This form is too old. Go back, load the page anew.")
    name, back = form.get("name")[:_LONGEST], form.get("next")
    who = Who(name, request.client.host if request.client else "?")
    if (seconds := site.throttle.wait(who)) > 0:
        answer = site.error(request, 429, f"Too many attempts. Try again in {seconds:.0f} seconds.")
        answer.headers["retry-after"] = f"{seconds:.0f}"
        return answer
    # Counted before the check, so that guesses at the same moment are all counted.
    site.throttle.failed(who)
    person = await site.hashing.run(site.users.by_password, name, form.get("password"))
    if person is None:
        logger.warning("fullresult: a login failed, of %r from %r", *who)
        problem = "The name or the password is wrong."
        return _form(request, back, problem, 403)
    site.throttle.forget(who)
    await run_in_threadpool(_note, request, person, "log-in", {})
    answer = RedirectResponse(back_to(request, back), 303)
    start_session(site, request, answer, "password", person.name)
    return answer


def _form(request: Request, back: str, problem: str | None = None, status: int = 200) -> Response:
    site = site_of(request)
    return site.render(
        request, "login.html", status, back=back, problem=problem,
        passwords=site.users.can_log_in, elsewhere=site.provider is not None,
    )  # fmt: skip


def _printable(page: str) -> str:
    """*page* for a field of the form; empty if it has a character that is not printable."""
    return page if page.isprintable() else ""


def back_to(request: Request, page: str) -> str:
    """The address of *page* on this site; our first page if it would lead elsewhere."""
    root = Links(request)()
    return root if _leads_up(page) else root + _printable(page).lstrip("/\\")


def _leads_up(page: str) -> bool:
    """True if a browser would read a `..` in the path of *page*, however it is spelt."""
    path = re.split("[?#]", page, maxsplit=1)[0].lower().replace("%2e", ".")
    return ".." in re.split(r"[/\\]", path)


async def log_out(request: Request) -> Response:
    """End the session itself, and not only the cookie: copies of the cookie end with it."""
    site, form = site_of(request), await read_form(request)
    visit = visit_of(request)
    if not check_token(request, form):
        return site.error(request, 403, "This form is too old.")
    answer = redirect(request, "login" if site.can_log_in else "")
    if visit.session is not None:
        await run_in_threadpool(_end, request, visit.session)
    if visit.unwritten and site.ended.is_shared:
        text = f"You are logged out here, but other processes were not told: {visit.unwritten}"
        answer = site.error(request, 503, text)
    end_session(request, answer)
    return answer


def _end(request: Request, session: Session) -> None:
    site_of(request).ended.add(session)
    person = visit_of(request).person
    assert person is not None
    _note(request, person, LOG_OUT, {"session": shown(session)})


def _note(request: Request, person: Person, action: str, details: dict[str, str]) -> None:
    deeds_of(request, person).note(action, details)


routes = [
    Route("/login", ask, methods=["GET"]),
    Route("/login", log_in, methods=["POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
