"""The web pages as a Django view: behind Django's login, under WSGI, ASGI and `runserver`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

from fullresult.django.asgi_call import answer_of, scope_of
from fullresult.django.site import full_of_site
from fullresult.web import Person, create_app

if TYPE_CHECKING:
    from starlette.requests import Request

_PERSON = "fullresult.person"
_OPEN = ("healthz",)
"""Pages for anybody: they say that the storage answers, and nothing else."""


@transaction.non_atomic_requests
@csrf_exempt  # the pages check each form's origin themselves
def pages(request: Any, path: str) -> Any:
    """The page at *path*, for those who may see records (`fullresult.view_taskrecord`).

    Whoever may send tasks again (`fullresult.retry_taskrecord`) may act.
    """
    person = person_of(request.user)
    by_token = request.headers.get("Authorization", "").startswith("Bearer ")
    is_of_api = path.startswith("api/")  # which itself says that nobody is there
    if person is None and path not in _OPEN and not by_token and not is_of_api:
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.get_full_path())
    scope = {**scope_of(request, path), _PERSON: person}
    # Not asyncio.run: under ASGI, asgiref's own loop is there already.
    status, headers, body = async_to_sync(answer_of)(_app(), scope, request.body)
    response = HttpResponse(body, status=status)
    for name in ("Content-Type", "Content-Length"):
        response.headers.pop(name, None)
    for name, value in headers:
        if name.lower() == "set-cookie":
            response.cookies.load(value)
        else:
            response.headers[name] = value
    return response


def person_of(user: Any) -> Person | None:
    """The person of the pages that *user* is, by permissions; None for one who may not look."""
    if not (user.is_authenticated and user.has_perm("fullresult.view_taskrecord")):
        return None
    may_act = user.has_perm("fullresult.retry_taskrecord")
    deletes = user.has_perm("fullresult.delete_taskrecord")
    sends = user.has_perm("fullresult.send_taskrecord")
    return Person(user.get_username(), "operator" if may_act else "reader", deletes, sends)


def _app() -> Any:
    """The ASGI app, one in a process: it remembers which forms were acted upon."""
    config = apps.get_app_config("fullresult")
    if config.pages is None:
        config.pages = create_app(full_of_site(), authenticate=_who)
    return config.pages


def _who(request: Request) -> Person | None:
    found: Person | None = request.scope[_PERSON]
    return found
