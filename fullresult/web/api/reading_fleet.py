"""Reads of what is going on: the overview, what is lost, workers, queues, beat's plan, the log."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Any

from fullresult.insight.document import document
from fullresult.insight.documents import (
    audit_document,
    fleet_document,
    orphan_document,
    overdue_document,
    overview_document,
    periodic_document,
    queues_document,
    schedule_document,
)
from fullresult.insight.needing import MOST as MOST_NEEDING
from fullresult.insight.needing import Needing, needing
from fullresult.insight.orphans import Orphans
from fullresult.insight.overdue import Overdue
from fullresult.insight.stale import find_stale
from fullresult.record import TaskQuery
from fullresult.record.audit import AuditQuery
from fullresult.web.api.fields import FLAG as YES_OR_NO
from fullresult.web.api.fields import LENGTH, MOMENT, PAST, Field, text, whole
from fullresult.web.api.filters import AFTER, FILTERS, limit, query_as_given
from fullresult.web.api.hiding import calls_listed, listed, listed_entry
from fullresult.web.api.operation import Call, Operation, Refused
from fullresult.web.api.reading_tasks import NEXT, OFFLINE
from fullresult.web.api.schemas import (
    DATE,
    FLAG,
    TEXT,
    WHOLE,
    list_of,
    of,
    of_type,
    or_null,
    ref,
    with_more,
)

_A_DAY = timedelta(days=1)
_SECONDS = 5.0
"""For counting tasks, in an overview."""
_MOST_FOLDED = 200


def _overview(call: Call) -> dict[str, Any]:
    since, until = call.get("since") or _A_DAY, call.get("until")
    found = call.reading.overview(since, until, buckets=call["buckets"], seconds=_SECONDS)
    return overview_document(found)


def _needing(call: Call) -> dict[str, Any]:
    found = needing(call.full.storage, call.full.settings)._asdict()
    more = [name for name, number in found.items() if number is not True and number >= MOST_NEEDING]
    return {**found, "at_least": more}


def _scheduled(call: Call) -> dict[str, Any]:
    most = call["limit"]
    asked = query_as_given(call, after=None)
    found = call.full.scheduled(
        None if asked == TaskQuery() else asked,
        due_until=call.get("due_until"),
        claimed=call.get("claimed"),
        limit=most + 1,
        after=call.get("after"),
    )
    page = found[:most]
    cursor = page[-1].cursor if len(found) > most else None
    calls = calls_listed(call, page)
    told = [schedule_document(each, calls.get(each.task_id)) for each in page]
    return {"schedules": told, "next": cursor}


def _stale_scheduled(call: Call) -> dict[str, Any]:
    most = call["limit"]
    overdue = Overdue(call.full.storage, call.full.settings)
    found = overdue.page(call.get("older_than"), most + 1)
    page, more = found[:most], len(found) > most
    return overdue_document(page, overdue, calls_listed(call, page), more=more)


def _stale(call: Call) -> dict[str, Any]:
    most = call["limit"]
    age = call.get("older_than")
    age = call.full.settings.stale_after if age is None else age
    found = find_stale(call.full.storage, age, None, most + 1, call.get("after"))
    page, more = found[:most], len(found) > most
    tasks = [listed(call, document(record)) for record in page]
    return {"tasks": tasks, "more": more, "next": page[-1].cursor if more else None}


def _orphans(call: Call) -> dict[str, Any]:
    most = call["limit"]
    lost = Orphans(call.full.storage, call.get("older_than"))
    found = list(islice(lost.find(query_as_given(call)), most + 1))
    tasks = [listed(call, orphan_document(orphan)) for orphan in found[:most]]
    return {"tasks": tasks, "more": len(found) > most}


def _workers(call: Call) -> dict[str, Any]:
    found = fleet_document(call.full.workers())
    folded = found["folded"] if call.get("all") else []
    return {
        "workers": found["workers"],
        "folded": folded[:_MOST_FOLDED],
        "left_out": len(found["folded"]) - len(folded[:_MOST_FOLDED]),
    }


def _queues(call: Call) -> dict[str, Any]:
    return queues_document(call.full.queues(offline=bool(call.get("offline"))))


def _periodic(call: Call) -> dict[str, Any]:
    from fullresult.insight.periodic import SchedulerError

    try:
        found = call.full.periodic(call.site.scheduler)
    except SchedulerError as error:
        raise Refused(502, f"Beat's plan cannot be read: {error}") from error
    return {"periodic": [listed_entry(call, periodic_document(task)) for task in found]}


def _audit(call: Call) -> dict[str, Any]:
    most = call["limit"]
    asked = {name: value for name, value in call.given.items() if name != "limit"}
    found = call.full.audit_log(AuditQuery(**asked, limit=most + 1))
    page = found[:most]
    cursor = page[-1].cursor if len(found) > most else None
    return {"entries": [audit_document(entry) for entry in page], "next": cursor}


OLDER = Field(
    "older_than", LENGTH, "For so long, such as `90m`; without it, `fullresult_stale_after`."
)
_SINCE = Field("since", PAST, "Of tasks created since: `2h`, or an ISO date; without it, 1 day.")
_UNTIL = Field("until", PAST, "Of tasks created before; like `since`.")

operations = (
    Operation(
        "GET", "overview", "Show how the tasks are doing",
        (_SINCE, _UNTIL, Field("buckets", whole(1, 500), "Parts of the time.", default=24)),
        ref("Overview"), _overview, needs="statistics",
        about="Tasks are counted for 5 seconds at most; what is not `exact` may be more.",
    ),
    Operation(
        "GET", "needing", "Count what needs somebody", (),
        with_more(of_type(Needing), at_least=list_of(TEXT)),
        _needing, about="Nothing is counted beyond 100; `at_least` names what may be more.",
    ),
    Operation(
        "GET", "scheduled", "List scheduled tasks, the first due first",
        (
            *FILTERS,
            Field("claimed", YES_OR_NO, "Claimed by a sweeper and not marked sent."),
            Field("due_until", MOMENT, "Due by then: `in 2h`, `10m ago`, an ISO date."),
            limit(), AFTER,
        ),
        of(schedules=list_of(ref("Schedule")), next=NEXT), _scheduled, needs="schedules",
    ),
    Operation(
        "GET", "stale-scheduled", "List scheduled tasks that were not sent", (OLDER, limit()),
        of(
            schedules=list_of(ref("Schedule")), more=FLAG, namespace=TEXT,
            last_sweep=or_null(DATE),
        ), _stale_scheduled, needs="schedules",
    ),
    Operation(
        "GET", "stale", "List tasks that neither finished nor moved for too long",
        (OLDER, limit(), AFTER), of(tasks=list_of(ref("Task")), more=FLAG, next=NEXT), _stale,
    ),
    Operation(
        "GET", "orphans", "List running tasks whose worker is gone",
        (*FILTERS, Field("older_than", LENGTH, "Gone for so long, such as `5m`."), limit()),
        of(tasks=list_of(ref("Orphan")), more=FLAG), _orphans, needs="workers",
    ),
    Operation(
        "GET", "workers", "List the workers",
        (Field("all", YES_OR_NO, "Also, in `folded`, those that ended as they should."),),
        of(workers=list_of(ref("Worker")), folded=list_of(ref("Worker")), left_out=WHOLE),
        _workers, needs="workers",
    ),
    Operation(
        "GET", "queues", "List the queues", (OFFLINE,),
        of(at=DATE, queues=list_of(ref("Queue")), unknown=list_of(TEXT)), _queues,
        about="The broker is asked for 1.5 seconds at most, unless it is `offline`.",
    ),
    Operation(
        "GET", "periodic", "List the tasks of beat's plan, each with its last run", (),
        of(periodic=list_of(ref("Periodic"))), _periodic, statuses=(502,),
    ),
    Operation(
        "GET", "audit", "List what people did, the newest first",
        (
            Field("actor", text(), "Done by this person."),
            Field("action", text(), "This action: resend, cancel, delete, trigger, …"),
            Field("task_id", text(), "Done to this task.", names_task=True),
            Field("since", PAST, "Done since: `2h`, or an ISO date."),
            Field("until", PAST, "Done before; like `since`."),
            limit(), AFTER,
        ),
        of(entries=list_of(ref("AuditEntry")), next=NEXT), _audit, needs="audit",
    ),
)  # fmt: skip
