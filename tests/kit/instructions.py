"""Counts the instructions of Python's machine that our own code runs, in this thread.

    with counting() as read:
        ...
        read()     # since it was read last

They are the same on every machine, and others with each minor version of Python. From 3.12 on,
Python does not tell of all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

RELIABLE = sys.version_info < (3, 12)
_ROOT = Path(__file__).resolve().parents[2]
_OURS = tuple(
    f"{_ROOT / package}/"
    for package in ("fullresult", "fullresult_storage_sql", "fullresult_storage_mongo")
)


@contextmanager
def counting() -> Iterator[Callable[[], dict[str, int]]]:
    """Whoever else traces this thread, as coverage does, does not meanwhile."""
    count = 0

    def enter(frame: FrameType, _event: str, _arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step

    def step(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return step

    def read() -> dict[str, int]:
        nonlocal count
        found, count = count, 0
        return {"instructions": found}

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield read
    finally:
        sys.settrace(before)
