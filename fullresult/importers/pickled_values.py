"""What a pickle names, and the plain values among it. Nothing is imported to make them."""

from __future__ import annotations

import codecs
import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

_PYTHON_2 = {"__builtin__": "builtins", "exceptions": "builtins", "copy_reg": "copyreg"}


_KEYS = (str, bytes, int, float, decimal.Decimal, uuid.UUID, dt.date, dt.timedelta)


class NotRead(ValueError):
    """The pickle is not read; the error says why."""


class Name(NamedTuple):
    """A class or function that a pickle names. It is not looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return self.name if self.module == "builtins" else f"{self.module}.{self.name}"


class Opaque:
    """An object of a class that is not built."""

    __slots__ = ("args", "name", "state")

    def __init__(self, name: Any, args: Any) -> None:
        self.name = name
        self.args = args
        self.state: Any = None

    def __repr__(self) -> str:
        return f"<pickled {self.name}: not read>"

    __hash__ = None  # type: ignore[assignment]


class FilledSet(list[Any]):
    """A set as it is filled: what is in it may not be hashable."""


def name_of(module: str, name: str) -> Name:
    return Name(_PYTHON_2.get(module, module), name)


UUID = Name("uuid", "UUID")
_NAMELESS = Name("pickle", "an object without a class")


def made(function: Any, args: Any) -> Any:
    """What *function* of *args* is, if it makes a plain value; else an `Opaque`."""
    make = _PLAIN.get(function) if isinstance(function, Name) else None
    if make is not None and isinstance(args, tuple):
        try:
            return make(*args)
        except (TypeError, ValueError, ArithmeticError, LookupError):
            pass  # a date in a time zone that is not known, for one
    return Opaque(function if isinstance(function, Name) else _NAMELESS, args)


def _bytes(value: Any) -> Any:
    """Python 2 pickled bytes as text."""
    return value.encode("latin-1") if isinstance(value, str) else value


def _only_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):  # a number would be a length, and bytes of it
        raise TypeError(type(value))
    return value


def _only_text(value: Any) -> str:
    if not isinstance(value, str):  # the text of nested lists may have no end
        raise TypeError(type(value))
    return value


def key_of(key: Any) -> Any:
    """*key*; a text for one that has parts, which may take for ever to be hashed."""
    return key if key is None or isinstance(key, _KEYS) else f"<pickled {type(key).__name__}>"


def _mapping(items: Any) -> dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else items
    return {key_of(key): value for key, value in pairs}


def _encoded(text: str, encoding: str = "utf-8") -> bytes:
    """`_codecs.encode`, by which protocol 2 has bytes."""
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise NotRead(f"a pickle that names the codec {encoding!r}")
    return codecs.encode(text, encoding)


def _dated(kind: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: kind(*map(_bytes, args[:1]), *args[1:])


def _copied(kind: Any, _: Any = None, __: Any = None) -> Any:
    """`copyreg._reconstructor`: an object of the class *kind*, without its state."""
    return Opaque(kind, ())


_PLAIN: dict[Name, Callable[..., Any]] = {
    Name("builtins", "set"): lambda items=(): FilledSet(items),
    Name("builtins", "frozenset"): lambda items=(): FilledSet(items),
    Name("builtins", "list"): lambda items=(): list(items),
    Name("builtins", "dict"): lambda items=(): _mapping(items),
    Name("builtins", "tuple"): lambda items=(): tuple(items),
    Name("builtins", "complex"): complex,
    Name("builtins", "bytearray"): lambda data=b"", _="": _only_bytes(_bytes(data)),
    Name("builtins", "bytes"): lambda data=b"": _only_bytes(data),
    Name("_codecs", "encode"): _encoded,
    Name("collections", "OrderedDict"): lambda items=(): _mapping(items),
    Name("collections", "defaultdict"): lambda _=None, items=(): _mapping(items),
    Name("datetime", "datetime"): _dated(dt.datetime),
    Name("datetime", "date"): _dated(dt.date),
    Name("datetime", "time"): _dated(dt.time),
    Name("datetime", "timedelta"): dt.timedelta,
    Name("datetime", "timezone"): dt.timezone,
    Name("zoneinfo", "ZoneInfo._unpickle"): lambda key, _=1: _zone(key),
    Name("pytz", "_UTC"): lambda: dt.timezone.utc,
    Name("django.utils.timezone", "UTC"): lambda: dt.timezone.utc,
    Name("django.utils.timezone", "<UTC>"): lambda: dt.timezone.utc,
    Name("kombu.utils.compat", "utc"): lambda: dt.timezone.utc,
    Name("decimal", "Decimal"): lambda text: decimal.Decimal(_only_text(text)),
    UUID: lambda text=None: Opaque(UUID, ()) if text is None else uuid.UUID(text),
    Name("uuid", "SafeUUID"): lambda value=None: value,
    Name("copyreg", "_reconstructor"): _copied,
}


def _zone(key: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(_only_text(key))
