"""Retry: one task, several, or all that a search finds, after a preview."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import Route

from fullresult.actions.batch import Report
from fullresult.actions.errors import LeftAlone
from fullresult.actions.missing import WAYS, Sparing, Way, seen_as
from fullresult.insight.dates import length
from fullresult.insight.stale import stale_query
from fullresult.insight.surgery.advice import advice_on
from fullresult.record import TaskRecord, pages
from fullresult.web.acting import action, deeds_of, pace
from fullresult.web.forms import key_of, number_of, seen_of
from fullresult.web.pages.task import why_not
from fullresult.web.search import NotUnderstood, Search, until_of
from fullresult.web.site import Site, redirect, site_of
from fullresult.web.trees import tree_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.storage import TaskQuery
    from fullresult.web.forms import Form

SHOWN = 20
MOST_IDS = 1000
_PAGE = 100
_JUDGED = 500
"""Tasks that are looked at before it is said how many can be sent."""
_SPARED = 100
"""The same of tasks that went missing, each of which is asked for."""
_REASONS = 5


class Chosen(NamedTuple):
    """The tasks to send: some ids, or all that match a query and were created until a time."""

    seen: Mapping[str, str | None]
    """The `seen_as` of each task when it was chosen, by id; empty if there is a query."""
    query: TaskQuery | None
    fields: tuple[tuple[str, str], ...]
    """The fields of a form that chooses the same tasks."""
    way: Way | None = None
    """The way in which they went missing; None if they were not chosen as missing."""

    def records(
        self, site: Site, after: str | None = None
    ) -> Iterator[tuple[str, TaskRecord | None]]:
        """(id, record) of each task, the oldest first for a query.

        The record is None where none is kept.
        """
        if self.query is None:
            yield from ((task_id, site.full.get(task_id)) for task_id in self.seen)
            return
        query = replace(self.query, limit=_PAGE, order="oldest", after=after)
        for record in pages.walk(site.full.find, query):
            yield record.task_id, record

    def count(self, site: Site) -> int:
        return len(self.seen) if self.query is None else site.full.count(self.query)

    @property
    def details(self) -> dict[str, Any]:
        """The choice, for the audit log, which hides redacted arguments."""
        told: dict[str, Any] = {name: value for name, value in self.fields if name != "key"}
        return {**told, **Search.read(told["q"]).details()} if "q" in told else told


def chosen(site: Site, asked: QueryParams | Form) -> Chosen | None:
    """The tasks of `id`s, `stale`, or `q`, created until `until`. Raises `NotUnderstood`."""
    if seen := seen_of(asked):
        return _by_id(seen, asked.get("missing") or "")
    until = until_of(asked.get("until") or "", site.now())
    if age := asked.get("stale"):
        return _stale(age, until)
    text = (asked.get("q") or "").strip()
    if not text:
        return None
    search = Search.read(text)
    found = search.query(until)
    if not found.is_narrow:
        return None
    query = found.created_before(until)
    if search.resent is None:
        query = replace(query, unresolved=True)
    return Chosen({}, query, (("q", str(search)), ("until", until.isoformat())))


def _by_id(seen: Mapping[str, str | None], missing: str) -> Chosen:
    if len(seen) > MOST_IDS:
        raise NotUnderstood(f"Choose {MOST_IDS:,} tasks at most, or all that a search finds.")
    way = next((way for way in WAYS if way == missing), None)
    fields = tuple(("key", _key(task_id, seen[task_id])) for task_id in seen)
    return Chosen(seen, None, (*fields, ("missing", way)) if way else fields, way)


def _key(task_id: str, seen: str | None) -> str:
    return key_of(task_id) if seen is None else f"{key_of(task_id)} {seen}"


def _stale(age: str, until: datetime) -> Chosen:
    try:
        moved_before = until - length(age)
    except ValueError as error:
        raise NotUnderstood(str(error)) from None
    query = stale_query(moved_before, None, None)
    return Chosen({}, query, (("stale", age), ("until", until.isoformat())), "stale")


def preview(request: Request) -> Response:
    """The tasks that will be sent, and a form to confirm it."""
    site = site_of(request)
    try:
        which = chosen(site, request.query_params)
    except NotUnderstood as error:
        return site.error(request, 400, str(error))
    if which is None:
        return site.error(request, 400, "Choose tasks first, or search for something.")
    number = which.count(site)
    if _is_for_a_replay(site, which, number) and "at_once" not in request.query_params:
        return redirect(request, "replay-create", dict(which.fields))
    judged = _judged(site, which)
    records = judged.records[:SHOWN]
    if not number or not records:
        or_all = ", or all are dealt with" if which.query and which.query.unresolved else ""
        text = f"No such task is recorded{or_all}; nothing can be sent."
        return site.error(request, 404, text)
    return site.render(
        request, "retry.html", number=number, records=records, fields=which.fields,
        judged=judged, sends=number - judged.left_out, missing=which.way is not None,
        advice={record.task_id: advice_on(record) for record in records},
        details=_details(site, records[0]) if number == 1 else None, by_search=not which.seen,
        can_replay=site.can.replays,
    )  # fmt: skip


class Judged(NamedTuple):
    """What is known of the first ones before they are sent."""

    records: list[TaskRecord]
    looked_at: int
    """Also those of which no record is kept."""
    problems: dict[str, str]
    """The reasons why some cannot be sent, by id."""
    spared: dict[str, str]
    """The reasons why some will be left alone, by id."""

    @property
    def left_out(self) -> int:
        unknown = self.looked_at - len(self.records)
        return unknown + len(self.problems.keys() | self.spared.keys())

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """(reason, number), the most frequent first."""
        told = {**self.problems, **self.spared}
        # Each names its task, which would make each another one.
        alike = (_of_it(task_id, why) for task_id, why in told.items())
        unknown = {"it is not recorded": self.looked_at - len(self.records)}
        return (Counter(alike) + Counter(unknown)).most_common(_REASONS)


def _of_it(task_id: str, why: str) -> str:
    return why.removeprefix(f"task {task_id}: ").replace(f"task {task_id}", "it")


def _judged(site: Site, which: Chosen) -> Judged:
    most = _JUDGED if which.way is None else _SPARED
    if which.query is None:
        ids = list(which.seen)[:most]
        known = {record.task_id: record for record in site.full.find(task_ids=ids, limit=None)}
        records, looked_at = [known[each] for each in ids if each in known], len(ids)
    else:
        records = [record for _, record in islice(which.records(site), most) if record is not None]
        looked_at = len(records)
    problems = {record.task_id: why for record in records if (why := why_not(record)) is not None}
    return Judged(records, looked_at, problems, _spared(site, which, records))


def _is_for_a_replay(site: Site, which: Chosen, number: int) -> bool:
    """True if a replay sends them, unless somebody asks otherwise."""
    if which.query is None or which.way is not None or not site.can.replays:
        return False
    return site.full.replays.takes_over(which.query, number)


def _spared(site: Site, which: Chosen, records: list[TaskRecord]) -> dict[str, str]:
    """The reasons why some of *records* will be left alone, by id."""
    if which.way is None:
        return {}
    sparing, found = Sparing(site.full.storage), {}
    for record in records:
        try:
            sparing.to_send(which.way, record.task_id, _seen(which, record))
        except LeftAlone as error:
            found[record.task_id] = error.why
    return found


def _seen(which: Chosen, record: TaskRecord) -> str | None:
    return seen_as(record) if which.query is not None else which.seen[record.task_id]


def _details(site: Site, record: TaskRecord) -> dict[str, Any]:
    return {
        "record": record,
        "args": tree_of(record.args),
        "kwargs": tree_of(record.kwargs),
        "again": site.full.find(retry_of=record.task_id, order="oldest", limit=SHOWN),
    }


def send(request: Request, form: Form, person: Person) -> Response:
    """Send them again while there is time; the page that answers goes on with the rest."""
    site = site_of(request)
    try:
        which = chosen(site, form)
    except NotUnderstood as error:
        return site.error(request, 400, str(error))
    if which is None:
        return site.error(request, 400, "Nothing was chosen.")
    total = number_of(form.get("total")) or which.count(site)
    cursors: list[str] = []
    report = _send(request, form, person, which, cursors)
    if total == 1 and report.done and report.done[0].new_id:
        return redirect(request, "task", {"id": report.done[0].new_id})
    return _report(request, form, which, report, total, cursors)


def _send(
    request: Request, form: Form, person: Person, which: Chosen, cursors: list[str]
) -> Report:
    site, deeds, way = site_of(request), deeds_of(request, person), which.way

    def records() -> Iterator[tuple[str, TaskRecord | None]]:
        for task_id, record in which.records(site, form.get("after") or None):
            yield task_id, record
            if record is not None:
                cursors.append(record.cursor)

    if way is None:
        return deeds.resend_each(records(), which.details, pace())
    items = (
        (way, task_id, which.seen.get(task_id) if record is None else _seen(which, record))
        for task_id, record in records()
    )
    return deeds.resend_missing(items, {**which.details, "missing": [way]}, pace())


def _report(
    request: Request, form: Form, which: Chosen, report: Report, total: int, cursors: list[str]
) -> Response:
    sent = number_of(form.get("sent")) + len(report.done)
    spared = number_of(form.get("spared")) + len(report.spared)
    failed = number_of(form.get("failed")) + len(report.failed)
    if which.query is None:
        rest = _left(which, report)
    else:
        # A cursor is noted when the next task is asked for: the last one noted was dealt with.
        rest = [*which.fields, ("after", cursors[-1])] if cursors else list(which.fields)
    counts = {"total": total, "sent": sent, "spared": spared, "failed": failed}
    state = [(name, str(number)) for name, number in counts.items()]
    goes_on = report.unfinished and bool(rest)
    return site_of(request).render(
        request, "retried.html", report=report, **counts,
        gone=0 if goes_on else max(total - sent - spared - failed, 0),
        fields=[*rest, *state] if goes_on else None,
    )  # fmt: skip


def _left(which: Chosen, report: Report) -> list[tuple[str, str]]:
    """The fields of a form for those that were not tried."""
    left = report.left(which.seen)
    if not left:
        return []
    keys = [("key", _key(task_id, which.seen[task_id])) for task_id in left]
    return [*keys, *(field for field in which.fields if field[0] != "key")]


routes = [
    Route("/retry", preview, methods=["GET"]),
    Route("/retry", action(send), methods=["POST"]),
]
