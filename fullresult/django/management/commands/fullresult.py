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
        sys.exit(run(argv[2:], "manage.py fullresult"))

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
            context = fullresult.make_context(name, arguments, parent=parent)
            with context:
                fullresult.invoke(context)
        except click.exceptions.Exit as done:
            return done.exit_code
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except click.Abort:
            return 1
    return 0
