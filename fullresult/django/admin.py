"""The admin: lists of records and schedules, their actions, and Run now for periodic tasks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from celery.exceptions import ImproperlyConfigured
from django.apps import apps
from django.contrib import admin, messages
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join

from fullresult.actions.batch import Fate, Report
from fullresult.actions.errors import CannotResend
from fullresult.django import acting
from fullresult.django.filters import (
    CreatedFilter,
    NameFilter,
    QueueFilter,
    StateFilter,
    WaitingFilter,
)
from fullresult.django.listing import CappedPaginator, InOneOrder, begins_with
from fullresult.django.models import Schedule, TaskRecord
from fullresult.django.site import full_of_site
from fullresult.insight import words
from fullresult.insight.safe_text import lines, one_line
from fullresult.storage import StorageError, TaskQuery

_LONGEST = 20_000
"""Characters of a traceback."""


class _ReadOnlyAdmin(admin.ModelAdmin):
    """A list that is looked at and acted upon, by permissions of the model of records."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 200
    sortable_by = ()
    show_facets = getattr(getattr(admin, "ShowFacets", None), "NEVER", None)
    search_help_text = "A whole task id, or the beginning of a name"

    def has_add_permission(self, *_: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any) -> bool:
        return False

    def has_retry_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("fullresult.retry_taskrecord"))

    def has_cancel_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("fullresult.cancel_taskrecord"))

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:  # noqa: ARG002  (Django's)
        term = search_term.strip()
        if not term:
            return queryset, False
        if queryset.filter(task_id=term).exists():
            return queryset.filter(task_id=term), False
        return queryset.filter(begins_with(queryset.db, term)), False

    def get_changelist(self, *_: Any, **__: Any) -> type[InOneOrder]:
        return InOneOrder

    def get_actions(self, request: Any) -> dict[str, Any]:
        """All but Django's deletion, which reads every record that is selected."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.display(description="name", ordering=None)
    def short_name(self, row: Any) -> str:
        return words.brief(row.name or "")

    @admin.display(description="page")
    def page(self, row: Any) -> str:
        """A link to the page of the task, if the pages are mounted."""
        try:
            place = reverse("fullresult:pages", kwargs={"path": "task"})
        except NoReverseMatch:
            return "-"
        query = urlencode({"id": row.task_id})
        return str(format_html('<a href="{}?{}">page</a>', place, query))


def _deleted(deeds: Any, ids: list[str], _: str) -> Report:
    deeds.delete(TaskQuery(task_ids=ids, limit=None))
    return Report([Fate(task_id) for task_id in ids])


_DELETE = acting.action(
    "Delete", "deleted", "delete", "The records go for good; what was sent stays sent.", _deleted
)


@admin.register(TaskRecord)
class TaskRecordAdmin(_ReadOnlyAdmin):
    """The records of tasks, the newest first."""

    list_display = (
        *("task_id", "short_name", "date_published", "date_done", "state", "eta", "queue"),
        "page",
    )
    list_filter = (StateFilter, NameFilter, QueueFilter, CreatedFilter)
    search_fields = ("task_id", "name")
    actions = (
        acting.RETRY,
        acting.SEND_NOW,
        acting.CANCEL,
        acting.RESCHEDULE,
        acting.RELEASE,
        _DELETE,
    )
    fields = readonly_fields = (
        *(
            "task_id",
            "call_shown",
            "state",
            "result_shown",
            "queue",
            "worker",
            "retries",
            "runtime",
        ),
        *("date_created", "date_published", "date_started", "date_done", "date_updated"),
        *("eta", "expires", "root_id", "parent_id", "group_id", "retry_of"),
        *("executions_shown", "traceback_shown", "page"),
    )

    def get_queryset(self, request: Any) -> Any:
        """The columns that a list shows: a body may have megabytes."""
        listed = ("task_id", "name", "state", "date_published", "date_done", "eta", "queue")
        return super().get_queryset(request).only(*listed, "date_created", "outcome_stamp")

    @admin.display(description="call")
    def call_shown(self, row: Any) -> str:
        return str(row.call_repr)

    @admin.display(description="result")
    def result_shown(self, row: Any) -> str:
        return str(row.result_repr)

    @admin.display(description="traceback")
    def traceback_shown(self, row: Any) -> str:
        text = row.traceback or ""
        cut = "" if len(text) <= _LONGEST else f"\n… {len(text)} characters in all"
        return str(format_html("<pre>{}{}</pre>", "\n".join(lines(text[:_LONGEST])), cut))

    @admin.display(description="executions")
    def executions_shown(self, row: Any) -> str:
        runs = [
            (run.state, run.worker or "", run.date_started or "", run.date_done or "")
            for run in row.record.executions[-50:]
        ]
        return str(format_html_join("", "<div>{} {} {} … {}</div>", runs)) or "-"

    def delete_model(self, request: Any, obj: Any) -> None:
        TaskRecord.objects.filter(pk=obj.pk).delete_as(acting.actor_of(request))

    def delete_queryset(self, request: Any, queryset: Any) -> None:
        queryset.delete_as(acting.actor_of(request))


@admin.register(Schedule)
class ScheduleAdmin(_ReadOnlyAdmin):
    """What waits in the storage, the first due first."""

    list_display = (
        *("task_id", "short_name", "due", "queue", "date_claimed", "short_problem"),
        "page",
    )
    list_filter = (WaitingFilter,)
    search_fields = ("task_id", "name")
    actions = (acting.SEND_NOW, acting.CANCEL, acting.RESCHEDULE, acting.RELEASE)
    fields = readonly_fields = (
        *("task_id", "name", "due", "queue", "namespace", "date_scheduled", "new_task_id"),
        *("date_claimed", "short_problem", "page"),
    )

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:  # noqa: ARG002  (Django's)
        term = search_term.strip()
        if not term:
            return queryset, False
        if queryset.filter(task_id=term).exists():
            return queryset.filter(task_id=term), False
        return queryset.filter(name__startswith=term), False

    def has_delete_permission(self, *_: Any) -> bool:
        return False

    @admin.display(description="problem")
    def short_problem(self, row: Any) -> str:
        return words.brief(row.problem or "")


@admin.action(description="Run now", permissions=["trigger"])
def run_now(model_admin: Any, request: Any, queryset: Any) -> None:  # noqa: ARG001  (Django's)
    """Send the selected periodic tasks now, as beat would, each named in its record."""
    entries = list(queryset[: acting.MOST + 1])
    if len(entries) > acting.MOST:
        messages.error(request, f"At most {acting.MOST} periodic tasks at once. None was sent.")
        return
    deeds = full_of_site().acting(acting.actor_of(request))
    for entry in entries:
        try:
            result = deeds.trigger(entry.name)
        except (StorageError, ImproperlyConfigured, CannotResend, LookupError, ValueError) as error:
            messages.error(request, f"{entry.name}: {one_line(str(error))}")
        except Exception as error:  # noqa: BLE001  (what any broker or beat's scheduler raises)
            messages.error(request, f"{entry.name} was not sent: {one_line(str(error))}")
        else:
            messages.success(request, f"{entry.name} was sent as {result.id}.")


class RunNow:
    """A mix-in for the admin of django-celery-beat's `PeriodicTask`."""

    def get_actions(self, request: Any) -> dict[str, Any]:
        """Those of the admin, and Run now for those who may."""
        actions: dict[str, Any] = super().get_actions(request)  # type: ignore[misc]
        if self.has_trigger_permission(request):
            actions["run_now"] = (run_now, "run_now", "Run now")
        return actions

    @staticmethod
    def has_trigger_permission(request: Any) -> bool:
        return bool(request.user.has_perm("fullresult.trigger_taskrecord"))


def _add_run_now() -> None:
    """Give django-celery-beat's own admin the action; a project's own class takes the mix-in."""
    from django_celery_beat.admin import PeriodicTaskAdmin
    from django_celery_beat.models import PeriodicTask

    if type(admin.site._registry.get(PeriodicTask)) is PeriodicTaskAdmin:  # noqa: SLF001
        admin.site.unregister(PeriodicTask)
        admin.site.register(
            PeriodicTask, type("PeriodicTaskAdmin", (RunNow, PeriodicTaskAdmin), {})
        )


if apps.is_installed("django_celery_beat"):
    _add_run_now()
