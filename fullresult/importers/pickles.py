"""Pickles read as data: nothing that they name is imported, built or called.

Plain values come out as they are; of anything else come out its name and its arguments.
"""

from __future__ import annotations

import pickletools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from fullresult.importers.pickled_values import (
    UUID,
    FilledSet,
    NotRead,
    Opaque,
    key_of,
    made,
    name_of,
)
from fullresult.record.interruptions import spare

_LARGEST = 64 * 1024 * 1024
"""Bytes of a pickle that is read."""
_MOST = 1_000_000
"""Values in one pickle, each counted as often as it is shown: a small one may stand for many."""
_DEEPEST = 100
_MARK = object()


def read(data: bytes) -> Any:
    """The value of the pickle *data*. Raises `NotRead`."""
    return plain(follow(data, _LARGEST))


def follow(data: bytes, largest: int) -> Any:
    """As `read`, but the value may be endless: `plain` is for its parts. Raises `NotRead`."""
    if len(data) > largest:
        raise NotRead(f"a pickle of {len(data):,} bytes")
    try:
        return _Machine().run(data)
    except NotRead:
        raise
    except Exception as error:  # noqa: BLE001  (a broken pickle may break anything here)
        spare(error)
        raise NotRead(f"a broken pickle: {type(error).__name__}") from None


def plain(value: Any) -> Any:
    """*value* without loops, of bounded size and depth. Raises `NotRead`."""
    return _Plain(_MOST).of(value, 0)


class _Machine:
    """Follows the opcodes of a pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            name = opcode.name
            if name == "STOP":
                return self._stack.pop()
            if name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _LITERALS:
                self._stack.append(argument)
            else:
                _OPS[name](self, argument)
        raise NotRead("a pickle without an end")

    # ---- the stack

    def _since_mark(self) -> list[Any]:
        stack = self._stack
        for index in range(len(stack) - 1, -1, -1):
            if stack[index] is _MARK:
                items = stack[index + 1 :]
                del stack[index:]
                return items
        raise NotRead("a broken pickle: no mark")

    def mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def pop(self, _: Any) -> None:
        self._stack.pop()

    def pop_mark(self, _: Any) -> None:
        self._since_mark()

    def dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def nothing(self, _: Any) -> None:
        """PROTO, FRAME, and what says only how a buffer is kept."""

    # ---- the memo

    def memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    # ---- containers

    def empty_list(self, _: Any) -> None:
        self._stack.append([])

    def empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def empty_set(self, _: Any) -> None:
        self._stack.append(FilledSet())

    def append(self, _: Any) -> None:
        item = self._stack.pop()
        self._extend([item])

    def appends(self, _: Any) -> None:
        items = self._since_mark()
        self._extend(items)

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def set_items(self, _: Any) -> None:
        items = self._since_mark()
        self._update(items)

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Opaque):  # a subclass of dict
            target.state = _state_with(target.state, _pairs(items))
        elif isinstance(target, dict):
            target.update(_pairs(items))

    def list_(self, _: Any) -> None:
        self._stack.append(self._since_mark())

    def dict_(self, _: Any) -> None:
        self._stack.append(dict(_pairs(self._since_mark())))

    def tuple_(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def frozenset_(self, _: Any) -> None:
        self._stack.append(FilledSet(self._since_mark()))

    def tuple_of(self, number: int) -> None:
        items = self._stack[-number:]
        del self._stack[-number:]
        self._stack.append(tuple(items))

    # ---- objects

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(name_of(module, name))

    def stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise NotRead("a broken pickle: a name that is no text")
        self._stack.append(name_of(module, name))

    def reduce(self, _: Any) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        self._stack.append(made(function, args))

    def new_object(self, _: Any) -> None:
        self.reduce(None)

    def new_object_ex(self, _: Any) -> None:
        kwargs, args, function = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._stack.append(made(function, (args, kwargs) if kwargs else args))

    def object_(self, _: Any) -> None:
        function, *args = self._since_mark()
        self._stack.append(made(function, tuple(args)))

    def instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(made(name_of(module, name), tuple(self._since_mark())))

    def build(self, _: Any) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, Opaque):
            target.state = _state_with(target.state, state)
            if target.name == UUID and isinstance(state, dict):
                self._stack[-1] = uuid.UUID(int=state["int"])
                self._replace(target, self._stack[-1])

    def _replace(self, old: Any, new: Any) -> None:
        """A later reference is to the object as it is now."""
        for index, known in self._memo.items():
            if known is old:
                self._memo[index] = new

    def refused(self, _: Any) -> None:
        raise NotRead("a pickle that refers to something outside it")


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    for index in range(0, len(items) - 1, 2):
        yield key_of(items[index]), items[index + 1]


def _state_with(known: Any, more: Any) -> Any:
    more = dict(more) if isinstance(more, Iterator) else more
    return {**known, **more} if isinstance(known, dict) and isinstance(more, dict) else more


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"}
    | {"BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_OPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER"), _Machine.nothing),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(
        ("PERSID", "BINPERSID", "NEXT_BUFFER", "EXT1", "EXT2", "EXT4"), _Machine.refused
    ),
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.dup,
    "MEMOIZE": _Machine.memoize,
    "EMPTY_LIST": _Machine.empty_list,
    "EMPTY_DICT": _Machine.empty_dict,
    "EMPTY_SET": _Machine.empty_set,
    "EMPTY_TUPLE": lambda machine, _: machine._stack.append(()),  # noqa: SLF001
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "LIST": _Machine.list_,
    "DICT": _Machine.dict_,
    "TUPLE": _Machine.tuple_,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "FROZENSET": _Machine.frozenset_,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "NEWOBJ_EX": _Machine.new_object_ex,
    "OBJ": _Machine.object_,
    "INST": _Machine.instance,
    "BUILD": _Machine.build,
}


class _Plain:
    """Copies a value without loops, of bounded size and depth."""

    def __init__(self, most: int) -> None:
        self._left = most

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise NotRead("a pickle of too many values, or nested too deeply")
        kind = type(value)
        if kind is dict:
            return {key: self.of(each, depth + 1) for key, each in value.items()}
        if kind is list:
            return [self.of(each, depth + 1) for each in value]
        if kind is tuple:
            return tuple(self.of(each, depth + 1) for each in value)
        if kind is FilledSet:
            return _hashable_set([self.of(each, depth + 1) for each in value])
        if kind is Opaque:
            value.args = self.of(value.args, depth + 1)
            value.state = self.of(value.state, depth + 1)
        return value


def _hashable_set(items: list[Any]) -> Any:
    try:
        return set(items)
    except TypeError:
        return items
