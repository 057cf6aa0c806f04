"""Send: a task of the app is called by hand, checked and shown before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from fullresult.actions.sending import WrongCall
from fullresult.record import encoding
from fullresult.storage import StorageError
from fullresult.web.acting import action, actor_of
from fullresult.web.call_form import json_of, options_of, queues_of, signature_of
from fullresult.web.site import redirect, site_of, visit_of
from fullresult.web.trees import tree_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.actions.sending import Sending
    from fullresult.config.users import Person
    from fullresult.web.forms import Form

_FIELDS = ("name", "args", "kwargs", "queue", "eta", "priority")
_LONGEST = 1_000


def form(request: Request) -> Response:
    """The form, perhaps with a name in it."""
    values = dict.fromkeys(_FIELDS, "")
    values["name"] = request.query_params.get("name", "")[:_LONGEST]
    return _form(request, values, {})


def send(request: Request, form: Form, person: Person) -> Response:
    """Show what would be sent or, with `send`, send it."""
    site, values = site_of(request), {name: form.get(name) for name in _FIELDS}
    if not person.may_send:
        return site.error(request, 403, "You may act but not send a task of your choice.")
    problems: dict[str, str] = {}
    name = values["name"].strip()
    args = _json(values, "args", list, problems)
    kwargs = _json(values, "kwargs", dict, problems)
    options = options_of(site.full.app, values, site.now(), problems)
    sending, new_id = _sending(request, person), ""
    try:
        if not problems and form.get("send"):
            new_id = str(sending.send(name, args, kwargs, options).id)
        elif not problems:
            sending.check(name, args, kwargs)
    except WrongCall as error:
        problems["args"] = f"The task does not take these arguments: {error}"
    except Exception as error:  # noqa: BLE001  (a broker's library may raise anything)
        problem = encoding.clip(encoding.safe_str(error), _LONGEST)
        if type(error) is not LookupError:
            return site.error(request, 502, f"It was not sent: {problem}")
        problems["name"] = problem
    if problems:
        return _form(request, values, problems, 400)
    if new_id:
        return _sent(request, new_id)
    return site.render(
        request, "send_checked.html", values=values, name=name, args=tree_of(args),
        kwargs=tree_of(kwargs), options=options,
    )  # fmt: skip


def _sent(request: Request, new_id: str) -> Response:
    try:
        is_recorded = site_of(request).full.get(new_id) is not None  # Some tasks never are.
    except StorageError:  # It is sent all the same.
        is_recorded = False
    if not is_recorded:
        return site_of(request).render(request, "sent.html", task_id=new_id)
    return redirect(request, "task", {"id": new_id})


def _sending(request: Request, person: Person) -> Sending:
    return site_of(request).full.sending(actor_of(request, person))


def _json(values: dict[str, str], name: str, kind: type, problems: dict[str, str]) -> Any:
    text = values[name].strip()
    if not text:
        return kind()
    if json_of(text, kind, name, problems) is None:
        return kind()
    return encoding.loads(text)


def _form(
    request: Request, values: dict[str, str], problems: dict[str, str], status: int = 200
) -> Response:
    site, person = site_of(request), visit_of(request).person
    assert person is not None  # the guard lets nobody else through
    app = site.full.app
    return site.render(
        request, "send.html", status, values=values, problems=problems,
        names=_sending(request, person).names, queues=queues_of(app),
        signature=signature_of(app, values["name"].strip()),
    )  # fmt: skip


routes = [
    Route("/send", form, methods=["GET"]),
    Route("/send", action(send), methods=["POST"]),
]
