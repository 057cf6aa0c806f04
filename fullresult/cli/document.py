"""A record as JSON: `--json` prints every field, under the names of `TaskRecord`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fullresult import encoding
from fullresult.record import TaskRecord

_FIELDS = (
    "task_id name state retries args kwargs argsrepr kwargsrepr result result_form exception_type "
    "exception_message traceback runtime worker queue exchange routing_key priority eta expires "
    "origin periodic root_id parent_id group_id retry_of children executions embed headers "
    "properties stamps notes date_created date_published date_started date_done date_updated cursor"
).split()
_DEEPEST = 200


def document(record: TaskRecord) -> dict[str, Any]:
    """All that *record* says, as values that JSON holds."""
    found = {name: getattr(record, name) for name in _FIELDS}
    found["executions"] = [asdict(execution) for execution in record.executions]
    return {name: plain(value) for name, value in found.items()}


def dumps(value: Any) -> str:
    """JSON text: ASCII only, so that it is also harmless on a terminal."""
    return json.dumps(value, indent=2, allow_nan=False).replace("\x7f", "\\u007f")


def plain(value: Any, depth: int = 0) -> Any:
    """*value* as JSON can hold it: dates in ISO's format, what JSON does not know as its text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if depth > _DEEPEST:
        return "… nested too deeply to show"
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    return encoding.safe_str(value)
