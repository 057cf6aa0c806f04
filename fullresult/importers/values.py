"""Arguments and results as other programs keep them: JSON, reprs, pickles."""

from __future__ import annotations

import ast
import base64
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from fullresult.importers import pickles
from fullresult.importers.pickled_values import Name, NotRead, Opaque
from fullresult.record import encoding

_LONGEST_REPR = 64 * 1024
"""Characters of a repr that is read as a literal."""
_LARGEST = 64 * 1024 * 1024
_NO_ARGUMENTS: dict[str, Callable[[], Any]] = {"()": tuple, "{}": dict}
_PLAIN = frozenset({str, int, float, bool, type(None)})
_TYPE = "__type__"
"""By which kombu tells a date and the like from a dict."""
_CUT = "..."
"""What Celery puts in the place of what it leaves out of a repr."""
_EXCEPTION = re.compile(r"(?P<type>[\w.]+)\((?P<args>.*)\)\Z", re.DOTALL)


class Given(NamedTuple):
    """A value, as far as its source kept it."""

    value: Any = None
    text: str | None = None
    """A text that stands for the value; None if the value itself is known, or nothing is."""
    exact: bool = False
    """True if `value` is the value itself."""

    @classmethod
    def of(cls, value: Any) -> Given:
        """*value* itself, unless it holds an object that was not built."""
        return cls(text=encoding.safe_repr(value)) if _is_opaque(value) else cls(value, exact=True)


UNKNOWN = Given()


class Failed(NamedTuple):
    """An exception, by its name and its text."""

    kind: str | None
    message: str | None


def from_json(text: str | bytes) -> Any:
    """The value of JSON as kombu writes it. Raises `ValueError`."""
    shown = text.decode() if isinstance(text, bytes) else text
    value = encoding.loads(shown)
    if value is None and shown.strip() != "null":
        raise ValueError("it is no JSON")
    return value


def from_pickle(data: bytes) -> Any:
    """The plain value of a pickle. Raises `NotRead`, a `ValueError`."""
    return pickles.read(bytes(data))


def from_text(text: str) -> Any:
    """The value of a column that holds JSON, or a pickle as base64. Raises `ValueError`."""
    try:
        return from_json(text)
    except (ValueError, RecursionError):
        return from_base64(text)


def from_base64(text: str) -> Any:
    """The value of a pickle as base64, compressed or not. Raises `ValueError`."""
    try:
        data = base64.b64decode(text, validate=False)
    except ValueError as error:  # so is binascii.Error, which letters beyond ASCII do not raise
        raise NotRead(f"neither JSON nor a pickle: {error}") from None
    return from_pickle(_decompressed(data))


def _decompressed(data: bytes) -> bytes:
    if data[:1] != b"\x78":
        return data
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(data, _LARGEST)
    except zlib.error:
        return data
    if machine.unconsumed_tail:
        raise NotRead(f"a compressed pickle of more than {_LARGEST:,} bytes")
    return plain


def from_any(data: Any) -> Any:
    """The value of a column whose serializer is not known. Raises `ValueError`."""
    if isinstance(data, str):
        return from_text(data)
    raw = bytes(data)
    return from_pickle(raw) if raw[:1] == b"\x80" else from_serialised(raw)


def given_any(data: Any) -> Given:
    """The argument in such a column: that of JSON is exact. Raises `ValueError`."""
    if data in (None, b"", ""):
        return UNKNOWN
    value = from_any(data)
    is_json = data[:1] in (b"[", b"{", "[", "{")
    return Given(value, exact=True) if is_json else given_plain(value)


def from_serialised(data: bytes) -> Any:
    """The value of JSON, YAML or msgpack: what Celery's result serializers write."""
    try:
        return from_json(data)
    except (ValueError, RecursionError):
        pass
    for content_type in ("application/x-msgpack", "application/x-yaml"):
        value = _decoded(data, content_type)
        if value is not None:
            return value
    raise ValueError("neither JSON, YAML, msgpack nor a pickle")


def _decoded(data: bytes, content_type: str) -> Any:
    from kombu.serialization import loads

    encoded = "binary" if "msgpack" in content_type else "utf-8"
    try:
        return loads(data, content_type, encoded, accept=[content_type])
    except Exception:  # noqa: BLE001  (each library has errors of its own, or is not there)
        return None


def given_repr(text: str) -> Given:
    """A repr that is one whole literal is its value; any other is a text."""
    if text in _NO_ARGUMENTS:
        return Given(_NO_ARGUMENTS[text](), exact=True)
    if len(text) > _LONGEST_REPR or _CUT in text:
        return Given(text=text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return Given(text=text)
    return Given(value, exact=True) if _is_json(value) else given_plain(value, text)


def given_plain(value: Any, text: str | None = None) -> Given:
    """*value*, if JSON holds it without a change; otherwise *text*, by default its repr."""
    if value is None:
        return UNKNOWN
    if _is_opaque(value) or not _is_exact(value):
        return Given(text=encoding.safe_repr(value) if text is None else text)
    return Given(value, exact=True)


def as_arguments(given: Given, kind: type | tuple[type, ...]) -> Given:
    """*given*, unless its value is not of *kind*: then there is only a text of it.

    A source has whatever was put there, such as an `argsrepr` of the caller's own.
    """
    if not given.exact or isinstance(given.value, kind):
        return given
    return Given(text=encoding.safe_repr(given.value))


def _is_json(value: Any) -> bool:
    """True if JSON surely holds *value* without a change, which is cheaper than to try."""
    waiting = list(value) if type(value) is tuple else [value]
    for item in waiting:
        kind = type(item)
        if kind is list:
            waiting.extend(item)
        elif kind is dict:
            if _TYPE in item or not all(type(name) is str for name in item):
                return False
            waiting.extend(item.values())
        elif kind not in _PLAIN:
            return False
    return value is not None


def _is_exact(value: Any) -> bool:
    try:
        again = encoding.loads(encoding.dumps(value))
    except encoding.Unstorable:
        return False
    # As JSON has no tuples, the arguments themselves may be one; what is in them may not.
    outer = list(value) if isinstance(value, tuple) else value
    return repr(again) == repr(outer)


def _is_opaque(value: Any) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (Opaque, Name)):
            return True
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple, set)):
            waiting.extend(item)
    return False


def failed_of(value: Any) -> Failed:
    """The exception that *value* is kept for: Celery's dict, a pickled exception, or its repr."""
    if isinstance(value, dict) and "exc_type" in value:
        kind, module = value.get("exc_type"), value.get("exc_module")
        known = str(kind) if module in (None, "builtins", "__builtin__") else f"{module}.{kind}"
        return Failed(known, _message(str(kind), value.get("exc_message")))
    if isinstance(value, Opaque):
        return _of_pickled(value)
    if isinstance(value, str):
        return of_repr(value)
    return Failed(None, None if value is None else encoding.safe_repr(value))


def _of_pickled(value: Opaque) -> Failed:
    args = value.args if isinstance(value.args, tuple) else ()
    name = value.name
    if str(name).endswith("UnpickleableExceptionWrapper") and len(args) > 2:  # noqa: PLR2004
        module, kind, given = args[:3]
        shown = args[3] if len(args) > 3 else _message(str(kind), given)  # noqa: PLR2004
        known = str(kind) if module == "builtins" else f"{module}.{kind}"
        return Failed(known, None if shown is None else str(shown))
    return Failed(str(name), _message(str(name), args))


def _message(kind: str, args: Any) -> str | None:
    """The text that `str` has for an exception of this class with these arguments."""
    if args is None:
        return None
    if not isinstance(args, (list, tuple)):
        return encoding.safe_str(args)
    if not args:
        return ""
    if len(args) > 1:
        return encoding.safe_repr(tuple(args))
    return encoding.safe_repr(args[0]) if kind == "KeyError" else encoding.safe_str(args[0])


def of_repr(text: str) -> Failed:
    """The exception of a repr such as `ValueError('no')`."""
    found = _EXCEPTION.match(text)
    if found is None:
        return Failed(None, text)
    try:
        args = ast.literal_eval(f"({found['args']},)" if found["args"] else "()")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return Failed(found["type"], found["args"])
    return Failed(found["type"], _message(found["type"], args))


def children_of(value: Any) -> list[Any]:
    """Ids, and groups as [group id, [ids]], of results as tuples, or pickled as objects."""
    if not isinstance(value, (list, tuple)):
        return []
    return [child for each in value if (child := _child(each)) is not None]


def members_of(value: Any) -> list[Any]:
    """The members, as `children_of` has them, of a group's result: a tuple, or pickled."""
    if isinstance(value, Opaque):
        group = _of_result(value)
        return group[1] if isinstance(group, list) else []
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], str):
        return children_of(value[1] if len(value) > 1 else ())
    return [encoding.key(each) for each in value or () if isinstance(each, str)]


def _child(value: Any) -> Any:
    if isinstance(value, Opaque):
        return _of_result(value)
    if not isinstance(value, (list, tuple)) or not value:
        return None
    identity, members = value[0], value[1] if len(value) > 1 else None
    task_id = identity[0] if isinstance(identity, (list, tuple)) and identity else identity
    if not isinstance(task_id, str):
        return None
    if members is None:
        return encoding.key(task_id)
    return [encoding.key(task_id), children_of(members)]


def _of_result(value: Opaque) -> Any:
    """The child of a pickled `AsyncResult` or `GroupResult`."""
    kind, args = str(value.name), value.args if isinstance(value.args, tuple) else ()
    if kind.endswith("_unpickle_appattr") and len(args) == 2 and isinstance(args[1], tuple):  # noqa: PLR2004
        kind, args = str(args[0]), args[1]  # results are classes of an app
    if not args or not isinstance(args[0], str):
        return None
    if kind.endswith("GroupResult"):
        return [encoding.key(args[0]), children_of(args[1] if len(args) > 1 else ())]
    return encoding.key(args[0])
