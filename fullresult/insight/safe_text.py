"""Text that came from a task, made harmless for terminals and pages."""

from __future__ import annotations

import unicodedata

COMMANDS_CI = "##["
"""GitHub obeys what follows it wherever it stands in a line of a log."""


def safe(text: str) -> str:
    """*text* in one line, with escapes in the places of what a terminal would obey."""
    text = text if text.isprintable() else "".join(map(_shown, text))
    return text.replace(COMMANDS_CI, r"#\x23[")


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()


def lines(text: str) -> list[str]:
    """The lines of *text*, each of them safe."""
    return [safe(line) for line in text.replace("\r\n", "\n").expandtabs().split("\n")]


def one_line(text: str) -> str:
    """*text* as one safe line; each run of white space becomes one space."""
    return safe(" ".join(text.split()))
