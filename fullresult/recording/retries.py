"""Retries: what a publisher hid of a task's arguments stays hidden when the task is sent again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fullresult.recording.capture import hidden_in
from fullresult.recording.running_tasks import request_of


def hidden_before(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The options `argsrepr` and `kwargsrepr` that a retry is to have, and Celery leaves out.

    They are those of the message that is running. Empty for what is no retry.
    """
    request = request_of(options["task_id"])
    if request is None or getattr(request, "task", None) != name:
        return {}
    return {
        shown: str(getattr(request, shown))
        for shown in (f"{part}repr" for part in sorted(hidden_in(request)))
        if options.get(shown) is None
    }
