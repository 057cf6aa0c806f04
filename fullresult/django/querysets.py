"""QuerySets of records and schedules: what the original's manager had, and ours; they only read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.apps import apps
from django.db import NotSupportedError, models
from django.db.models import Q
from django.utils import timezone

from fullresult.django.site import alias_for_models, full_of_site
from fullresult.record import SCHEDULED
from fullresult.storage import TaskQuery

if TYPE_CHECKING:
    from fullresult.actions.audit import Actor

M = TypeVar("M", bound=Callable[..., Any])

OPEN = "OPEN"
"""The bucket of what is not finished and does not wait in the storage."""
_MOST = 500
"""Records that are deleted together."""


def read_only(*_: Any, **__: Any) -> Any:
    """Refuse to write: a record is the merge of its events, which a row by hand would spoil."""
    raise NotSupportedError(
        "records and schedules are read only here; app.fullresult has what acts on them "
        "(resend, cancel, reschedule, delete)"
    )


def _changes_data(method: M) -> M:
    """Mark *method* as Django does: templates do not call it, and managers do not have it."""
    vars(method).update(alters_data=True, queryset_only=True)
    return method


class ReadOnly(models.QuerySet):
    """A QuerySet that cannot write."""

    create = bulk_create = bulk_update = update = get_or_create = update_or_create = read_only
    acreate = abulk_create = abulk_update = aupdate = aget_or_create = aupdate_or_create = read_only
    delete = adelete = _raw_delete = read_only


class Records(ReadOnly):
    """Records of tasks."""

    def get_stale_tasks(
        self,
        max_duration: timedelta | None = None,
        acceptable_states: Collection[str] | None = None,
    ) -> Records:
        """Tasks that are not finished and had no event for *max_duration*, the oldest first.

        Without one all that are not finished, as the original had it; an ETA in the future is
        waited for. With *acceptable_states*, tasks in any other state, finished or not.
        """
        found = self.filter(stale_from__lte=timezone.now() - (max_duration or timedelta(0)))
        if acceptable_states:
            found = found.exclude(state__in=[*acceptable_states, SCHEDULED])
        else:
            found = found.filter(bucket=OPEN)
        return found.order_by("date_created", "task_id")

    def get_stale_scheduled_tasks(self, max_duration: timedelta | None = None) -> Records:
        """Tasks that are due for *max_duration* and wait in the storage still, claimed or not."""
        schedules = apps.get_model("fullresult", "Schedule").objects
        due = schedules.using(self.db).get_stale_scheduled_tasks(max_duration)
        return self.filter(task_id__in=due.values("task_id")).order_by("date_created", "task_id")

    def orphaned(self, gone_for: timedelta | None = None) -> Records:
        """Tasks that a worker began to run and that worker is gone."""
        found = full_of_site().get_orphaned_tasks(gone_for)
        return self.filter(task_id__in=[record.task_id for record in found])

    @_changes_data
    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete these records by the storage's own means, and write it to the audit log."""
        return self.delete_as(None)

    @_changes_data
    def delete_as(self, actor: Actor | None) -> tuple[int, dict[str, int]]:
        """The same in the name of *actor*; None: the user of this process."""
        if self.query.is_sliced:
            raise TypeError("a slice cannot be deleted: filter by task_id instead")
        full = full_of_site()
        ids, deleted = list(self.values_list("task_id", flat=True)), 0
        for start in range(0, len(ids), _MOST):
            query = TaskQuery(task_ids=ids[start : start + _MOST], limit=None)
            deleted += full.acting(actor).delete(query) if actor else full.delete(query)
        return deleted, {self.model._meta.label: deleted}  # noqa: SLF001


class Schedules(ReadOnly):
    """Messages that wait in the storage."""

    def get_stale_scheduled_tasks(self, max_duration: timedelta | None = None) -> Schedules:
        """Those that are due for *max_duration*, the first due first."""
        due = timezone.now() - (max_duration or timedelta(0))
        return self.filter(due__lte=due).order_by("due", "schedule_id")

    def waiting(self) -> Schedules:
        """Those that no sweeper has claimed."""
        return self.filter(claim=None)

    def claimed(self) -> Schedules:
        """Those that a sweeper has claimed: each may have been sent."""
        return self.exclude(claim=None)


class OfStorage(models.Manager):
    """Asks the database that has the storage, whichever that is."""

    def get_queryset(self) -> Any:
        found = super().get_queryset()
        return found if self._db else found.using(alias_for_models())


class OfSchedules(OfStorage):
    """The same, without the marks of schedules that are not to be kept."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(Q(date_withdrawn=None))
