"""Text that came from a task, as it may be shown on a terminal."""

from __future__ import annotations

import unicodedata


def safe(text: str) -> str:
    """*text* in one line and without anything that a terminal would obey: shown as escapes."""
    return text if text.isprintable() else "".join(map(_shown, text))


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
    """*text* as one safe line, its white space made single spaces."""
    return safe(" ".join(text.split()))
