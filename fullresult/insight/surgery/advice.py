"""What a re-send alone would do to a workflow, and the operation that does it right."""

from __future__ import annotations

from fullresult.insight.surgery.signatures import membership_of, steps_of
from fullresult.insight.words import count_of
from fullresult.record import FINISHED, SUCCESS, UNSENT, TaskRecord


def advice_on(record: TaskRecord) -> str | None:
    """A sentence about sending *record* again by itself; None if nothing follows it."""
    steps, task_id = steps_of(record), record.task_id
    if record.state == SUCCESS and steps:
        later = count_of(len(steps), "later step")
        return (
            f"Task {task_id} succeeded, and {later} would run again under the old ids: "
            f"`fork {task_id}` runs them under new ones."
        )
    if record.state == SUCCESS or membership_of(record) is None:
        return None
    if record.state in FINISHED or record.state == UNSENT:
        return (
            f"Task {task_id} is a member of a chord, whose body would not run: "
            f"`heal {task_id}` runs it."
        )
    return (
        f"Task {task_id} is a member of a chord, which would not count it, and whose body would "
        "not run: keep_group=True, in Python, sends it as a member."
    )
