"""`explain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.terminal import bold, dim, say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps
from fullresult.insight.explain.explain import UNKNOWN
from fullresult.insight.explain.in_time import at_last, soon
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import local_exactly

if TYPE_CHECKING:
    from fullresult.insight.explain.explanation import Explanation

_INDENT = "  "


def _whole_soon(context: click.Context, parameter: click.Parameter, given: str) -> str:
    """The whole id; as it was given, if the storage does not answer."""
    return soon(lambda: whole(context, parameter, given), given)


@click.command(cls=Command, examples=["explain 3f0c9a4e-…", "explain 3f0c9a4e-… --offline --json"])
@click.argument("task_id", metavar="ID", callback=_whole_soon)
@click.option("--offline", is_flag=True, help="Ask the storage alone, not workers and broker.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field.")
@click.pass_context
def explain(context: click.Context, /, task_id: str, offline: bool, as_json: bool) -> None:
    """Say why a task is as it is: why it does not run, ran late, ran twice, failed.

    Reads the record, and asks workers and broker if the task has not ended; in about a second if
    they do not answer. The answer has a confidence: certain, something holds the task or stored
    what became of it; likely, all that could say otherwise has answered; possible, something did
    not answer, and it says what. Changes nothing.

    Exit code 1: the id is unknown.
    """
    full = full_of(context)
    found = full.explain(task_id, offline=offline)
    if not found.known and found.verdict == UNKNOWN:
        # Perhaps of the beginning of an id, for which the storage had been too slow.
        (of_id,) = (each for each in context.command.params if each.name == "task_id")
        given, task_id = task_id, at_last(lambda: whole(context, of_id, task_id), task_id)
        if task_id != given:
            found = full.explain(task_id, offline=offline)
    app = str(context.find_root().params.get("app") or "proj")
    if as_json:
        say(dumps(found.document))
    else:
        for line in _page(found, app):
            say(line)
    if not found.known:
        context.exit(1)


def _page(found: Explanation, app: str) -> Iterator[str]:
    """The lines for a person."""
    yield bold(one_line(found.sentence))
    yield f"{_INDENT}{dim(f'{found.verdict}, {found.confidence}')}"
    for finding in found.also:
        yield one_line(finding.sentence)
    commands = [*found.commands, *(each for one in found.also for each in one.commands)]
    yield from _section("What to do", [each.replace("-A proj", f"-A {app}") for each in commands])
    every = [*found.evidence, *(each for one in found.also for each in one.evidence)]
    told = [
        f"{each.source}{f', {local_exactly(each.at)}' if each.at else ''}: {each.said}"
        for each in dict.fromkeys(every)
    ]
    yield from _section("Evidence", told)
    yield from _section("Not known", found.unknown)


def _section(title: str, lines: list[str] | tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield ""
        yield bold(title)
        yield from (f"{_INDENT}{one_line(line)}" for line in dict.fromkeys(lines))
