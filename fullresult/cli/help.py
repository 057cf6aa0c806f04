"""Commands whose `--help` ends with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class Command(click.Command):
    """A command with *examples*, each without the `celery -A proj fullresult` before it."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            typed = getattr(ctx.find_root().obj, "typed", "celery -A proj fullresult")
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"  {typed} {example}\n")
