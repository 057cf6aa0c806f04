"""Task classes: publishing after the commit with the id known at once, and the original's name."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from celery.contrib.django.task import DjangoTask
from celery.result import AsyncResult
from celery.utils import uuid
from django.db import DEFAULT_DB_ALIAS, transaction

from fullresult.django.open_transactions import open_transaction
from fullresult.django.site import app_of_site


def waits_for_commit(using: str | None = None) -> bool:
    """True if what is published now waits in an outbox for the commit of the alias *using*."""
    app = app_of_site()
    waits = None if app is None else open_transaction(app.fullresult)
    return waits is not None and waits.alias == (using or DEFAULT_DB_ALIAS)


class Task(DjangoTask):
    """A task whose `delay_on_commit` answers the result, as `delay` does.

    `Celery("proj", task_cls="fullresult.django:Task")`, or `@shared_task(base=Task)`.
    """

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """`delay(…)` when the transaction commits; at once without one."""
        return self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self, args: Any = None, kwargs: Any = None, *, using: str | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """`apply_async(…)` when the transaction of the alias *using* commits."""
        if waits_for_commit(using):
            return self.apply_async(args, kwargs, **options)  # it waits in the outbox
        options["task_id"] = options.get("task_id") or uuid()
        transaction.on_commit(partial(self.apply_async, args, kwargs, **options), using=using)
        result: AsyncResult[Any] = self.AsyncResult(options["task_id"])
        return result


class ScheduledTask(Task):
    """The original's base class. It does nothing but warn: an ETA needs no base class here."""

    abstract = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ != __name__:
            _warn(cls)


def _warn(cls: type) -> None:
    warnings.warn(
        f"{cls.__name__}: ScheduledTask does nothing; set CELERY_FULLRESULT_SCHEDULE_ETA = True "
        "and leave the base class out",
        DeprecationWarning,
        stacklevel=3,
    )
