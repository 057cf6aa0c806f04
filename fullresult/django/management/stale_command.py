"""The options that the two stale commands share, and the line of a task."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from celery.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from fullresult.insight.safe_text import one_line
from fullresult.storage import StorageError

_UNITS = ("weeks", "days", "hours", "minutes", "seconds", "microseconds")


class StaleCommand(BaseCommand):
    """A command whose options add up to a length of time."""

    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: Any) -> None:
        for unit in _UNITS:
            parser.add_argument(
                f"--{unit}", type=int, default=0, help=f"max {unit} before a task is stale"
            )

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute(*args, **options)
        except (ImproperlyConfigured, StorageError) as error:
            raise CommandError(one_line(str(error))) from error

    @staticmethod
    def age(options: dict[str, Any]) -> timedelta:
        return timedelta(**{unit: options[unit] for unit in _UNITS})

    def show(self, when: datetime | None, task_id: str, name: str | None) -> None:
        self.stdout.write(f"  {when} - {one_line(task_id)}: {one_line(name or '')}")
