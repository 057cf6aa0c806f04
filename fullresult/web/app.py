"""`create_app(full)`: the pages put together as an ASGI app."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from getpass import getuser
from typing import TYPE_CHECKING, Any

from celery.exceptions import ImproperlyConfigured
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from fullresult.config.oidc import read_oidc
from fullresult.config.users import Person, Role, Users, read_users
from fullresult.insight.abilities import abilities_of, time_of
from fullresult.storage import StorageError
from fullresult.web.api import routes as api
from fullresult.web.guard import Guard
from fullresult.web.health import Health
from fullresult.web.pages import (
    audit,
    counts,
    delete,
    edit,
    failures,
    health,
    login,
    metrics,
    orphans,
    overview,
    pausing,
    periodic,
    queues,
    replays,
    retry,
    scheduled,
    send,
    stale,
    stale_scheduled,
    stop,
    suggest,
    surgery,
    task,
    tasks,
    why,
    workers,
)
from fullresult.web.pages import (
    oidc as oidc_pages,
)
from fullresult.web.sessions import Ended, Sessions
from fullresult.web.site import STATIC, Authenticate, Site, is_of_api, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.extension import FullResult
    from fullresult.web.oidc import Provider

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_PAGES = (
    *(tasks, task, retry, edit, scheduled, stale, stale_scheduled, orphans, periodic, overview),
    failures,
    counts,
    *(surgery, stop, delete, send, workers, queues, pausing, replays, why, audit, suggest),
    *(login, oidc_pages, health, metrics),
)


def create_app(
    full: FullResult,
    *,
    users: Mapping[str, Mapping[str, str]] | None = None,
    authenticate: Authenticate | None = None,
    allowed_hosts: Collection[str] | None = None,
    token: str | None = None,
    token_role: Role = "operator",  # noqa: S107  (it is no password)
    oidc: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
) -> Starlette:
    """The pages of *full*, to be served, or mounted at any path.

    At least one of these says who may come in: *users* and *oidc*, whose defaults are
    `fullresult_web_users` and `fullresult_web_oidc`; *authenticate*, which answers a request with a
    `Person`, a response, or None; *token*, which a link carries.

    *allowed_hosts* are the names under which the pages are reached, with or without a port. The
    default is this machine's own names, or any name with *authenticate*. *scheduler* is beat's
    class, if beat gets it on its command line.

    Raises `ImproperlyConfigured`.
    """
    known = _users(full, users)
    provider = _provider(full, oidc)
    if not known and authenticate is None and token is None and provider is None:
        raise ImproperlyConfigured(
            "the web pages need to know who may come in: set fullresult_web_users, or give "
            "create_app() users=…, oidc=…, authenticate=… or token=…"
        )
    if allowed_hosts is None and authenticate is None:
        allowed_hosts = LOOPBACK
    site = Site(
        full=full,
        users=known,
        token=token,
        token_role=Person(f"{_os_user()} (by the start-up link)", token_role) if token else None,
        hosts=None if allowed_hosts is None else frozenset(map(str.lower, allowed_hosts)),
        authenticate=authenticate,
        sessions=Sessions(_key(full.settings.web_secret, known, provider)),
        provider=provider,
        ended=_ended(full),
        health=Health(partial(_ask, full)),
        scheduler=scheduler,
    )
    app = Starlette(
        routes=[
            *(route for page in _PAGES for route in page.routes),
            *api.routes,
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
        ],
        middleware=[Middleware(Guard, site=site)],
        exception_handlers={
            HTTPException: _http_error,
            StorageError: _storage_error,
        },
    )
    app.state.site = site
    return app


def _users(full: FullResult, given: Mapping[str, Mapping[str, str]] | None) -> Users:
    if given is None:
        return Users(full.settings.web_users)
    try:
        return Users(read_users("users", given))
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None


def _provider(full: FullResult, given: Mapping[str, Any] | None) -> Provider | None:
    try:
        known = full.settings.web_oidc if given is None else read_oidc("oidc", given)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None
    if known is None:
        return None
    try:
        from fullresult.web.oidc import Provider
    except ImportError as error:
        raise ImproperlyConfigured(
            f"fullresult_web_oidc needs more than is installed ({error}): "
            "pip install 'fullresult[oidc]'"
        ) from error
    return Provider(known)


def _key(secret: str | None, users: Users, provider: Provider | None) -> bytes:
    """The key of sessions: the same in all processes with one secret and the same people."""
    own = secret.encode() if secret else secrets.token_bytes(32)
    people = users.fingerprint + (provider.oidc.fingerprint if provider else b"")
    return hmac.digest(own, b"fullresult session\0" + people, hashlib.sha256)


def _ended(full: FullResult) -> Ended:
    shared = full.settings.web_secret and abilities_of(full.storage).audit
    return Ended(full.audit_log if shared else None)


def _ask(full: FullResult) -> None:
    time_of(full.storage)


def _os_user() -> str:
    with suppress(OSError, KeyError):  # a user id without a name
        return getuser()
    return "somebody"


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, text = error.status_code, str(error.detail)
    sentences = _OF_API if is_of_api(request) else _SENTENCES
    answer = site_of(request).error(request, status, sentences.get(status, text))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


_SENTENCES = {404: "There is no such page.", 405: "This page is not used this way."}
_OF_API = {
    404: "There is no such address; /api/v1/openapi.json lists them all.",
    405: "This address is not used this way; the header Allow says how.",
}


def _storage_error(request: Request, error: Exception) -> Response:
    return site_of(request).error(request, 503, _sentence(error))


def _sentence(error: Any) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}"
