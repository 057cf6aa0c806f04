"""The guard before every page: checks the host, the person, and the origin of forms."""

from __future__ import annotations

import hmac
import inspect
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fullresult.config.users import Person
from fullresult.storage import StorageError
from fullresult.web.cookies import CSRF, SESSION, cookie, put_cookie, start_session
from fullresult.web.site import Authenticate, Links, Site, Visit, is_of_api, visit_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from fullresult.config.users import Role
    from fullresult.web.sessions import Session

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With no-referrer a browser sends no Origin with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
SAFE_METHODS = ("GET", "HEAD")
_PUBLIC = ("login", "healthz", "oidc", "oidc/callback")
_ANY_HOST = "healthz"
_OK, _FOR_GOOD = 200, "public, max-age=31536000, immutable"


class Guard:
    """Answers refused requests itself, and gives the others a `Visit`."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        known = request.cookies.get(cookie(request, CSRF), "")
        visit = Visit(None, known or secrets.token_urlsafe(24))
        scope["fullresult.visit"] = visit
        scope["fullresult.root"] = scope.get("root_path", "")
        here = scope["fullresult.here"] = _page(scope)

        answer = await self._refuse(request, here)
        new = not known and here != _ANY_HOST and not here.startswith("static/")
        guarded = _guarded(send, request, here, visit.csrf if new else None)
        await (answer or self._app)(scope, receive, guarded)

    async def _refuse(self, request: Request, here: str) -> Response | None:
        """The answer to a request that is refused; None lets it through."""
        return (
            self._refuse_address(request, here)
            or self._entrance(request)
            or await self._refuse_person(request, here)
            or self._refuse_foreign(request)
        )

    def _refuse_address(self, request: Request, here: str) -> Response | None:
        if here != _ANY_HOST and not self._is_ours(request):
            host = request.headers.get("host", "")[:100]
            return self._site.error(
                request,
                421,
                f"These pages do not answer as {host!r}. Whoever runs them can allow this name: "
                "`--allowed-host` of the command, or `allowed_hosts` of `create_app`.",
            )
        if request.method not in (*SAFE_METHODS, "POST"):
            text = "Only GET, HEAD and POST are answered here."
            answer = self._site.error(request, 405, text)
            answer.headers["allow"] = "GET, HEAD, POST"
            return answer
        return None

    async def _refuse_person(self, request: Request, here: str) -> Response | None:
        if here == _ANY_HOST:
            return None
        who = await self._who(request)
        if isinstance(who, Response):
            return who
        visit_of(request).person = who
        if who is None and here not in _PUBLIC and not here.startswith("static/"):
            return self._ask_to_log_in(request, here)
        return None

    def _is_ours(self, request: Request) -> bool:
        """True if the header Host is one of ours.

        If not, a site elsewhere has given its own name our address.
        """
        if self._site.hosts is None:
            return True
        host = request.headers.get("host", "").lower()
        return host in self._site.hosts or _without_port(host) in self._site.hosts

    def _entrance(self, request: Request) -> Response | None:
        """Make a session of the start-up token in the address, and take it out of there."""
        token = request.query_params.get("token")
        if token is None or request.method != "GET" or self._site.token is None:
            return None
        if is_of_api(request):  # An address is kept in logs.
            return None
        if not hmac.compare_digest(token.encode(), self._site.token.encode()):
            return self._site.error(
                request, 401, "This link is not of the process that runs now. Take the newest."
            )
        rest = [pair for pair in request.query_params.multi_items() if pair[0] != "token"]
        # Any path must stay on this host.
        path = "/" + quote(request.scope["path"]).lstrip("/")
        answer = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        start_session(self._site, request, answer, "token", "token")
        return answer

    async def _who(self, request: Request) -> Person | Response | None:
        site, visit = self._site, visit_of(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (found := site.users.by_token(token.strip())):
            visit.by_header = True
            return found
        session = site.sessions.read(request.cookies.get(cookie(request, SESSION), ""))
        if session is not None and not await _has_ended(site, session):
            person = _person_of(site, session)
            if person is not None:
                visit.session = session
                return person
        return None if site.authenticate is None else await _ask(site.authenticate, request)

    def _ask_to_log_in(self, request: Request, here: str) -> Response:
        is_page = request.method == "GET" and "fragment" not in request.query_params
        if self._site.can_log_in and is_page and not is_of_api(request):
            back = here + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(Links(request)("login", next=back), 303)
        text = "A token in the header Authorization, or a login, is needed."
        if is_of_api(request):
            text = (
                "Send a token as `Authorization: Bearer TOKEN`; `celery -A proj fullresult web "
                "new-token` makes one, and its hash goes into fullresult_web_users."
            )
        elif self._site.token is not None:
            text = (
                "Open the link that was printed when these pages were started. If you have just "
                "done so from another site, open this page once more."
            )
        answer = self._site.error(request, 401, text)
        answer.headers["www-authenticate"] = 'Bearer realm="fullresult"'
        return answer

    def _refuse_foreign(self, request: Request) -> Response | None:
        """The answer to a form that a page of another site sent; None for ours."""
        if request.method != "POST" or visit_of(request).by_header:
            return None
        where = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        host = request.headers.get("host", "").lower()
        here = (request.url.scheme, host)
        there = here if origin is None else _origin(origin)
        if where in (None, "same-origin") and there == here and (where or origin):
            return None
        text = "This did not come from a page of this site."
        if there == ("https", host):
            text += (
                " If a proxy speaks HTTPS for it, the server has to believe the proxy: "
                "`--trusted-proxy` of the command, or the server's own option."
            )
        return self._site.error(request, 403, text)


def _person_of(site: Site, session: Session) -> Person | None:
    """Who came in by *session*, if they still may."""
    if session.kind == "token":
        return site.token_role
    way, _, role = session.kind.partition("-")
    if way == "oidc":
        # Another configuration of the provider has other keys, and no such session.
        return Person(session.name, cast("Role", role)) if site.provider is not None else None
    return site.users.get(session.name)


def _page(scope: Scope) -> str:
    """The path below the place where we are mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :].lstrip("/") if path.startswith(root) else path.lstrip("/")


def _origin(text: str) -> tuple[str, str] | None:
    """(scheme, host) of the header Origin; None if it has no such form."""
    try:
        read = urlsplit(text)
    except ValueError:
        return None
    return read.scheme, read.netloc.lower()


async def _has_ended(site: Site, session: Session) -> bool:
    """True if the session was logged out, here or in a process with the same secret."""
    if site.ended.is_due:
        with suppress(StorageError):  # Without the storage, its owner sees no page anyway.
            await run_in_threadpool(site.ended.look)
    return session in site.ended


def _caching(here: str, status: int) -> str:
    """The header Cache-Control.

    Static files are kept, as their address names their version; pages are not, as they show what
    tasks say.
    """
    return _FOR_GOOD if here.startswith("static/") and status == _OK else "no-store"


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and ":" in host else host


def _guarded(send: Send, request: Request, here: str, csrf: str | None) -> Send:
    """*send*, with our headers added and, if it is new, the cookie of *csrf*."""

    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.setdefault("headers", [])
            present = {name.lower() for name, _ in headers}
            more = {"cache-control": _caching(here, message["status"]), **HEADERS}
            headers += [
                (name.encode(), value.encode())
                for name, value in more.items()
                if name.encode() not in present
            ]
            if csrf is not None:
                carrier = Response()
                put_cookie(request, carrier, CSRF, csrf)
                headers += [h for h in carrier.raw_headers if h[0] == b"set-cookie"]
        await send(message)

    return send_guarded


async def _ask(authenticate: Authenticate, request: Request) -> Person | Response | None:
    """The answer of the host's hook, which may block or be a coroutine."""
    if inspect.iscoroutinefunction(authenticate):
        answer = await authenticate(request)
    else:
        answer = await run_in_threadpool(authenticate, request)
        if inspect.isawaitable(answer):
            answer = await answer
    if answer is not None and not isinstance(answer, (Person, Response)):
        raise TypeError(f"authenticate answered {type(answer).__name__}, not a Person")
    return answer
