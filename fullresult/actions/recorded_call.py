"""A recorded call as data: what ran, with which arguments, to be run here or written as a test."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery

from fullresult.insight.safe_text import one_line
from fullresult.record import REDACTED, TaskRecord, encoding
from fullresult.recording import masking

_PARTS = ("args", "kwargs")
_LONGEST = 2_000
"""Characters of a call that stand in the test itself; a longer one gets a file of its own."""
_COLUMNS = 80
_LONGEST_WHY = 200


class CannotRepro(Exception):
    """The recorded call cannot be made here; the message says why."""


@dataclass(frozen=True)
class RecordedCall:
    """One call of a task. Its values are those that a worker would get from the message."""

    task_id: str
    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    retries: int = 0
    headers: dict[str, Any] = field(default_factory=dict)
    """The message's headers, which a task finds in its request."""

    @classmethod
    def of(cls, record: TaskRecord) -> RecordedCall:
        """The call that *record* tells. Raises `CannotRepro` if its arguments are not all there."""
        if record.message is None or record.name is None:
            raise CannotRepro(f"task {record.task_id}: its message was not recorded")
        args, kwargs = (_argument(record, index) for index in range(len(_PARTS)))
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict):
            raise CannotRepro(f"task {record.task_id}: its arguments are no list and dict")
        headers = {n: v for n, v in record.headers.items() if not masking.holds_mark(v)}
        return cls(record.task_id, record.name, list(args), kwargs, record.retries, headers)

    @classmethod
    def loads(cls, text: str) -> RecordedCall:
        """The call that `dumps` made *text* of. Raises `CannotRepro`."""
        known = encoding.loads(text)
        try:
            call = cls(**known)
        except TypeError:
            raise CannotRepro(f"this is no recorded call: {text[:_LONGEST_WHY]!r}") from None
        kinds: dict[str, type] = {"task_id": str, "name": str, "args": list, "kwargs": dict}
        kinds |= {"retries": int, "headers": dict}
        for name, kind in kinds.items():
            if not isinstance(getattr(call, name), kind):
                raise CannotRepro(f"this is no recorded call: {name} is no {kind.__name__}")
        return call

    def dumps(self) -> str:
        """JSON text, with kombu's types. Raises `CannotRepro` if JSON cannot hold a value."""
        try:
            return encoding.dumps(vars(self))
        except encoding.Unstorable as error:
            raise CannotRepro(f"task {self.task_id}: its arguments as JSON: {error}") from None


def _argument(record: TaskRecord, index: int) -> Any:
    part, message = _PARTS[index], record.sent
    assert message is not None
    why = record.notes.get(part, "")
    decoded = encoding.decode_body(message.body, message.content_type, message.content_encoding)
    if not why.startswith(REDACTED):
        if decoded is not None:
            return decoded[index]
        text = (message.args, message.kwargs)[index]
        if text is not None and message.content_type == "application/json":
            return encoding.loads(text)
    why = why or record.notes.get("body", "")
    why = why or f"its body, of type {message.content_type}, is never decoded"
    raise CannotRepro(f"task {record.task_id}: its {part} are not known ({why})")


# ---- as a test


def write_test(record: TaskRecord, app: Celery, file: Path) -> list[Path]:
    """Write a test that makes the recorded call into the new *file*. Returns what was written.

    Values of the task stand there as JSON text, or in a file beside if that is long. Raises
    `CannotRepro`, also if *file* exists, and `OSError`.
    """
    call = RecordedCall.of(record)
    text, place = call.dumps(), _place_of(app)
    beside = file.with_suffix(".json") if len(text) > _LONGEST else None
    files = {file: _test(record, call, text, place, beside)}
    if beside is not None:
        files[beside] = text
    for each in files:
        if each.exists():
            raise CannotRepro(f"{each} is there already; name another file")
    for each, content in files.items():
        with each.open("x", encoding="utf-8") as opened:
            opened.write(content)
    return list(files)


def _test(
    record: TaskRecord, call: RecordedCall, text: str, place: tuple[str, str], beside: Path | None
) -> str:
    module, attribute = place
    title = re.sub(r"\W+", "_", f"{call.name} {call.task_id[:8]}", flags=re.ASCII).strip("_")
    ended = record.state
    if record.exception_type:
        ended += f", {record.exception_type}: {record.exception_message}"
    about = one_line(encoding.clip(ended, _LONGEST_WHY))
    path = ["from pathlib import Path", ""] if beside is not None else []
    where = "__file__" if beside is not None else ""
    known = (
        [f'CALL = Path({where}).with_suffix(".json").read_text(encoding="utf-8")']
        if beside is not None
        else ["CALL = (", *_literals(text), ")"]
    )
    lines = [
        # Or Python would look for the file's encoding in what follows, which the task wrote.
        "# coding: utf-8",
        f"# The call of task {one_line(call.name)}, id {one_line(call.task_id)}.",
        f"# Recorded as {about}.",
        "# The task itself runs, in this process; what it publishes through the app is not sent.",
        *path,
        f"from {module} import {attribute} as app",
        "",
        *known,
        "",
        "",
        f"def test_{title}():",
        "    app.fullresult.repro(call=CALL)",
        "",
    ]
    return "\n".join(lines)


def _literals(text: str) -> Iterator[str]:
    """Lines of Python that are *text*: literals, each a part of it."""
    for begin in range(0, len(text), _COLUMNS):
        yield f"    {text[begin : begin + _COLUMNS]!a}"


def _place_of(app: Celery) -> tuple[str, str]:
    """The module that has *app*, and its name there: the shortest path to it."""
    found = [
        (name.count("."), len(name), name, attribute)
        for name, module in list(sys.modules.items())
        if name != "__main__" and all(map(str.isidentifier, name.split(".")))
        for attribute, value in _attributes(module).items()
        if value is app and attribute.isidentifier()
    ]
    if not found:
        raise CannotRepro(
            f"no imported module has the app {app.main or app!r} as an attribute, from which a "
            "test could import it"
        )
    _, _, module, attribute = min(found)
    return module, attribute


def _attributes(module: Any) -> Mapping[str, Any]:
    known = getattr(module, "__dict__", None)
    return dict(known) if isinstance(known, dict) else {}
