"""The site: what all pages share, the person who asks, and the addresses of pages."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fullresult.config.users import Person, Users
from fullresult.insight.abilities import Abilities, abilities_of
from fullresult.insight.dates import length
from fullresult.insight.scheduled_calls import arguments_of
from fullresult.insight.timeline import ran, waited
from fullresult.web import shown
from fullresult.web.health import Health
from fullresult.web.once import Once
from fullresult.web.problems import HOME, problem
from fullresult.web.search import like
from fullresult.web.sessions import Ended, Session, Sessions
from fullresult.web.throttle import Throttle
from fullresult.web.turns import Turns

if TYPE_CHECKING:
    from starlette.requests import Request

    from fullresult.extension import FullResult
    from fullresult.record.schedule import Schedule
    from fullresult.web.oidc import Provider

Authenticate = Callable[
    ["Request"], "Person | Response | Awaitable[Person | Response | None] | None"
]
"""The host framework's answer to who is asking: a `Person`, a response such as a redirect to its
own login, or None."""

P = ParamSpec("P")

HERE = Path(__file__).parent
STATIC = HERE / "static"


@dataclass
class Visit:
    """One request: the person, and how they came in."""

    person: Person | None
    csrf: str
    """The token that forms must send."""
    by_header: bool = False
    """True if they sent a token in a header, which no other site can make a browser do."""
    session: Session | None = None
    """Their session; None if they cannot log out."""
    unwritten: str | None = None
    """The reason why a deed is not in the audit log; None if it is."""


@dataclass(eq=False)
class Site:
    """The pages of one app, and what they remember."""

    full: FullResult
    users: Users
    token: str | None
    """The start-up token."""
    token_role: Person | None
    """The person whoever has the start-up token is."""
    hosts: frozenset[str] | None
    """The values of the header Host that are accepted; None: any."""
    authenticate: Authenticate | None
    sessions: Sessions
    ended: Ended
    health: Health
    provider: Provider | None = None
    """The provider at which people log in; None: there is none."""
    scheduler: str | None = None
    """Beat's scheduler class, if it is not the configured one."""
    throttle: Throttle = field(default_factory=Throttle)
    hashing: Turns = field(default_factory=lambda: Turns(2))
    """Passwords that are hashed at a time: each takes 32 MiB."""
    returns: Throttle = field(default_factory=Throttle)
    """Of those who come back from the provider: it and wrong passwords do not bar each other."""
    asking: Turns = field(default_factory=lambda: Turns(4))
    """Questions to the provider at a time, which may be slow."""
    once: Once = field(default_factory=Once)
    seen: object = None
    """The memory of `fullresult.web.pages.suggest`."""
    counted: object = None
    """The memory of `fullresult.web.pages.counts`."""

    def render(
        self, request: Request, template: str, status: int = 200, /, **context: Any
    ) -> Response:
        """A page, for the person who asks."""
        visit = visit_of(request)
        html = (
            _templates()
            .get_template(template)
            .render(
                link=Links(request),
                person=visit.person,
                may_act=bool(visit.person and visit.person.may_act),
                may_delete=bool(visit.person and visit.person.may_delete),
                may_send=bool(visit.person and visit.person.may_send),
                csrf=visit.csrf,
                unwritten=visit.unwritten,
                once=secrets.token_urlsafe(12),
                can_log_out=visit.session is not None,
                now=self.now(),
                show_args=not self.full.settings.web_hide_args,
                here=request.scope.get("fullresult.here", ""),
                app_name=self.full.app.main or "this app",
                **context,
            )
        )
        return HTMLResponse(html, status)

    def error(self, request: Request, status: int, text: str, title: str = "") -> Response:
        """A page that says *text*, which is what is wrong; in the API a problem."""
        if is_of_api(request):
            return problem(status, text)
        title = title or _TITLES.get(status, "That did not work")
        return self.render(request, "error.html", status, title=title, text=text)

    @staticmethod
    def now() -> Any:
        return shown.now()

    @property
    def can_log_in(self) -> bool:
        """True if people log in by a password, or at a provider."""
        return self.users.can_log_in or self.provider is not None

    @property
    def can(self) -> Abilities:
        """The optional parts that the storage has."""
        return abilities_of(self.full.storage)

    def calls_of(self, schedules: Sequence[Schedule]) -> dict[str, str]:
        """The arguments of scheduled tasks by id, unless lists hide them. Raises `StorageError`."""
        hidden = self.full.settings.web_hide_args
        return {} if hidden else arguments_of(self.full.storage, schedules)

    def age(self, text: str) -> timedelta:
        """*text* as a length of time, or `fullresult_stale_after`. Raises `ValueError`."""
        return length(text) if text.strip() else self.full.settings.stale_after


@cache
def _templates() -> Environment:
    """Compiled once in a process, for all apps."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= shown.FILTERS
    environment.globals |= {"waited": waited, "ran": ran, "like": like}
    environment.globals["parts"] = environment.get_template("parts.html").module
    return environment


_TITLES = {
    401: "Please log in",
    403: "Not allowed",
    404: "Not found",
    421: "Not at this address",
    429: "Too many attempts",
    503: "The storage does not answer",
}


class Links:
    """The addresses of the pages, wherever they are mounted."""

    def __init__(self, request: Request) -> None:
        self._root = root_of(request)

    def __call__(self, page: str = "", query: Mapping[str, Any] | None = None, **more: Any) -> str:
        """The path of *page* with a query, from which None and empty values are left out."""
        pairs = {**(query or {}), **more}
        asked = urlencode([(k, v) for k, v in pairs.items() if v not in (None, "")], doseq=True)
        return f"{self._root}/{page}{'?' if asked else ''}{asked}"

    def static(self, name: str) -> str:
        """The path of one of our files; it changes with the content of the file."""
        return f"{self._root}/static/{name}?v={_digest(name)}"


@cache
def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def root_of(request: Request) -> str:
    """The path at which the pages are mounted, without a final slash."""
    # What Starlette says is longer below a `Mount` of ours.
    return str(request.scope.get("fullresult.root", request.scope.get("root_path", ""))).rstrip("/")


def site_of(request: Request) -> Site:
    return cast("Site", request.app.state.site)


def is_of_api(request: Request) -> bool:
    """True if *request* is for the HTTP API."""
    return str(request.scope.get("fullresult.here", "")).startswith(HOME)


def visit_of(request: Request) -> Visit:
    return cast("Visit", request.scope["fullresult.visit"])


def needs_schedules(
    page: Callable[Concatenate[Request, P], Response],
) -> Callable[Concatenate[Request, P], Response]:
    """*page* where the storage keeps schedules; elsewhere a page that says that it does not."""

    def answer(request: Request, /, *given: P.args, **named: P.kwargs) -> Response:
        site = site_of(request)
        if not site.can.schedules:
            text = "This storage keeps no schedules: no task can wait in it."
            return site.error(request, 501, text)
        return page(request, *given, **named)

    return answer


def redirect(request: Request, page: str = "", query: Mapping[str, Any] | None = None) -> Response:
    """Redirect to another page, to be fetched by GET."""
    return RedirectResponse(Links(request)(page, query), 303)
