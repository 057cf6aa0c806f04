"""Commands whose `--help` ends with examples, and lists commands by what they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click


class Command(click.Command):
    """A command with *examples*, each without the `celery -A proj fullresult` before it."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = examples

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002  (nothing is cut)
        """The beginning of the first sentence, up to its first comma or colon."""
        return self.short_help or re.split(r"[,:.]", " ".join((self.help or "").split()))[0]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            typed = getattr(ctx.find_root().obj, "typed", "celery -A proj fullresult")
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"  {typed} {example}\n")


class Sections(click.Group):
    """A group that lists its commands under headings; *sections* has their names by heading."""

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.sections = sections or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not self.sections:
            super().format_commands(ctx, formatter)
        for heading, names in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, self.commands[name].get_short_help_str()) for name in names]
                )
