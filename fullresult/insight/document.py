"""A record as JSON: `--json` prints every field, under the names of `TaskRecord`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, get_type_hints

from fullresult.insight.safe_text import COMMANDS_CI
from fullresult.record import Execution, TaskRecord, encoding

_PARTS = ("arguments", "sent")
"""Properties whose values are those of others."""
_FIELDS = (
    "task_id",
    *(
        name
        for name, value in vars(TaskRecord).items()
        if isinstance(value, property) and name not in _PARTS
    ),
    *("date_created", "date_updated", "date_published"),
)
_DEEPEST = 200


def document(record: TaskRecord) -> dict[str, Any]:
    """Every field of *record* and its runs, as values that JSON can hold."""
    known = record.arguments._asdict()
    found = {n: known[n] if n in known else getattr(record, n) for n in _FIELDS}
    found["executions"] = [asdict(execution) for execution in record.executions]
    return {name: plain(value) for name, value in found.items()}


def field_types() -> dict[str, Any]:
    """The type of each field of a `document`, before it is made plain."""
    own = get_type_hints(TaskRecord)
    found = {name: _type_of(name, own) for name in _FIELDS}
    return {**found, "executions": tuple[Execution, ...]}


def _type_of(name: str, own: Mapping[str, Any]) -> Any:
    kept = vars(TaskRecord).get(name)
    return get_type_hints(kept.fget)["return"] if isinstance(kept, property) else own[name]


def dumps(value: Any) -> str:
    """*value* as JSON text in ASCII, which a terminal or a CI shows without obeying it."""
    text = json.dumps(value, indent=2, allow_nan=False).replace("\x7f", "\\u007f")
    return text.replace(COMMANDS_CI, "#\\u0023[")


def plain(value: Any, depth: int = 0) -> Any:
    """*value* as JSON can hold it: dates in ISO format, other values as their text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (int, str)):
        return value
    if depth > _DEEPEST:
        return "… nested too deeply to show"
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    return value.isoformat() if isinstance(value, datetime) else encoding.safe_str(value)
