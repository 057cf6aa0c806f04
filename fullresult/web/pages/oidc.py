"""Log in at an OpenID Connect provider, and come back."""

from __future__ import annotations

import hmac
import json
import logging
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.routing import Route

from fullresult.web.acting import deeds_of
from fullresult.web.cookies import cookie, put_cookie, start_session
from fullresult.web.pages.login import back_to
from fullresult.web.site import Links, Site, root_of, site_of
from fullresult.web.throttle import Who

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.web.oidc import Begun, Provider

logger = logging.getLogger(__name__)

BEGUN = "fullresult_oidc"
_LONGEST_BACK = 1_000


async def begin(request: Request) -> Response:
    """Send the browser to the provider."""
    from fullresult.web.oidc import ProviderError

    site = site_of(request)
    provider = site.provider
    if provider is None:
        return _none(request)
    back = request.query_params.get("next", "")[:_LONGEST_BACK]
    try:
        url, begun = await site.asking.run(provider.begin, _callback(request), back)
    except ProviderError as error:
        return _silent(request, error)
    answer = RedirectResponse(url, 303)
    # Not "strict", which is not sent when the provider sends the browser back.
    put_cookie(request, answer, BEGUN, site.sessions.seal(json.dumps(begun)), samesite="lax")
    return answer


async def finish(request: Request) -> Response:
    """Start a session for the person whom the provider sends back."""
    site = site_of(request)
    if site.provider is None:
        return _none(request)
    begun = _begun(request, site)
    answer = _refusal(request, begun)
    if answer is None and begun is not None:
        answer = await _let_in(request, site.provider, begun)
    assert answer is not None
    # What was begun cannot be finished again in this browser.
    answer.delete_cookie(cookie(request, BEGUN), path=root_of(request) or "/")
    return answer


def _refusal(request: Request, begun: Begun | None) -> Response | None:
    """The answer to what was not begun here, or to a provider that lets nobody in."""
    site, asked = site_of(request), request.query_params
    given = asked.get("state", "")
    if begun is None or not hmac.compare_digest(given.encode(), begun.state.encode()):
        text = "This log-in was not begun here, or took too long. Begin it anew."
        return site.error(request, 403, text)
    if "error" in asked or not asked.get("code"):
        said = asked.get("error_description") or asked.get("error") or "it sent no code"
        return site.error(request, 403, f"The provider did not let you in: {said[:300]}")
    return None


async def _let_in(request: Request, provider: Provider, begun: Begun) -> Response:
    from fullresult.web.oidc import NotLetIn, ProviderError

    site, code = site_of(request), request.query_params["code"]
    address = request.client.host if request.client else "?"
    who = Who(f"oidc {address}", address)
    if (seconds := site.returns.wait(who)) > 0:
        return site.error(request, 429, f"Too many attempts. Try again in {seconds:.0f} seconds.")
    site.returns.failed(who)
    try:
        person = await site.asking.run(provider.finish, _callback(request), begun, code)
    except NotLetIn as error:
        site.returns.forget(who)  # The code was no guess.
        logger.warning("fullresult: a login failed, of %r: %s", address, error)
        return site.error(request, 403, str(error))
    except ProviderError as error:
        return _silent(request, error)
    site.returns.forget(who)
    if (other := site.users.like(person.name)) is not None:
        both = (person.name, other)
        logger.warning("fullresult: a login of %r by OIDC: fullresult_web_users has %r", *both)
        text = (
            f"You are {person.name}, as is a user of fullresult_web_users: the audit log could not "
            "tell you apart. Have that user renamed."
        )
        return site.error(request, 403, text)
    await run_in_threadpool(deeds_of(request, person).note, "log-in", {"way": "oidc"})
    # A page and no redirect: our cookie is not sent with one that began at another site.
    answer = site.render(request, "welcome.html", to=back_to(request, begun.back), name=person.name)
    life = provider.oidc.session.total_seconds()
    start_session(site, request, answer, f"oidc-{person.role}", person.name, int(life))
    return answer


def _begun(request: Request, site: Site) -> Begun | None:
    from fullresult.web.oidc import Begun

    kept = site.sessions.unseal(request.cookies.get(cookie(request, BEGUN), ""))
    if kept is None:
        return None
    begun = Begun(*json.loads(kept))
    return None if begun.until < time.time() else begun


def _callback(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers['host']}{Links(request)('oidc/callback')}"


def _none(request: Request) -> Response:
    return site_of(request).error(request, 404, "No provider of log-ins is configured here.")


def _silent(request: Request, error: Exception) -> Response:
    logger.warning("fullresult: the OIDC provider: %s", error)
    text = "The provider of log-ins does not answer as it should; the log of these pages says how."
    return site_of(request).error(request, 502, text)


routes = [
    Route("/oidc", begin, methods=["GET"]),
    Route("/oidc/callback", finish, methods=["GET"]),
]
