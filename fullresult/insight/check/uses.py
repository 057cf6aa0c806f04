"""Uses: how messages call tasks, told apart by what a check looks at and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from fullresult.record import TaskRecord
from fullresult.record.shape import Shape

_EACH = {"celery.map": False, "celery.starmap": True, "celery.chunks": True}
"""Celery's tasks that call another one for each item; True if an item is all its arguments."""
_GROUPS = ("celery.group", "celery.chain", "celery.chord")
_DEEPEST = 50
_ITEMS = 1_000
"""Items of a `celery.map` that are looked at."""


class Use(NamedTuple):
    """One way in which tasks are called."""

    how: str
    """`message`, `link`, `errback`, `chain step`, `chord body`, `item`, `periodic entry`."""
    name: str
    positional: tuple[int, ...] | None
    """The numbers of positional arguments with which it may be called; None: not known."""
    keywords: tuple[str, ...] | None
    queue: str | None = None
    content_type: str | None = None
    compression: str | None = None
    protocol: int = 2
    caller: str | None = None
    """The task whose message has it."""


Values = tuple[Any, Any] | None
"""The arguments of a call, without those that what comes before it gives; None: not known."""
Called = tuple[Use, Values]


@dataclass
class Tally:
    """Who calls a task in one way."""

    count: int = 0
    example: str | None = None
    newest: datetime | None = None
    first_due: datetime | None = None
    samples: tuple[tuple[Any, Any], ...] = ()
    """The arguments of some of them, as far as they are known."""

    def add(self, shape: Shape, values: tuple[Any, Any] | None, most: int) -> None:
        """Add the records of *shape*; *values* are its arguments, of which *most* are kept."""
        self.count += shape.number
        self.example = self.example or shape.example
        self.newest = max(filter(None, (self.newest, shape.newest)), default=None)
        self.first_due = min(filter(None, (self.first_due, shape.first_due)), default=None)
        if values is not None and len(self.samples) < most:
            self.samples += (values,)


def of_message(shape: Shape) -> Use:
    """How the messages of *shape* call their task."""
    known = shape.positional is not None and shape.keywords is not None
    return Use(
        "message",
        str(shape.name),
        (shape.positional,) if known and shape.positional is not None else None,
        shape.keywords if known else None,
        shape.queue,
        shape.content_type,
        shape.compression,
        shape.protocol,
    )


def of_links(record: TaskRecord) -> Iterator[Called]:
    """How the tasks are called that the message of *record* carries."""
    name, embed = record.name, record.embed
    for how, part, prefix in (("link", "callbacks", (1,)), ("errback", "errbacks", (1, 3))):
        for signature in _list(embed.get(part)):
            yield from _of_signature(signature, how, prefix, name, 0)
    for signature in _list(embed.get("chain")):
        yield from _of_signature(signature, "chain step", (1,), name, 0)
    yield from _of_signature(embed.get("chord"), "chord body", (1,), name, 0)
    yield from _of_arguments(record)


def _of_arguments(record: TaskRecord) -> Iterator[Called]:
    """The calls that Celery's own tasks have in their arguments."""
    kwargs = record.kwargs
    if record.name in _EACH and isinstance(kwargs, Mapping):
        yield from _of_items(kwargs, record.name, record.name)
    elif record.name in _GROUPS and isinstance(kwargs, Mapping):
        inside = {"task": record.name, "args": record.args, "kwargs": kwargs}
        yield from _of_group(inside, (0,), record.name, 0)


def _of_items(kwargs: Mapping[str, Any], name: str, caller: str | None) -> Iterator[Called]:
    inner, items = kwargs.get("task"), kwargs.get("it")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("task"), str):
        return
    known = [*_list(items)[:_ITEMS]]
    first: dict[int, Values] = {1: ([known[0]], {}) if known else None}
    if _EACH[name]:
        several = [list(item) for item in known if isinstance(item, (list, tuple))]
        first = {len(item): (item, {}) for item in reversed(several)}
    for size, values in sorted(first.items()):
        yield Use("item", inner["task"], (size,), (), caller=caller), values


def _of_signature(
    signature: Any, how: str, prefix: tuple[int, ...], caller: str | None, depth: int
) -> Iterator[Called]:
    """*prefix*: the numbers of arguments that come before its own."""
    if not isinstance(signature, Mapping) or depth > _DEEPEST:
        return
    name, kwargs = signature.get("task"), signature.get("kwargs") or {}
    if not isinstance(name, str):
        return
    before = (0,) if signature.get("immutable") else prefix
    if name in _GROUPS:
        yield from _of_group(signature, before, caller, depth + 1)
    elif name in _EACH:
        yield from _of_items(kwargs, name, caller)
    else:
        yield _own(signature, how, before, caller), _values(signature)
    options = signature.get("options")
    yield from _of_options(options if isinstance(options, Mapping) else {}, caller, depth + 1)


def _own(
    signature: Mapping[str, Any], how: str, before: tuple[int, ...], caller: str | None
) -> Use:
    args, kwargs = signature.get("args"), signature.get("kwargs") or {}
    options = signature.get("options")
    queue = options.get("queue") if isinstance(options, Mapping) else None
    own = len(args) if isinstance(args, (list, tuple)) else 0
    keywords = tuple(sorted(map(str, kwargs))) if isinstance(kwargs, Mapping) else None
    numbers = tuple(number + own for number in before)
    shown = queue if isinstance(queue, str) else None
    return Use(how, str(signature["task"]), numbers, keywords, queue=shown, caller=caller)


def _values(signature: Mapping[str, Any]) -> Values:
    args, kwargs = signature.get("args") or [], signature.get("kwargs") or {}
    known = isinstance(args, (list, tuple)) and isinstance(kwargs, Mapping)
    return ([*args], dict(kwargs)) if known else None


def _of_options(options: Mapping[str, Any], caller: str | None, depth: int) -> Iterator[Called]:
    for how, part, prefix in (("link", "link", (1,)), ("errback", "link_error", (1, 3))):
        for signature in _list(options.get(part)):
            yield from _of_signature(signature, how, prefix, caller, depth)
    for signature in _list(options.get("chain")):
        yield from _of_signature(signature, "chain step", (1,), caller, depth)
    yield from _of_signature(options.get("chord"), "chord body", (1,), caller, depth)


def _of_group(
    signature: Mapping[str, Any], before: tuple[int, ...], caller: str | None, depth: int
) -> Iterator[Called]:
    """The members of a group, the steps of a chain, the header and the body of a chord."""
    kwargs = signature.get("kwargs") or {}
    if not isinstance(kwargs, Mapping):
        return
    if signature.get("task") == "celery.chord":
        header = kwargs.get("header")
        members = header.get("kwargs", {}).get("tasks") if isinstance(header, Mapping) else header
        for member in _list(members):
            yield from _of_signature(member, "link", before, caller, depth)
        yield from _of_signature(kwargs.get("body"), "chord body", (1,), caller, depth)
        return
    tasks = _list(kwargs.get("tasks"))
    for number, member in enumerate(tasks):
        follows = signature.get("task") == "celery.chain" and number
        how, prefix = ("chain step", (1,)) if follows else ("link", before)
        yield from _of_signature(member, how, prefix, caller, depth)


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def shapes_of(records: Iterable[TaskRecord]) -> Iterator[tuple[Shape, TaskRecord]]:
    """The shape of each record by itself."""
    for record in records:
        if record.message is not None and record.name is not None:
            yield Shape.of(record), record
