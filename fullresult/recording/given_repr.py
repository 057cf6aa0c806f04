"""The repr of arguments that a publisher gave: whether each value can be read in it.

Programs in other languages write it as JSON or in a way of their own; and a value may look
different once it has been through JSON. Neither hides anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from itertools import islice
from typing import Any

from fullresult.record import encoding

_LONGEST = 2_048
"""Celery cuts a repr at about 1,024 characters; the time that this takes grows with the square."""
_NOTHING = ("None", "null", "nil")


def tells_all(given: str, value: Any) -> bool:
    """True if every value in *value*, keys too, stands in *given*, each at a place of its own."""
    if len(given) > _LONGEST:
        return False
    values = list(islice(_values(value), len(given) + 1))
    if len(values) > len(given):
        return False
    for forms in sorted(values, key=_longest, reverse=True):
        places = ((_place(form, given), len(form)) for form in forms)
        place, length = next((each for each in places if each[0] is not None), (None, 0))
        if place is None:
            return False
        given = f"{given[:place]}\0{given[place + length :]}"
    return True


def _longest(forms: tuple[str, ...]) -> int:
    return max(map(len, forms))


def _values(value: Any) -> Iterator[tuple[str, ...]]:
    """The forms in which each value in *value* may be written; of an empty text there are none."""
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, (list, tuple, set, frozenset)):
            waiting += item
        elif not isinstance(item, str) or item:
            yield tuple(_forms(item))


def _forms(value: Any) -> Iterable[str]:
    if value is None:
        return _NOTHING
    if isinstance(value, str) and len(value) > _LONGEST:
        return (value,)
    if isinstance(value, str):
        whole = (repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False))
        return dict.fromkeys((value, *(each[1:-1] for each in whole)))
    if isinstance(value, (datetime, time)):
        # JSON keeps the offset and not the time zone, which is the last argument of the repr.
        return (value.isoformat(), repr(value.replace(tzinfo=None))[:-1])
    if isinstance(value, date):
        return (value.isoformat(), repr(value))
    text = encoding.safe_str(value)
    return (text, encoding.safe_repr(value), text.lower())


def _place(form: str, given: str) -> int | None:
    """Where *form* stands in *given* and is not a part of a longer word or number."""
    place = given.find(form)
    while place >= 0:
        end = place + len(form)
        if not (
            _joined(given[:place][-2:], form[:1]) or _joined(given[end : end + 2][::-1], form[-1:])
        ):
            return place
        place = given.find(form, place + 1)
    return None


def _joined(beside: str, edge: str) -> bool:
    """True if *edge*, at one end of a form, goes on in *beside*, whose last character is next."""
    if not edge.isalnum() or not beside:
        return False
    is_decimal = beside[-1] == "." and beside[:1].isdigit()
    return beside[-1].isalnum() or beside[-1] == "_" or is_decimal
