"""Globs, as `fnmatch` reads them, as MongoDB's regular expressions."""

from __future__ import annotations

_LAST = "\U0010ffff"
_SURROGATES, _BEYOND = 0xD800, "\ue000"


def bounds(pattern: str) -> tuple[str, str | None]:
    """The least text that *pattern* may match, and one that is greater than any (None: none is)."""
    first = pattern[: min((pattern + "*?[").index(sign) for sign in "*?[")]
    if not first or first[-1] == _LAST:
        return first, None
    after = ord(first[-1]) + 1
    # No database holds the surrogates that come next.
    return first, first[:-1] + (_BEYOND if after == _SURROGATES else chr(after))


def as_regex(pattern: str) -> str:
    """A regular expression for whole texts, to be used with the option `s`."""
    return f"^{''.join(_parts(pattern))}\\z"


def containing(text: str) -> str:
    """A regular expression for texts that contain *text*, its ASCII letters in either case."""
    return "".join(map(_in_any_case, text))


def _in_any_case(character: str) -> str:
    # Not the option "i", which knows the cases of other letters as well.
    if character.isascii() and character.isalpha():
        return f"[{character.lower()}{character.upper()}]"
    return _itself(character)


def _parts(pattern: str) -> list[str]:
    parts, index = [], 0
    while index < len(pattern):
        character = pattern[index]
        end = _closing(pattern, index) if character == "[" else -1
        if end > 0:
            parts.append(_one_of(pattern[index + 1 : end]))
            index = end
        else:
            parts.append({"*": ".*", "?": "."}.get(character) or _itself(character))
        index += 1
    return parts


def ending(text: str) -> str:
    """A regular expression for *text*, also behind a dot of something longer."""
    return f"(?:^|\\.){''.join(map(_itself, text))}\\Z"


def _closing(pattern: str, opening: int) -> int:
    """Where the set that begins at *opening* ends; -1 where it does not."""
    first = opening + (2 if pattern[opening + 1 : opening + 2] == "!" else 1)
    return pattern.find("]", first + 1)


def _one_of(inside: str) -> str:
    negated = inside.startswith("!")
    ranges = "".join(_ranges(inside[1:] if negated else inside))
    if not ranges:
        return "." if negated else "(?!)"
    return f"[^{ranges}]" if negated else f"[{ranges}]"


def _ranges(left: str) -> list[str]:
    """Those that have a character at all."""
    found = []
    while left:
        first, is_range = left[0], left[1:2] == "-" and left[2:] != ""
        last = left[2] if is_range else first
        if first <= last:
            found.append(f"{_itself(first)}-{_itself(last)}")
        left = left[3:] if is_range else left[1:]
    return found


def _itself(character: str) -> str:
    if character == "\0":  # it would end the expression
        return "\\x00"
    return character if character.isalnum() or character in "_ " else f"\\{character}"
