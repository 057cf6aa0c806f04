"""The fingerprint of a failure: failures with the same one have the same cause, as far as is seen.

It is made of the task's name, of each exception's type and of the functions it came through. Line
numbers, messages and arguments are left out, so that it outlives an edit and a release.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from types import TracebackType
from typing import NamedTuple

from celery.utils.serialization import UnpickleableExceptionWrapper

from fullresult.record import encoding
from fullresult.record.interruptions import spare

SCHEME = "1"
"""The number of the way in which fingerprints are made; it stands before each."""
_FRAMES = 12
_CHAIN = 8
_OURS = frozenset({"celery", "billiard", "kombu", "fullresult"})
"""Packages that run tasks, wherever they lie."""
_INLINED = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
"""Functions that Python has no more since 3.12."""
_STANDARD = tuple({sysconfig.get_path(name) + "/" for name in ("stdlib", "platstdlib")})
_INSTALLED = re.compile(r"[\\/](?:site-packages|dist-packages)[\\/]")
_STANDARD_PATH = re.compile(
    r"[\\/]lib(?:64)?[\\/](?:python|pypy)\d[\d.]*[\\/]|[\\/]Lib[\\/]\w+\.py$"
)
_RUNS_TASKS = re.compile(
    r"[\\/](?:billiard[\\/]\w+|celery[\\/]app[\\/](?:trace|task|autoretry)|celery[\\/]local)\.py$"
)
_POOL = re.compile(r"(?:^|[\\/])billiard[\\/]")
"""A pool that reports a lost process raises the error itself: where is the same for all."""
_BEGINS = re.compile(
    r"^[ |+]*(?:Exception Group )?Traceback \(most recent call last\):$", re.MULTILINE
)
_FRAME = re.compile(r'^[ |]*File "([^"\n]{1,1000})", line \d+, in ([^\n]{1,200})$', re.MULTILINE)
_TYPE = re.compile(r"^(?:[ ]*\| )?([A-Za-z_][\w.]*)(?=:|$)", re.MULTILINE)
_VERSION = re.compile(r"v?\d[\d._-]*|[0-9a-f-]{7,}|releases?|current|versions?", re.IGNORECASE)
_DETAILS = re.compile(
    r"""'[^'\n]{0,500}'|"[^"\n]{0,500}"|`[^`\n]{0,500}`"""
    r"|\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}\b|\b0x[0-9a-fA-F]+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b"
    r"|\d+(?:[.,:]\d+)*"
)
_SHAPED = 500
"""Characters of a message whose shape counts where there is no traceback."""
_LONGEST_TEXT = 200_000
"""Characters of a traceback's text that are looked at, the last ones."""


class Raised(NamedTuple):
    """One exception of a chain."""

    kind: str
    frames: list[tuple[str, str]]
    """Module or path, and function; innermost first, each once."""


def fingerprint(
    name: str | None, kind: str | None, exception: object, message: str | None, text: str | None
) -> str | None:
    """The fingerprint of *exception*, which a task called *name* ended with.

    *kind*, *message* and *text*, the traceback's, are what is recorded of it: nothing that is to be
    hidden may be in them. None if there is no exception.
    """
    if kind is None:
        return None
    try:
        chain = _raised(kind, exception)
    except Exception as error:  # noqa: BLE001  (a user's exception may do anything)
        spare(error)
        chain = []
    if any(raised.frames for raised in chain):
        return _digest(name, chain)
    return of_text(name, kind, message, text)


def of_text(
    name: str | None, kind: str | None, message: str | None, text: str | None
) -> str | None:
    """The same where only texts are left, as of old records and lost workers."""
    if kind is None:
        return None
    chain = _told(kind, text[-_LONGEST_TEXT:]) if text else []
    if any(raised.frames for raised in chain):
        return _digest(name, chain)
    return _digest(name, [Raised(kind, [(shape_of(message or ""), "")])])


def shape_of(message: str) -> str:
    """*message* with `#` for its numbers, ids and quoted texts."""
    return _DETAILS.sub("#", message[:_SHAPED])


def _digest(name: str | None, chain: list[Raised]) -> str:
    parts = [name or ""]
    for kind, frames in chain:
        parts.append(kind)
        parts += [f"{place}\t{function}" for place, function in frames]
    hashed = blake2b("\n".join(parts).encode("utf-8", "replace"), digest_size=8)
    return f"{SCHEME}-{hashed.hexdigest()}"


# ---- from an exception


def _raised(kind: str, exception: object) -> list[Raised]:
    """The chain of *exception*, outermost first."""
    if isinstance(exception, UnpickleableExceptionWrapper):
        # Celery made it of the exception that it handles now, which alone has causes.
        handled = sys.exc_info()[1]
        if type(handled).__name__ == exception.exc_cls_name:
            exception = handled
    found: list[Raised] = []
    seen: set[int] = set()
    while isinstance(exception, BaseException) and len(found) < _CHAIN:
        if id(exception) in seen:
            break
        seen.add(id(exception))
        own = kind if not found else _kind(exception)
        found.append(Raised(own, _frames(exception.__traceback__)))
        cause = exception.__cause__
        exception = (
            cause
            if cause is not None or exception.__suppress_context__
            else (exception.__context__)
        )
    return found


def _kind(exception: BaseException) -> str:
    kind = type(exception)
    module, name = kind.__module__, kind.__qualname__
    return encoding.key(name if module == "builtins" else f"{module}.{name}")


def _frames(traceback: TracebackType | None) -> list[tuple[str, str]]:
    codes: set[int] = set()
    frames: list[tuple[bool, str, str]] = []
    for each in reversed([*_each(traceback)]):
        frame = each.tb_frame
        code = frame.f_code
        if id(code) in codes:  # recursion counts once
            continue
        codes.add(id(code))
        module = frame.f_globals.get("__name__")
        module = module if isinstance(module, str) else ""
        if _POOL.search(code.co_filename):
            continue
        library = module.partition(".")[0] in _OURS or _is_library(code.co_filename)
        frames.append((library, module, code.co_name))
    return _kept(frames)


def _each(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _kept(frames: Iterable[tuple[bool, str, str]]) -> list[tuple[str, str]]:
    """The last frames of people's own code, innermost first; of libraries if there is none."""
    each = [frame for frame in frames if frame[2] not in _INLINED]
    own = [frame for frame in each if not frame[0]] or each
    return [*dict.fromkeys((place, function) for _, place, function in own)][:_FRAMES]


@lru_cache(maxsize=4096)
def _is_library(path: str) -> bool:
    return (
        path.startswith(("<frozen ", *_STANDARD))
        or _INSTALLED.search(path) is not None
        or _STANDARD_PATH.search(path) is not None
        or _RUNS_TASKS.search(path) is not None
    )


# ---- from text


def _told(kind: str, text: str) -> list[Raised]:
    """The chain that a traceback's *text* tells, outermost first."""
    parts = _BEGINS.split(text)[1:] or [text]
    found: list[Raised] = []
    for part in reversed(parts[-_CHAIN:]):
        frames = list(_FRAME.finditer(part))
        own = kind if not found else _kind_told(part, frames[-1].end() if frames else 0)
        last = [each for each in reversed(frames) if not _POOL.search(each[1])]
        found.append(Raised(own, _kept((_is_library(f[1]), _place(f[1]), f[2]) for f in last)))
    return found


def _kind_told(part: str, at: int) -> str:
    named = _TYPE.search(part, at)
    return named[1] if named else ""


@lru_cache(maxsize=4096)
def _place(path: str) -> str:
    """The last three parts of *path*, without those that change from release to release."""
    *folders, file = re.split(r"[\\/]", path)
    kept = [folder for folder in folders if folder and not _VERSION.fullmatch(folder)]
    return "/".join([*kept[-2:], file])
