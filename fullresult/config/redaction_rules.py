"""Reading the rules of `fullresult_redact`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fullresult.record import encoding

Redact = Callable[[str, Sequence[Any], Mapping[str, Any]], tuple[Sequence[Any], Mapping[str, Any]]]
"""`(name, args, kwargs) -> (args, kwargs)`: the arguments of a task as they may be kept."""


class PathRule(NamedTuple):
    """Hides the values at a path in the arguments and results of tasks."""

    name: str
    """A glob of task names."""
    path: Path


Rule = PathRule | re.Pattern[str] | Redact


def read_rules(value: object) -> tuple[Rule, ...]:
    """The rules in *value*. Raises `ValueError` that names what is no rule."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(map(_read_rule, value))
    return (_read_rule(value),)


def _read_rule(value: Any) -> Rule:
    if isinstance(value, str):
        return _read_path(value)
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            return value
    elif callable(value):
        function: Redact = value
        return function
    raise ValueError(f"{encoding.safe_repr(value)[:100]} is no rule")


def _read_path(text: str) -> PathRule:
    name, colon, path = text.partition(":")
    if not colon:
        name, path = "*", text
    levels = tuple(path.split("."))
    if not name or not all(levels):
        raise ValueError(f"{text!r} has an empty part")
    if levels[-1] == "**":
        levels = (*levels[:-1], "*")  # hiding the value above hides all inside
    return PathRule(name, levels)


Path = tuple[str, ...]
"""Names or globs, one for each level; `**` stands for any number of levels."""
