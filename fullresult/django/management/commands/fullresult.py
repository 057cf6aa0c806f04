"""`manage.py fullresult …`: every command of `celery -A proj fullresult`, without `-A`."""

from __future__ import annotations

import sys
from argparse import REMAINDER
from types import SimpleNamespace
from typing import Any

import click
from django.core.management.base import BaseCommand, CommandError

from fullresult.cli.group import fullresult
from fullresult.django.site import NO_APP, app_of_site


class Command(BaseCommand):
    requires_system_checks: tuple[str, ...] = ()
    help = "Find recorded tasks, see what happened to them, and send them again."

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand all arguments to the command: Django's own options would take some of them."""
        try:
            code = run(argv[2:], "manage.py fullresult")
        except CommandError as error:
            self.stderr.write(f"{error.__class__.__name__}: {error}")
            code = error.returncode
        sys.exit(code)

    def handle(self, *arguments: str, **_: Any) -> None:
        """For `call_command("fullresult", "stale", "--hours", "1")`."""
        if code := run(list(arguments), "manage.py fullresult"):
            raise CommandError(
                f"fullresult {' '.join(arguments)}: exit code {code}", returncode=code
            )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("args", nargs=REMAINDER)


def run(arguments: list[str], name: str) -> int:
    """Run a command of ours; its exit code."""
    app = app_of_site()
    if app is None:
        raise CommandError(NO_APP)
    with click.Context(
        click.Group("manage.py"), obj=SimpleNamespace(app=app, typed=name)
    ) as parent:
        try:
            # As typed: a closed pipe, Ctrl-C and a no are exit codes, not tracebacks.
            fullresult.main(arguments, name, parent=parent)
        except SystemExit as done:
            return done.code if isinstance(done.code, int) else int(done.code is not None)
