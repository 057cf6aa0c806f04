"""`manage.py find_stale_tasks`: the original's, option for option and line for line."""

from __future__ import annotations

from typing import Any

from fullresult.django.management.stale_command import StaleCommand
from fullresult.django.models import TaskRecord


class Command(StaleCommand):
    help = "Display all stale tasks"

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--terminal-state", action="append", help="A state that counts as finished. Repeatable."
        )

    def handle(self, *_: Any, **options: Any) -> None:
        found = TaskRecord.objects.get_stale_tasks(
            self.age(options), acceptable_states=options["terminal_state"]
        )
        self.stdout.write("Stale tasks:")
        for task in found.only("task_id", "name", "state", "date_updated").iterator():
            self.show(task.date_updated, task.task_id, task.name)
