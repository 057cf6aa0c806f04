"""Edit and retry: arguments and routing of a task are changed, checked, shown, and sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import Route

from fullresult.actions.errors import CannotResend, NotDone, sending
from fullresult.actions.resend import check
from fullresult.actions.signature import check_signature
from fullresult.record import encoding
from fullresult.recording import masking
from fullresult.web.acting import action, deeds_of
from fullresult.web.call_form import json_of, options_of, queues_of, signature_of
from fullresult.web.site import redirect, site_of
from fullresult.web.trees import tree_of, written

if TYPE_CHECKING:
    from datetime import datetime

    from celery import Celery
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.record import TaskRecord
    from fullresult.web.forms import Form

_FIELDS = ("args", "kwargs", "queue", "eta", "priority")


class Changed(NamedTuple):
    """The changes that a form asks for, and the problems with them."""

    args: list[Any] | None
    kwargs: dict[str, Any] | None
    options: dict[str, Any]
    problems: dict[str, str]
    """Sentences by field."""


def form(request: Request) -> Response:
    """The form, filled in as recorded."""
    site = site_of(request)
    record = site.full.get(request.query_params.get("id", ""))
    if record is None:
        return site.error(request, 404, "No task with this id is recorded.")
    return _form(request, record, _recorded(record), {})


def edited(request: Request, form: Form, person: Person) -> Response:
    """Show the changed task or, with `send`, send it."""
    site = site_of(request)
    record = site.full.get(request.query_params.get("id", ""))
    if record is None:
        return site.error(request, 404, "No task with this id is recorded.")
    values = {name: form.get(name) for name in _FIELDS}
    changed = _read(site.full.app, record, values, site.now())
    if changed.problems:
        return _form(request, record, values, changed.problems, 400)
    if not form.get("send"):
        return site.render(
            request, "edited.html", record=record, values=values, changed=changed,
            args=tree_of(record.args if changed.args is None else changed.args),
            kwargs=tree_of(record.kwargs if changed.kwargs is None else changed.kwargs),
        )  # fmt: skip
    return _send(request, person, record, changed)


def _send(request: Request, person: Person, record: TaskRecord, changed: Changed) -> Response:
    deeds = deeds_of(request, person)
    try:
        with sending(record.task_id):
            new = deeds.resend(record, changed.args, changed.kwargs, changed.options)
    except NotDone as error:
        return site_of(request).error(request, 502, encoding.safe_str(error))
    return redirect(request, "task", {"id": str(new.id)})


def _form(
    request: Request,
    record: TaskRecord,
    values: dict[str, str],
    problems: dict[str, str],
    status: int = 200,
) -> Response:
    site = site_of(request)
    return site.render(
        request, "edit.html", status, record=record, values=values, problems=problems,
        signature=signature_of(site.full.app, record.name),
        queues=queues_of(site.full.app), unknown=record.args is None,
    )  # fmt: skip


def _recorded(record: TaskRecord) -> dict[str, str]:
    return {
        **{part: _text(value) for part, value in record.arguments._asdict().items()},
        "queue": "",
        "eta": "",
        "priority": "",
    }


def _text(value: Any) -> str:
    """*value* as JSON to edit; values of types that kombu knows are written as kombu does."""
    if value is None:
        return ""
    try:
        return written(json.loads(encoding.dumps(value)))
    except (ValueError, RecursionError):
        return ""


def _read(app: Celery, record: TaskRecord, values: dict[str, str], now: datetime) -> Changed:
    problems: dict[str, str] = {}
    args = _argument(record, values["args"], list, problems, "args")
    kwargs = _argument(record, values["kwargs"], dict, problems, "kwargs")
    options = options_of(app, values, now, problems)
    if not problems:
        try:
            check(record, args, kwargs)
            check_signature(app, record, args, kwargs)
        except (CannotResend, TypeError) as error:
            problems["args"] = str(error)
    return Changed(args, kwargs, options, problems)


def _argument(
    record: TaskRecord, text: str, kind: type, problems: dict[str, str], name: str
) -> Any:
    """The value of *text*; None if it is as recorded."""
    shown = _text(getattr(record, name))
    if record.redacted and masking.holds_mark(text):
        problems[name] = (
            f"Put values in the places of {masking.MARK}: what stood there was not kept."
        )
        return None
    if text.replace("\r\n", "\n").strip() == shown:
        return None
    value = json_of(text, kind, name, problems)
    if value is None or (shown and value == json.loads(shown)):
        return None
    return encoding.loads(text)


routes = [
    Route("/edit", form, methods=["GET"]),
    Route("/edit", action(edited), methods=["POST"]),
]
