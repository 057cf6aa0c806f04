"""Printing: text of tasks cannot harm the terminal, is cut to its width, and is coloured."""

from __future__ import annotations

import os
import sys
import unicodedata

import click

_CHARACTERS_PER_COLUMN = 4
"""Characters that are looked at for one column: combining marks take no room."""
_COLOURS = {
    "SUCCESS": "green",
    "FAILURE": "red",
    "UNSENT": "red",
    "REVOKED": "magenta",
    "REJECTED": "magenta",
    "IGNORED": "bright_black",
    "NOT_RUN": "bright_black",
    "INTERRUPTED": "yellow",
    "RETRY": "yellow",
    "STARTED": "cyan",
    "claimed": "yellow",
}


def say(text: str = "", *, err: bool = False) -> None:
    """Print *text* as one line, in colour on a terminal that has them, unless told `--no-color`."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    writable = text.encode(encoding, "backslashreplace").decode(encoding)
    context = click.get_current_context(silent=True)
    plain = bool(context and getattr(context.obj, "no_color", False))
    plain = plain or os.environ.get("TERM") == "dumb"
    click.echo(writable, err=err, color=False if plain else None)


def is_terminal(*, err: bool = False) -> bool:
    """True if standard output, or with *err* standard error, is a terminal."""
    return (sys.stderr if err else sys.stdout).isatty()


def in_colour(state: str, text: str) -> str:
    """*text* in the colour of *state*."""
    return click.style(text, fg=_COLOURS.get(state, "blue"))


def bold(text: str) -> str:
    return click.style(text, bold=True)


def dim(text: str) -> str:
    return click.style(text, dim=True)


def width(text: str) -> int:
    """The number of columns that *text* takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """*text* in at most *columns*, the last one being … if something was cut."""
    if len(text) <= columns * _CHARACTERS_PER_COLUMN and width(text) <= columns:
        return text
    room, kept = columns - 1, ""
    for character in text[: columns * _CHARACTERS_PER_COLUMN]:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return f"{kept}…"
