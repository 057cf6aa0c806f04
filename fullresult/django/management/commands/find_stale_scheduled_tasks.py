"""`manage.py find_stale_scheduled_tasks`: the original's, option for option and line for line."""

from __future__ import annotations

from typing import Any

from fullresult.django.management.stale_command import StaleCommand
from fullresult.django.models import Schedule


class Command(StaleCommand):
    help = "Display all stale scheduled tasks"

    def handle(self, *_: Any, **options: Any) -> None:
        self.stdout.write("Stale scheduled tasks:")
        for each in Schedule.objects.get_stale_scheduled_tasks(self.age(options)).iterator():
            self.show(each.date_claimed or each.date_scheduled, each.task_id, each.name)
