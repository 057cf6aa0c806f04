"""Disguises: the ways in which a hidden value may stand in the text of an error.

Found are a value's repr, its JSON, what a URL makes of it, its bytes, hexadecimal digits and
base64, in upper and lower case. Not found are parts of it, and what was computed from it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

from fullresult.recording.masking import MARK

SHORTEST = 4
"""Characters of a hidden value for it to be looked for: `0` is found everywhere."""
_SHORTEST_CODE = 8
"""Of digits, of base64, and of one line among several: shorter ones stand there by chance."""
MOST = 2_000
"""Hidden values of one task. Of more the whole text is hidden: to look takes too long."""
MOST_LOOKS = 2_000_000_000
"""Characters compared for one error, about 0.2 s. Texts that are left then are hidden whole."""
_A_LOOK = 1_000
"""The fixed cost of one search, in characters."""
_PREPARING = 32
"""The cost of preparing a search, in characters for each character of the form."""

_Quote = Callable[[str], str]
_QUOTES: tuple[_Quote, ...] = (
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
)
_TO_URLSAFE = str.maketrans("+/", "-_")


class _TooLong(Exception):
    """To look for all hidden values would take too long."""


def hider(values: Iterable[str]) -> Callable[[str], str]:
    """Puts a mark in the place of each of *values* in a text, whatever disguise it wears."""
    known = {value for value in values if len(value) >= SHORTEST}
    if len(known) > MOST:
        return lambda _: MARK
    search = _Search({_lower(form) for value in known for form in forms(value)})

    @lru_cache  # The keys of many rows are the same few texts.
    def hide(text: str) -> str:
        try:
            places = sorted(search.places(_lower(text)))
        except _TooLong:
            return MARK
        return _marked(text, places) if places else text

    return hide


class _Search:
    """Looks for *forms* in the texts of one error, for as long as `MOST_LOOKS` allows."""

    def __init__(self, forms: Collection[str]) -> None:
        self._forms = forms
        self._left = MOST_LOOKS

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the forms are in *text*, overlapping ones too. Raises `_TooLong`."""
        self._pay(len(self._forms) * (len(text) + _A_LOOK))
        for form in self._forms:
            at = text.find(form)
            while at >= 0:
                self._pay(len(form) * _PREPARING + _A_LOOK)
                yield at, at + len(form)
                at = text.find(form, at + 1)

    def _pay(self, looks: int) -> None:
        self._left -= looks
        if self._left < 0:
            raise _TooLong


def forms(value: str) -> set[str]:
    """*value* as it may be written."""
    lines = [line.strip() for line in value.splitlines()]
    parts = {value, *(line for line in lines if len(line) >= _SHORTEST_CODE)}
    found: set[str] = set()
    for part in parts:
        once = {part, *(quoted(part) for quoted in _QUOTES)}
        found |= once | {quoted(each) for each in once for quoted in _QUOTES}
        found |= {quote(part, safe="", errors="replace"), quote(part, errors="replace")}
        found.add(quote_plus(part, errors="replace"))
        found.update(_of_bytes(part.encode(errors="replace")))
    return found


def _of_bytes(data: bytes) -> Iterator[str]:
    yield repr(data)[2:-1]
    codes = [data.hex(), *_base64(data)]
    for code in codes:
        if len(code) >= _SHORTEST_CODE:
            yield code
            yield code.translate(_TO_URLSAFE)


def _base64(data: bytes) -> Iterator[str]:
    """The characters that *data* makes by itself, wherever in a group of three it begins."""
    for shift in range(3):
        text = b64encode(bytes(shift) + data).decode()
        yield text[-(-8 * shift // 6) : 8 * (shift + len(data)) // 6]


def _lower(text: str) -> str:
    """*text* in lower case, each character in its place."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := each.lower()) == 1 else each for each in text)


def _marked(text: str, places: list[tuple[int, int]]) -> str:
    """*text* with one mark for all places that overlap."""
    parts, done = [], 0
    for begin, end in _merged(places):
        parts += [text[done:begin], MARK]
        done = end
    return "".join([*parts, text[done:]])


def _merged(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in places:
        if merged and begin < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged
