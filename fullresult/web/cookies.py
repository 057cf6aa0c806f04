"""Our cookies: one for the session, and one that forms must repeat."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Literal

from fullresult.web.sessions import LIFE
from fullresult.web.site import Site, root_of, visit_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.web.forms import Form

CSRF = "fullresult_csrf"
SESSION = "fullresult_session"


def check_token(request: Request, form: Form) -> bool:
    """True if *form* was made for the browser that sends it."""
    visit = visit_of(request)
    if visit.by_header:
        return True
    known = request.cookies.get(cookie(request, CSRF), "")
    return bool(known) and hmac.compare_digest(form.get("csrf").encode(), known.encode())


def start_session(
    site: Site, request: Request, answer: Response, kind: str, name: str, life: int = LIFE
) -> None:
    """*life*: seconds."""
    put_cookie(request, answer, SESSION, site.sessions.write(name, kind, life=life))


def end_session(request: Request, answer: Response) -> None:
    answer.delete_cookie(cookie(request, SESSION), path=_cookie_path(request))


def cookie(request: Request, name: str) -> str:
    """The name of a cookie at this port: browsers do not tell the ports of a host apart."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"{name}_{port}" if port.isdecimal() else name


def put_cookie(
    request: Request,
    answer: Response,
    name: str,
    value: str,
    samesite: Literal["strict", "lax"] = "strict",
) -> None:
    answer.set_cookie(
        cookie(request, name),
        value,
        path=_cookie_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite=samesite,
    )


def _cookie_path(request: Request) -> str:
    return root_of(request) or "/"
