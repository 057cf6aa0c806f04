"""The command that runs a task again which came to a bad end, so that what follows it goes on."""

from __future__ import annotations

from fullresult.insight.explain.explanation import COMMAND, resend, word
from fullresult.insight.surgery.signatures import membership_of, steps_of
from fullresult.record import FINISHED, SUCCESS, TaskRecord


def run_again(record: TaskRecord, but: str = "") -> str:
    """`heal` of a member of a chord, `resume` of a step of a chain, else `resend`.

    A member that is sent again by itself is not counted, and the body of its chord never runs.
    """
    if record.state in FINISHED and record.state != SUCCESS:
        how = "heal" if membership_of(record) else "resume" if steps_of(record) else ""
        if how:
            return f"{COMMAND}{how} {word(record.task_id)}{f'  # {but}' if but else ''}"
    return resend(record.task_id, but)
