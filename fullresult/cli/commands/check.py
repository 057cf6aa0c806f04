"""`check`."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli.check_formats import FORMATS
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.limits import FOUND
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import length
from fullresult.cli.which_app import full_of

if TYPE_CHECKING:
    from fullresult.insight.check.findings import Findings


@click.command(
    cls=Command,
    short_help="Say what this code would break",
    examples=["check", "check --queues celery,mail --format github", "check --known accepted.txt"],
)
@click.option(
    "--recent",
    type=length,
    default="1d",
    show_default=True,
    metavar="LENGTH",
    help="Warn of tasks that ended in this time, too: callers may go on so. 0s: of none.",
)
@click.option("--queues", metavar="A,B", help="The queues that workers of this code consume.")
@click.option(
    "--against",
    type=click.Choice(["live", "declared"]),
    help="Where the consumed queues are taken from: workers that live, or task_queues.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="text",
    show_default=True,
    help="How to print findings.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help=f"Exit with code {FOUND} from this level on.",
)
@click.option(
    "--known",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of accepted findings: their keys, one a line, or what --format json printed.",
)
@click.option(
    "--values",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Messages of each kind of call whose values are validated by models of pydantic.",
)
@click.option("--scheduler", "-S", metavar="CLASS", help="Beat's scheduler, if not beat_scheduler.")
@click.pass_context
def check(
    context: click.Context,
    /,
    recent: timedelta,
    queues: str | None,
    form: str,
    fail_on: str,
    known: Path | None,
    **options: Any,
) -> None:
    """Say what would break if this code took what waits in the storage.

    Run it with the new code, and the configuration of production, before you deploy. Every task
    that is open or scheduled is bound to the tasks that are registered here: names, arguments,
    models of pydantic, content types, queues, and the links, chains and chord bodies that messages
    carry; and so is each periodic task. Nothing is sent, run or changed.

    The exit code is 3 if something would break, and 1 if the check could not look.
    """
    names = tuple(filter(None, (queues or "").split(",")))
    accepted = () if known is None else _keys_in(known)
    findings = full_of(context).check(recent=recent, queues=names, known=accepted, **options)
    for line in FORMATS[form](findings):
        say(line)
    _end(context, findings, fail_on)


def _end(context: click.Context, findings: Findings, fail_on: str) -> None:
    if findings.errors or (fail_on == "warning" and findings.found):
        context.exit(FOUND)


def _keys_in(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some shells begin a file with a mark
    except UnicodeDecodeError as error:
        raise Failure(f"{path} is no text in UTF-8: {error}") from error
    if not text.lstrip().startswith("{"):
        lines = (line.strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    try:
        said = json.loads(text)
        return [str(each["key"]) for each in said["findings"]] + list(map(str, said["known"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is not what `check --format json` prints: {error}") from error
