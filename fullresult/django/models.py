"""Models of the storage's tables. They only read: the storage makes and changes its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from fullresult.django.fields import Date, Json, JsonText
from fullresult.django.querysets import (
    OfSchedules,
    OfStorage,
    ReadOnly,
    Records,
    Schedules,
    read_only,
)
from fullresult.django.site import full_of_site
from fullresult.insight.words import call, ending
from fullresult.record import FAILURE, NOT_RUN, STATES
from fullresult.record.stamps import RANK, rank_in

if TYPE_CHECKING:
    from fullresult import record

_STATES = [(state, state) for state in STATES]


def _text(**options: Any) -> Any:
    return models.TextField(null=True, **options)


class TaskRecord(models.Model):
    """The record of one task id, under the names of `fullresult.record.TaskRecord`."""

    task_id = models.TextField(primary_key=True)
    name = _text()
    state = _text(choices=_STATES)
    date_created = Date()
    date_updated = Date()
    date_published = Date(null=True)
    date_started = Date(null=True)
    date_done = Date(null=True)
    eta = Date(null=True)
    expires = Date(null=True)
    expire_at = Date(null=True)
    stale_from = Date(null=True)
    runtime = models.FloatField(null=True)
    retries = models.IntegerField(null=True)
    worker = _text()
    args = models.JSONField(null=True)
    kwargs = models.JSONField(null=True)
    result = Json(null=True)
    result_text = _text()
    result_form = _text()
    exception_type = _text()
    exception_message = _text()
    traceback = _text()
    children = JsonText(null=True)
    embed = JsonText(null=True)
    headers = JsonText(null=True)
    properties = JsonText(null=True)
    notes = JsonText(null=True)
    body = models.BinaryField(null=True)
    content_type = _text()
    content_encoding = _text()
    exchange = _text()
    routing_key = _text()
    queue = _text()
    priority = models.IntegerField(null=True)
    root_id = _text()
    parent_id = _text()
    group_id = _text()
    retry_of = _text()
    fingerprint = _text()
    resent = _text()
    bucket = _text(editable=False)
    outcome_stamp = _text(editable=False)

    objects = OfStorage.from_queryset(Records)()

    class Meta:
        app_label = "fullresult"
        managed = False
        db_table = "fullresult_task"
        ordering = ("-date_created", "-task_id")
        verbose_name = "task"
        default_permissions = ("view", "delete")
        permissions = (
            ("retry_taskrecord", "Can send tasks again, send scheduled ones now, and release them"),
            ("send_taskrecord", "Can send any task of the app, with arguments of their own"),
            ("cancel_taskrecord", "Can cancel and reschedule tasks"),
            ("trigger_taskrecord", "Can send periodic tasks"),
        )

    save = save_base = read_only

    @classmethod
    def from_db(cls, db: Any, field_names: Any, values: Any) -> TaskRecord:
        """The row, in its state: what never ran is kept as a FAILURE."""
        found: TaskRecord = super().from_db(db, field_names, values)
        known = vars(found)
        stamp = known.get("outcome_stamp") or ""
        if known.get("state") == FAILURE and rank_in(stamp) == RANK[NOT_RUN]:
            found.state = NOT_RUN
        return found

    def __str__(self) -> str:
        return f"{self.name or '?'} {self.task_id}"

    def delete(self, *_: Any, **__: Any) -> tuple[int, dict[str, int]]:
        """Delete it by the storage's own means, and write it to the audit log."""
        deleted: tuple[int, dict[str, int]] = type(self).objects.filter(pk=self.pk).delete()
        return deleted

    @property
    def record(self) -> record.TaskRecord:
        """The record with its runs, its values decoded. Raises `LookupError` if it is gone."""
        found = full_of_site().get(self.task_id)
        if found is None:
            raise LookupError(f"no task {self.task_id!r} is recorded")
        return found

    # The names that the original had.

    @property
    def task(self) -> str | None:
        return self.name

    @property
    def status(self) -> str | None:
        return self.state

    @property
    def hostname(self) -> str | None:
        return self.worker

    @property
    def date_submitted(self) -> Any:
        return self.date_published

    @property
    def meta(self) -> dict[str, Any]:
        return {"children": list(self.record.children)}

    @property
    def call_repr(self) -> str:
        """`name(1, key='value')`, cut like a line of a listing."""
        return call(self.record)

    @property
    def result_repr(self) -> str:
        """The result or the exception, cut like a line of a listing."""
        return ending(self.record)

    def to_dict(self) -> dict[str, Any]:
        """The original's dictionary of a result."""
        return {
            "task_id": self.task_id,
            "status": self.state,
            "result": self.record.result,
            "date_done": self.date_done,
            "traceback": self.traceback,
            "children": list(self.record.children),
            "task": self.name,
            "args": self.args,
            "kwargs": self.kwargs,
            "hostname": self.worker,
            "exchange": self.exchange,
            "routing_key": self.routing_key,
            "eta": self.eta,
            "expires": self.expires,
            "date_submitted": self.date_published,
        }


class Execution(models.Model):
    """A run that did not simply succeed, or was not the first. `TaskRecord.record` has them all."""

    stamp = models.TextField(primary_key=True)
    task = models.ForeignKey(
        TaskRecord,
        models.DO_NOTHING,
        db_column="task_id",
        db_constraint=False,
        related_name="executions",
    )
    retries = models.IntegerField()
    state = models.TextField()
    worker = _text()
    date_started = Date(null=True)
    date_done = Date(null=True)
    exception_type = _text()
    exception_message = _text()
    traceback = _text()

    objects = OfStorage.from_queryset(ReadOnly)()

    class Meta:
        app_label = "fullresult"
        managed = False
        db_table = "fullresult_execution"
        ordering = ("stamp",)
        default_permissions = ("view",)

    save = save_base = delete = read_only

    def __str__(self) -> str:
        return f"{self.task_id} {self.state}"


class Schedule(models.Model):
    """A message that waits in the storage until it is due."""

    schedule_id = models.TextField(primary_key=True)
    task = models.ForeignKey(
        TaskRecord,
        models.DO_NOTHING,
        db_column="task_id",
        db_constraint=False,
        related_name="schedules",
    )
    namespace = models.TextField()
    due = Date()
    date_scheduled = Date()
    name = _text()
    queue = _text()
    new_task_id = _text()
    claim = _text()
    date_claimed = Date(null=True)
    problem = _text()
    date_withdrawn = Date(null=True, editable=False)

    objects = OfSchedules.from_queryset(Schedules)()

    class Meta:
        app_label = "fullresult"
        managed = False
        db_table = "fullresult_schedule"
        ordering = ("due", "schedule_id")
        verbose_name = "scheduled task"
        default_permissions = ("view",)

    save = save_base = delete = read_only

    def __str__(self) -> str:
        return f"{self.name or '?'} {self.task_id}"
