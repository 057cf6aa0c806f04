"""Acting on many tasks, and printing the outcome for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fullresult.actions.batch import BROKER_SILENT, Fate, Pace, Report
from fullresult.cli.errors import Failure
from fullresult.cli.progress import progress
from fullresult.cli.terminal import say
from fullresult.insight.safe_text import one_line, safe
from fullresult.insight.words import count_of


class Words(NamedTuple):
    """An action in words: `Sending`, `sent`."""

    doing: str
    done: str


def act(
    words: Words,
    number: int,
    do: Callable[[Pace], Report],
    line: Callable[[Fate], str] = lambda fate: safe(fate.task_id),
) -> None:
    """Call *do*, which acts on *number* tasks, and print a *line* for each that was done.

    Raises `Failure` if not all was done, after printing the reasons.
    """
    lines: list[str] = []
    try:
        with progress(number, words.doing) as advance:

            def tell(fate: Fate) -> None:
                advance(1)
                if fate.problem is None:
                    lines.append(line(fate))

            report = do(Pace(tell=tell))
    finally:
        # Also after Ctrl-C.
        for each in lines:
            say(each)
    _conclude(words, report)


def _conclude(words: Words, report: Report) -> None:
    for fate in report.fates:
        if fate.problem is not None:
            say(one_line(fate.problem), err=True)
    done = f"{words.done} {len(report.done):,}"
    if report.stopped == BROKER_SILENT:
        raise Failure(f"the broker does not answer; {done}, and gave up")
    if report.stopped is not None:
        raise Failure(f"{report.stopped}; {done}")
    if report.failed or report.spared:
        raise Failure("; ".join([done, *_not_done(words, report)]))


def _not_done(words: Words, report: Report) -> list[str]:
    failed, spared = len(report.failed), len(report.spared)
    said = []
    if failed:
        said.append(f"{count_of(failed)} could not be {words.done}")
    if spared:
        said.append(f"{count_of(spared)} {'was' if spared == 1 else 'were'} left alone")
    return said
