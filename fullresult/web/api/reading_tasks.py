"""Reads of tasks: a list, one, how many, why, and how an operation on its workflow would go."""

from __future__ import annotations

from typing import Any

from fullresult.insight.counted import count_up_to
from fullresult.insight.counts import count_by_state
from fullresult.insight.document import document
from fullresult.insight.documents import task_document
from fullresult.insight.overdue import schedules_of
from fullresult.insight.search import look
from fullresult.web.api.fields import FLAG as YES_OR_NO
from fullresult.web.api.fields import Field, choice
from fullresult.web.api.filters import ALL, FILTERS, PAGE, TASK_ID, of_all_pages, query_of
from fullresult.web.api.hiding import listed
from fullresult.web.api.operation import Call, Operation, Refused
from fullresult.web.api.schemas import FLAG, TEXT, WHOLE, list_of, of, or_null, ref

NEXT = or_null(TEXT)


def _tasks(call: Call) -> dict[str, Any]:
    limit = call["limit"]
    found = look(call.reading.storage, query_of(call, limit=limit + 1))
    page = found.records[:limit]
    cursor = page[-1].cursor if len(found.records) > limit else found.after
    tasks = [listed(call, document(record)) for record in page]
    return {"tasks": tasks, "next": cursor, "looked_at": found.looked_at}


def _task(call: Call) -> dict[str, Any]:
    record = call.full.get(call["id"])
    schedules = schedules_of(call.full.storage, call["id"])
    if record is None:
        waits = "; it is scheduled, see /api/v1/scheduled" if schedules else ""
        raise LookupError(f"no task {call['id']!r} is recorded{waits}")
    return task_document(record, schedules)


def _count(call: Call) -> dict[str, Any]:
    number, at_least = count_up_to(call.reading.storage, of_all_pages(query_of(call)))
    return {"count": number, "at_least": at_least}


def _states(call: Call) -> dict[str, Any]:
    rest = bool(call.get("all"))
    found = count_by_state(call.reading.storage, of_all_pages(query_of(call)), rest=rest)
    if not found.by_state:
        raise Refused(
            400,
            "States are counted of tasks by their time alone: give since and until, or ask "
            "/api/v1/count for the number that match.",
        )
    more = [s for s, number in found.by_state.items() if number >= found.most]
    return {"states": found.by_state, "at_least": sorted({*found.at_least, *more})}


def _explain(call: Call) -> dict[str, Any]:
    found = call.full.explain(call["id"], offline=bool(call.get("offline")))
    if not found.known:
        raise LookupError(found.sentence)
    return found.document


def _plan(call: Call) -> dict[str, Any]:
    surgery = call.full.surgery(call["id"], call.get("operation"))
    found: dict[str, Any] = surgery.plan(take_over=bool(call.get("take_over"))).document()
    return found


OFFLINE = Field("offline", YES_OR_NO, "Ask the storage alone, not workers and broker.")
OPERATION = Field(
    "operation",
    choice("resume", "heal", "fork"),
    "resume: go on with a chain where it failed. heal: run the members of a chord again that "
    "failed. fork: run it and all that follows again. Without it, the task's state decides.",
)
TAKE_OVER = Field(
    "take_over",
    YES_OR_NO,
    "Go on although somebody began and has not ended: see that the process is dead first.",
)
SPAN = tuple(field for field in FILTERS if field.name in ("state", "since", "until"))

operations = (
    Operation(
        "GET", "tasks", "List tasks", (*FILTERS, ALL, *PAGE),
        of(tasks=list_of(ref("Task")), next=NEXT, looked_at=or_null(WHOLE)), _tasks,
        about="Where no index leads to what matches, the next 10,000 records are looked at, and "
        "`looked_at` says so: a page may then have fewer tasks than `limit`, or none, and a `next` "
        "to go on with. Only a `next` of null is the end.",
    ),
    Operation(
        "GET", "task", "Show one task in full, with its schedules", (TASK_ID,),
        ref("TaskWithSchedules"), _task, statuses=(404,),
    ),
    Operation(
        "GET", "count", "Count tasks", (*FILTERS, ALL), of(count=WHOLE, at_least=FLAG), _count,
        about="Counting stops at 10,000; where no index helps, the newest 20,000 records are "
        "looked at. `at_least`: there may be more.",
    ),
    Operation(
        "GET", "states", "Count tasks by state", (*SPAN, ALL),
        of(states={"type": "object", "additionalProperties": WHOLE}, at_least=list_of(TEXT)),
        _states, needs="statistics",
        about="No state is counted beyond 1,000. `at_least` names those that may have more.",
    ),
    Operation(
        "GET", "explain", "Say why a task is as it is", (TASK_ID, OFFLINE), ref("Explanation"),
        _explain, statuses=(404,),
        about="Workers and the broker are asked for about a second, unless it is `offline`.",
    ),
    Operation(
        "GET", "plan", "Show what an operation on a workflow would do",
        (TASK_ID, OPERATION, TAKE_OVER),
        ref("Plan"), _plan, statuses=(404,),
    ),
)  # fmt: skip
