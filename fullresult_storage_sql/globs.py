"""Globs, as `fnmatch` reads them, in the words of each database."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple, TypeAlias

LAST = "\U0010ffff"
"""The greatest character there is."""
_SURROGATES, _BEYOND = 0xD800, "\ue000"
_SPECIAL = "-]^"


class OneOf(NamedTuple):
    """One character within, or outside, ranges of characters."""

    negated: bool
    ranges: list[tuple[str, str]]


Part: TypeAlias = "str | OneOf"
"""`*`, `?`, a set, or a backslash and a character that stands for itself."""


def parts(pattern: str) -> Iterator[Part]:
    index = 0
    while index < len(pattern):
        character = pattern[index]
        end = _closing(pattern, index) if character == "[" else -1
        if end > 0:
            yield _one_of(pattern[index + 1 : end])
            index = end
        else:
            yield character if character in "*?" else f"\\{character}"
        index += 1


def _closing(pattern: str, opening: int) -> int:
    """The index at which the set that begins at *opening* ends; -1 if it does not."""
    first = opening + (2 if pattern[opening + 1 : opening + 2] == "!" else 1)
    return pattern.find("]", first + 1)


def _one_of(inside: str) -> OneOf:
    negated = inside.startswith("!")
    left = inside[1:] if negated else inside
    ranges = []
    while left:
        first, is_range = left[0], left[1:2] == "-" and left[2:] != ""
        ranges.append((first, left[2] if is_range else first))
        left = left[3:] if is_range else left[1:]
    return OneOf(negated, [(first, last) for first, last in ranges if first <= last])


def bounds(pattern: str) -> tuple[str, str | None]:
    """The least text that *pattern* may match, and one that is greater than any (None: none is)."""
    itself = takewhile(lambda part: isinstance(part, str) and len(part) > 1, parts(pattern))
    first = "".join(part[1] for part in itself if isinstance(part, str))
    if not first or first[-1] == LAST:
        return first, None
    after = ord(first[-1]) + 1
    # No database holds the surrogates that come next.
    return first, first[:-1] + (_BEYOND if after == _SURROGATES else chr(after))


def as_regex(pattern: str) -> str:
    """A regular expression of PostgreSQL's for whole names."""
    return "^" + "".join(_regex(part) for part in parts(pattern)) + "$"


def _regex(part: Part) -> str:
    if isinstance(part, str):
        return {"*": ".*", "?": "."}.get(part) or _itself(part[1])
    if not part.ranges:
        return "." if part.negated else "$."
    inside = "".join(f"{_itself(first)}-{_itself(last)}" for first, last in part.ranges)
    return f"[^{inside}]" if part.negated else f"[{inside}]"


def _itself(character: str) -> str:
    return character if character.isalnum() or character in "_ " else f"\\{character}"


def as_glob(pattern: str) -> str:
    """A pattern for SQLite's GLOB, which has no escapes and other signs for sets."""
    return "".join(_glob(part) for part in parts(pattern))


def _glob(part: Part) -> str:
    if isinstance(part, str):
        itself = part[-1]
        return f"[{itself}]" if len(part) > 1 and itself in "*?[" else itself
    if not part.ranges:
        return "?" if part.negated else "[b-a]"
    special, ranges = _apart(part.ranges)
    # GLOB takes "]" for itself at the beginning only, "-" at the end, "^" anywhere but first.
    first, second, last = (character if character in special else "" for character in "]^-")
    inside = f"{first}{''.join(ranges)}{second}{last}"
    if part.negated:
        return f"[^{inside}]"
    return {"^": "^", "^-": "[-^]"}.get(inside) or f"[{inside}]"


def _apart(ranges: list[tuple[str, str]]) -> tuple[set[str], list[str]]:
    """The special characters in *ranges*, and the ranges without them as `first-last`."""
    special, plain = set(), []
    for first, last in ranges:
        begin = first
        for character in sorted(c for c in _SPECIAL if first <= c <= last):
            special.add(character)
            if begin < character:
                plain.append(f"{begin}-{chr(ord(character) - 1)}")
            begin = chr(ord(character) + 1)
        if begin <= last:
            plain.append(f"{begin}-{last}")
    return special, plain
