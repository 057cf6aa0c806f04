"""Showing what a replay would send, at which rate."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from fullresult.actions.replay_preview import Preview
from fullresult.actions.replays import WrongReplay, check_rate
from fullresult.cli.preview import say_imported
from fullresult.cli.table import show_records
from fullresult.cli.terminal import say
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of, local

_RATE = re.compile(r"(\d+(?:\.\d+)?)/([smh])")
_A_SECOND = {"s": 1.0, "m": 60.0, "h": 3600.0}


def rate(text: str) -> float:
    """Tasks a second, of `20/s`, `300/m` or `100/h`."""
    found = _RATE.fullmatch(text.replace(" ", ""))
    if not found:
        raise click.BadParameter(f"{text!r} is no rate; write 20/s, 300/m or 100/h")
    a_second = float(found[1]) / _A_SECOND[found[2]]
    try:
        check_rate(a_second)
    except WrongReplay as error:
        raise click.BadParameter(f"{text!r}: {error}") from error
    return a_second


def show_preview(seen: Preview, a_second: float) -> None:
    more = " or more" if seen.at_least else ""
    say(f"About to send again {count_of(seen.count)}{more}:", err=True)
    show_records(seen.first, err=True, table=True)
    say_imported(seen.first)
    if seen.count > len(seen.first):
        say(f"… and {seen.count - len(seen.first):,} more", err=True)
    for line in _preview_lines(seen, a_second):
        say(one_line(line), err=True)


def _preview_lines(seen: Preview, a_second: float) -> Iterator[str]:
    if seen.is_sampled:
        yield f"Of the oldest {seen.looked_at:,}:"
    for (name, queue, how, group), number in list(seen.kinds.items())[:10]:
        of_group = f" ({group})" if group else ""
        yield f"{number:,} {name} to {queue or 'no queue'}, {how}{of_group}"
    if seen.oldest and seen.newest:
        yield f"Created from {local(seen.oldest)} to {local(seen.newest)}"
    for why, number in seen.left_out.items():
        yield f"Left out: {number:,} {why}"
    yield from seen.advice
    yield from (load.told(a_second) for load in seen.loads)
    yield from seen.warnings
    over = "at least " if seen.at_least else ""
    yield f"At {a_second:g}/s that takes {over}{seen.drains_in(a_second)}."
    if not seen.swept:
        yield "No sweeper was at work within the last minute: nothing is sent until one is."
