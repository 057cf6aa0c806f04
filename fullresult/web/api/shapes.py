"""The shapes of answers by name: `components` of the OpenAPI document."""

from __future__ import annotations

from typing import get_type_hints

from fullresult.actions.replay_preview import Kind
from fullresult.actions.replays import Progress
from fullresult.insight.document import field_types
from fullresult.insight.documents import SECRET
from fullresult.insight.explain.explanation import Explanation
from fullresult.insight.failures import Failure, FailureDetails
from fullresult.insight.fleet import WorkerSeen
from fullresult.insight.overview import Overview
from fullresult.insight.queues import QueueSeen
from fullresult.insight.replay_load import QueueLoad
from fullresult.insight.statistics import Statistics
from fullresult.insight.surgery.plan import Part, Plan
from fullresult.record import Decision
from fullresult.record.audit import AuditEntry
from fullresult.record.replay import Replay
from fullresult.record.schedule import Schedule
from fullresult.web.api.schemas import (
    DATE,
    FLAG,
    NUMBER,
    TEXT,
    WHOLE,
    Schema,
    list_of,
    of,
    of_fields,
    of_type,
    or_null,
    ref,
    with_more,
    without,
)

_OF_DETAILS = ("failure", "example", "examples")
_COUNTS: Schema = {"type": "object", "additionalProperties": WHOLE}


def components() -> dict[str, Schema]:
    """Every named shape."""
    # With beat, which few processes need.
    from fullresult.insight.periodic import PeriodicTask

    task = of(**{name: of_type(kind) for name, kind in field_types().items()})
    failure = of_type(Failure)
    replay = of_type(Replay)
    overview = of_fields(Overview, ("statistics", "sweeper_lag"))
    # What the rule hides is null.
    plan = with_more(
        of_fields(PeriodicTask, ("looked",)),
        args=or_null({"type": "array"}),
        kwargs=or_null({"type": "object"}),
    )
    return {
        "Task": task,
        "TaskWithSchedules": with_more(task, schedules=list_of(ref("Schedule"))),
        "Orphan": with_more(task, worker_gone_since=DATE, worker_stopped=FLAG),
        "Schedule": with_more(
            of_fields(Schedule, SECRET), claimed=FLAG, outbox=FLAG, call=or_null(TEXT)
        ),
        "Failure": failure,
        "FailureDetails": with_more(
            without(failure),
            **of_fields(FailureDetails, _OF_DETAILS)["properties"],
            traceback=or_null(TEXT),
            examples=list_of(TEXT),
        ),
        "Decision": of_type(Decision),
        "Worker": of_type(WorkerSeen),
        "Queue": of_type(QueueSeen),
        "Overview": with_more(
            overview,
            statistics=with_more(of_type(Statistics), sampled=FLAG),
            sweeper_lag=NUMBER,
        ),
        "Explanation": of_type(Explanation),
        "Periodic": plan,
        "Replay": replay,
        "ReplayProgress": with_more(
            replay, progress=with_more(of_type(Progress), ended=_COUNTS, under_way=WHOLE)
        ),
        "ReplayPreview": of(
            count=WHOLE,
            at_least=FLAG,
            looked_at=WHOLE,
            left_out=_COUNTS,
            kinds=list_of(with_more(of_type(Kind), count=WHOLE)),
            seconds=NUMBER,
            swept=FLAG,
            oldest=or_null(DATE),
            newest=or_null(DATE),
            loads=list_of(with_more(of_type(QueueLoad), rate=NUMBER, busy=or_null(NUMBER))),
            warnings=list_of(TEXT),
            advice=list_of(TEXT),
        ),
        "AuditEntry": of_type(AuditEntry),
        "Plan": of(
            operation=TEXT,
            task_id=TEXT,
            problem=or_null(TEXT),
            instead=or_null(TEXT),
            warnings=list_of(TEXT),
            turn=of_type(get_type_hints(Plan)["turn"]),
            parts=list_of(of_type(Part)),
        ),
        "Report": report(),
        "Problem": problem_shape(),
    }


def report() -> Schema:
    """The outcome of a deed for several tasks."""
    problems = list_of(of(task_id=TEXT, problem=TEXT))
    return of(
        done=list_of(of(task_id=TEXT, new_id=or_null(TEXT))),
        spared=problems,
        failed=problems,
        left=list_of(TEXT),
        stopped=or_null(TEXT),
        unwritten=or_null(TEXT),
    )


def problem_shape() -> Schema:
    """What is wrong with a request, as RFC 9457 has it."""
    needed = of(type=TEXT, title=TEXT, status=WHOLE, detail=TEXT)
    field = {"type": "string", "description": "The field that is wrong."}
    return {**needed, "properties": {**needed["properties"], "field": field}}
