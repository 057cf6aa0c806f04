"""One task: all that is known of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from fullresult.actions.errors import CannotResend
from fullresult.actions.resend import check
from fullresult.insight.again import states_of_resent
from fullresult.insight.family import MOST, family_of
from fullresult.insight.overdue import Kind, Overdue, schedules_of
from fullresult.insight.queues import left_alone
from fullresult.insight.timeline import timeline_of
from fullresult.insight.unresolved import ENDED_BADLY
from fullresult.record import FINISHED, SUCCESS, TaskRecord
from fullresult.web.pages import stop
from fullresult.web.pages.surgery import offers_of
from fullresult.web.site import site_of
from fullresult.web.trees import Tree, tree_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.record.audit import AuditEntry
    from fullresult.record.schedule import Schedule
    from fullresult.web.site import Site

_CHILDREN, _DEEDS = 100, 20


def task(request: Request) -> Response:
    """The page of the task whose `id` is asked for."""
    site = site_of(request)
    task_id = request.query_params.get("id", "")
    record = site.full.get(task_id)
    schedules = schedules_of(site.full.storage, task_id)
    if record is None:
        text = "No task with this id is recorded."
        if schedules:
            text += " But something is scheduled of it: see Scheduled."
        return site.error(request, 404, text)
    return site.render(
        request,
        "task.html" if request.query_params.get("fragment") is None else "task_live.html",
        record=record,
        timeline=timeline_of(record),
        schedules=schedules,
        offers=[*_offers(site, schedules), *stop.offers_of(request, record)],
        operations=offers_of(record),
        family=family_of(site.full.storage, record),
        audit=_audit(site, record.task_id),
        most_relatives=MOST,
        **_arguments(record),
        result=_result(record),
        moved=any(schedule.due != record.eta for schedule in schedules),
        embed=tree_of(links) if (links := _given(record.embed)) else None,
        headers=tree_of(record.headers) if record.headers else None,
        properties=tree_of(record.properties) if record.properties else None,
        limits=_limits(record),
        facts=_facts(record),
        can_group=site.can.failures,
        resent=states_of_resent(site.full.storage, [record]),
        unsendable=why_not(record),
        finished=record.state in FINISHED,
        ended_badly=record.state in ENDED_BADLY and record.resent_as is None,
        children=record.children[:_CHILDREN],
        unconsumed=next(iter(left_alone(site.full.storage, site.full.settings, [record])), None),
        more_children=max(len(record.children) - _CHILDREN, 0) + record.children_left_out,
    )


def _audit(site: Site, task_id: str) -> list[AuditEntry]:
    """The deeds done to it, the newest first."""
    if not site.can.audit:
        return []
    return site.full.audit_log(task_id=task_id, limit=_DEEDS)


def _offers(site: Site, schedules: list[Schedule]) -> list[tuple[str, str]]:
    """(page, label) of the deeds that are possible while *schedules* of the task wait."""
    if not schedules:
        return []
    overdue = Overdue(site.full.storage, site.full.settings)
    kinds = set(map(overdue.kind_of, schedules))
    offers = []
    if not all(schedule.claimed for schedule in schedules):
        offers += [("reschedule", "Reschedule…"), ("cancel", "Cancel…")]
    if any(kind.may_be_sent for kind in kinds):
        offers.append(("send-now", "Send now…"))
    if Kind.CLAIMED in kinds:
        offers.append(("release", "Give back…"))
    return offers


def why_not(record: TaskRecord) -> str | None:
    """The reason why the task cannot be sent again as it was; None if it can."""
    try:
        check(record)
    except CannotResend as error:
        return str(error)
    return None


def _arguments(record: TaskRecord) -> dict[str, dict[str, Any]]:
    values = record.arguments._asdict()
    return {part: _argument(record, part, value) for part, value in values.items()}


def _argument(record: TaskRecord, part: str, value: Any) -> dict[str, Any]:
    return {
        "tree": None if value is None else tree_of(value),
        "repr": getattr(record, f"{part}repr"),
        "note": record.notes.get(part) or (record.notes.get("body") if value is None else None),
    }


_FORMS = {
    "repr": "JSON cannot hold what it returned: this is its repr.",
    "cut": "It was too long to keep: this is its beginning and its end.",
    "forced": "It was no JSON, and was kept as text (fullresult_force_json).",
}


def _result(record: TaskRecord) -> dict[str, Any]:
    form = record.result_form
    tree: Tree | None = None
    if form is not None and form not in ("repr", "cut"):
        tree = tree_of(record.result)
    return {
        "tree": tree,
        "text": str(record.result) if form in ("repr", "cut") else None,
        "note": _FORMS.get(form or ""),
        "none": _no_result(record),
    }


def _no_result(record: TaskRecord) -> str:
    """A sentence for a task without a result: None is one, and is shown as such."""
    if record.state not in FINISHED:
        return "None yet: the task has not ended."
    if record.state != SUCCESS:
        return f"It returned nothing: it ended {record.state}."
    return "What it returned was not kept."


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [], {})}


def _limits(record: TaskRecord) -> list[tuple[str, str]]:
    found = record.headers.get("timelimit")
    hard, soft = found if isinstance(found, list) and len(found) == 2 else (None, None)  # noqa: PLR2004
    return [
        (name, f"{value} s")
        for name, value in (("time limit", hard), ("soft time limit", soft))
        if value is not None
    ]


def _facts(record: TaskRecord) -> list[tuple[str, str, str | None]]:
    """(label, value, the search for others like it)."""
    message = record.message
    pairs: list[tuple[str, object, str | None]] = [
        ("queue", record.queue, "queue"),
        ("exchange", record.exchange, None),
        ("routing key", record.routing_key, None),
        ("priority", record.priority, None),
        ("worker", record.worker, "worker"),
        ("publisher", record.origin, None),
        ("content type", message.content_type if message else None, None),
        ("group", record.group_id, "group"),
    ]
    pairs += [
        (f"stamp {name}", json.dumps(value, default=str), None)
        for name, value in record.stamps.items()
    ]
    return [
        (label, str(value), qualifier)
        for label, value, qualifier in pairs
        if value not in (None, "")
    ]


routes = [Route("/task", task)]
