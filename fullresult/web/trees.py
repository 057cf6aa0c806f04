"""A value as a tree to unfold, of bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fullresult.insight.document import plain
from fullresult.record import encoding
from fullresult.web.shown import block, line

_MOST, _DEEPEST, _LONGEST = 1500, 40, 4000
"""Nodes, levels, and characters of one text."""
_LONGEST_COPY = 200_000
_SMALL = 60
_LONG_TEXT = 200


class Node(NamedTuple):
    """One value, and its label."""

    label: str | None
    kind: str
    """`text`, `number`, `word`, `list`, `dict`, or `cut` where something is not shown."""
    text: str
    children: tuple[Node, ...] = ()
    unfolded: bool = False

    @property
    def is_long(self) -> bool:
        return len(self.text) > _LONG_TEXT or "\n" in self.text


class Tree(NamedTuple):
    """A value for a page: as a tree, and as JSON to copy."""

    root: Node
    json: str
    whole: bool
    """True if `json` is the whole value."""


def tree_of(value: Any) -> Tree:
    """*value* as a tree; it may be any value of a record."""
    harmless = plain(value)
    text = _json(harmless)
    return Tree(
        _Grower().node(None, harmless, 0),
        encoding.clip(text, _LONGEST_COPY),
        len(text) <= _LONGEST_COPY,
    )


def _json(value: Any) -> str:
    try:
        return written(value)
    except (ValueError, RecursionError) as error:
        return f"cannot be shown: {error}"


def written(value: Any) -> str:
    """*value* as JSON for people, with escapes for characters that cannot be seen."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if text.replace("\n", "").isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return json.dumps(character)[1:-1] if not character.isascii() else f"\\u{ord(character):04x}"


class _Grower:
    """Makes up to 1,500 nodes."""

    def __init__(self) -> None:
        self._left = _MOST

    def node(self, label: str | None, value: Any, depth: int) -> Node:
        self._left -= 1
        if isinstance(value, Mapping):
            pairs = ((line(key, 100), item) for key, item in value.items())
            return self._branch(label, "dict", pairs, len(value), depth)
        if isinstance(value, list):
            items = ((str(index), item) for index, item in enumerate(value))
            return self._branch(label, "list", items, len(value), depth)
        if isinstance(value, str):
            return Node(label, "text", block(value, _LONGEST))
        if value is None or isinstance(value, bool):
            return Node(label, "word", {None: "null", True: "true", False: "false"}[value])
        return Node(label, "number", encoding.clip(_number(value), _LONG_TEXT))

    def _branch(
        self, label: str | None, kind: str, items: Iterable[tuple[str, Any]], size: int, depth: int
    ) -> Node:
        if depth >= _DEEPEST:
            return Node(label, "cut", "… nested too deeply to show")
        children: list[Node] = []
        for key, item in items:
            if self._left <= 0:
                left = size - len(children)
                children.append(Node(None, "cut", f"… {left:,} more are not shown"))
                break
            children.append(self.node(key, item, depth + 1))
        unfolded = depth == 0 or size <= _SMALL
        return Node(label, kind, f"{size:,}", tuple(children), unfolded)


def _number(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # It has more digits than Python prints.
        return "a very large number"
