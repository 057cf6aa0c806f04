"""The actions of the admin: each asks first, shows what goes, and is done in the user's name."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from celery.exceptions import ImproperlyConfigured
from django.contrib import admin, messages
from django.template.response import TemplateResponse
from django.utils import timezone

from fullresult.actions.audit import Actor
from fullresult.django.site import full_of_site
from fullresult.insight.dates import due
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import brief
from fullresult.storage import StorageError

if TYPE_CHECKING:
    from fullresult.actions.batch import Report
    from fullresult.actions.deeds import Deeds

MOST = 500
"""Tasks of one form: Django takes no more than 1,000 fields."""
_SHOWN_PROBLEMS = 10
_REMEMBERED = 50
_ONCE = "fullresult_once"

Do = Callable[["Deeds", list[str], str], "Report"]
"""Does something to the tasks with these ids; the text is what was typed."""


def actor_of(request: Any) -> Actor:
    """The user of *request*, for the audit log."""

    def unwritten(why: str) -> None:
        messages.warning(
            request, f"What was done is done, but the audit log does not say so: {one_line(why)}"
        )

    return Actor(request.user.get_username(), "admin", None, unwritten)


def action(
    name: str, done: str, permission: str, about: str, do: Do, *, when: bool = False
) -> Callable[..., Any]:
    """An action called *name*. With *when*, its form asks for a date."""

    @admin.action(description=name, permissions=[permission])
    def act(model_admin: Any, request: Any, queryset: Any) -> Any:
        rows = list(queryset[: MOST + 1])
        if len(rows) > MOST:
            text = f"At most {MOST} tasks at once; `manage.py fullresult` has no such limit."
            messages.error(request, text)
            return None
        typed, wrong = request.POST.get("when", ""), ""
        if "confirmed" in request.POST and _first_time(request):
            try:
                _tell(request, done, _done(request, do, rows, typed))
            except ValueError as error:
                wrong = one_line(str(error))
            except (StorageError, ImproperlyConfigured) as error:
                messages.error(request, one_line(str(error)))
                return None
            else:
                return None
        more = {"action_name": act.__name__, "name": name, "about": about, "rows": rows}
        return _form(model_admin, request, {**more, "when": when, "typed": typed, "wrong": wrong})

    act.__name__ = name.lower().replace(" ", "_")
    return act


def _done(request: Any, do: Do, rows: Sequence[Any], typed: str) -> Report:
    deeds = full_of_site().acting(actor_of(request))
    return do(deeds, [row.task_id for row in rows], typed)


def _form(model_admin: Any, request: Any, context: dict[str, Any]) -> TemplateResponse:
    every = {
        **model_admin.admin_site.each_context(request),
        "title": context["name"],
        "opts": model_admin.model._meta,  # noqa: SLF001
        "once": secrets.token_urlsafe(12),
        "shown": [(row.pk, row.task_id, brief(row.name or "?"), row) for row in context["rows"]],
        **context,
    }
    request.current_app = model_admin.admin_site.name  # of several sites, links lead to this one
    return TemplateResponse(request, "admin/fullresult/act.html", every)


def _first_time(request: Any) -> bool:
    """True if this form was not sent before."""
    once, sent = request.POST.get("once", ""), request.session.get(_ONCE, [])
    if not once or once in sent:
        messages.warning(request, "This form was sent before. Nothing was done now.")
        return False
    request.session[_ONCE] = [*sent, once][-_REMEMBERED:]
    return True


def _tell(request: Any, done: str, report: Report) -> None:
    number = len(report.done)
    if number:
        messages.success(request, f"{number} {'task' if number == 1 else 'tasks'} {done}.")
    for fate in report.failed[:_SHOWN_PROBLEMS]:
        messages.error(request, f"{fate.task_id}: {one_line(fate.problem or '')}")
    if (more := len(report.failed) - _SHOWN_PROBLEMS) > 0:
        messages.error(request, f"… and {more} more were not {done}; the audit log has them all.")
    if report.stopped:
        messages.error(request, one_line(report.stopped))


def _move(deeds: Deeds, ids: list[str], typed: str) -> Report:
    when = due(typed, deeds.now, timezone.get_current_timezone())
    return deeds.reschedule(ids, when)


RETRY = action(
    "Retry",
    "sent again",
    "retry",
    "Each is sent again as it was, under a new id. What it did before is not undone.",
    lambda deeds, ids, _: deeds.resend_ids(ids),
)
CANCEL = action(
    "Cancel",
    "cancelled",
    "cancel",
    "Those that wait in the storage become REVOKED and are not sent.",
    lambda deeds, ids, _: deeds.cancel(ids),
)
RESCHEDULE = action(
    "Reschedule",
    "moved",
    "cancel",
    "Those that wait in the storage become due at another time.",
    _move,
    when=True,
)
RELEASE = action(
    "Release",
    "released",
    "retry",
    "Those that a sweeper claimed and never marked sent are given back, and sent. A task that was "
    "sent before is then sent twice.",
    lambda deeds, ids, _: deeds.release(ids),
)
SEND_NOW = action(
    "Send now",
    "sent",
    "retry",
    "Each is sent now, under its own id. One that a sweeper claimed may have been sent before.",
    lambda deeds, ids, _: deeds.send_each_now(ids),
)
