"""Retry: one task, several, or all that a search finds; after showing what will be sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import Route

from fullresult.actions.batch import Batch, NotDone, run, sending
from fullresult.insight.dates import length, past
from fullresult.insight.stale import stale_query
from fullresult.record import TaskRecord, pages
from fullresult.web.acting import action, write_down_batch
from fullresult.web.forms import ids_of, key_of
from fullresult.web.pages.task import why_not
from fullresult.web.search import NotUnderstood, Search
from fullresult.web.site import Site, redirect, site_of
from fullresult.web.trees import tree_of

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.storage import TaskQuery
    from fullresult.web.forms import Form

SHOWN = 20
MOST_IDS = 1000
_BATCH = 100


class Chosen(NamedTuple):
    """Which tasks: ids, or all that were created until a time and match a question."""

    ids: tuple[str, ...]
    query: TaskQuery | None
    fields: tuple[tuple[str, str], ...]
    """What a form has to send so that the same are chosen again."""

    def records(
        self, site: Site, after: str | None = None
    ) -> Iterator[tuple[str, TaskRecord | None]]:
        """Their ids and records, where there are such; of a question the oldest first."""
        if self.query is None:
            yield from ((task_id, site.full.get(task_id)) for task_id in self.ids)
            return
        query = replace(self.query, limit=_BATCH, order="oldest", after=after)
        for record in pages.walk(site.full.find, query):
            yield record.task_id, record

    def count(self, site: Site) -> int:
        return len(self.ids) if self.query is None else site.full.count(self.query)


def chosen(site: Site, asked: QueryParams | Form) -> Chosen | None:
    """What `id`s, `stale`, or `q` say, created no later than `until`. Raises `NotUnderstood`."""
    if unique := tuple(ids_of(asked)):
        if len(unique) > MOST_IDS:
            raise NotUnderstood(f"Choose {MOST_IDS:,} tasks at most, or all that a search finds.")
        return Chosen(unique, None, tuple(("key", key_of(task_id)) for task_id in unique))
    until = _until(site, asked.get("until") or "")
    if age := asked.get("stale"):
        return _stale(age, until)
    text = (asked.get("q") or "").strip()
    if not text:
        return None
    search = Search.read(text)
    query = search.query(until)
    query = replace(query, until=min(until, query.until or until))
    return Chosen((), query, (("q", str(search)), ("until", until.isoformat())))


def _until(site: Site, text: str) -> datetime:
    """What is sent now makes new records, which must not be sent as well."""
    try:
        return past(text, site.now()) if text else site.now()
    except ValueError as error:
        raise NotUnderstood(str(error)) from None


def _stale(age: str, until: datetime) -> Chosen:
    try:
        moved_before = until - length(age)
    except ValueError as error:
        raise NotUnderstood(str(error)) from None
    query = stale_query(moved_before, None, None)
    return Chosen((), query, (("stale", age), ("until", until.isoformat())))


def preview(request: Request) -> Response:
    """What will be sent, and a form to confirm it."""
    site = site_of(request)
    try:
        which = chosen(site, request.query_params)
    except NotUnderstood as error:
        return site.error(request, 400, str(error))
    if which is None:
        return site.error(request, 400, "Choose tasks first, or search for something.")
    number = which.count(site)
    first = islice(which.records(site), SHOWN)
    records = [record for _, record in first if record is not None]
    if not number or not records:
        return site.error(request, 404, "No such task is recorded; nothing can be sent.")
    return site.render(
        request, "retry.html", number=number, records=records, fields=which.fields,
        problems={record.task_id: why_not(record) for record in records},
        details=_details(site, records[0]) if number == 1 else None, by_search=not which.ids,
    )  # fmt: skip


def _details(site: Site, record: TaskRecord) -> dict[str, Any]:
    return {
        "record": record,
        "args": tree_of(record.args),
        "kwargs": tree_of(record.kwargs),
        "again": site.full.find(retry_of=record.task_id, order="oldest", limit=SHOWN),
    }


def send(request: Request, form: Form, person: Person) -> Response:
    """Send them again, as many as time allows; the page that answers goes on with the rest."""
    site = site_of(request)
    try:
        which = chosen(site, form)
    except NotUnderstood as error:
        return site.error(request, 400, str(error))
    if which is None:
        return site.error(request, 400, "Nothing was chosen.")
    total = _number(form.get("total")) or which.count(site)
    cursors: list[str] = []

    def items() -> Iterator[tuple[str, TaskRecord | None]]:
        for task_id, record in which.records(site, form.get("after") or None):
            yield task_id, record
            if record is not None:
                cursors.append(record.cursor)

    batch = run(items(), lambda record: _resend(site, record))
    write_down_batch(
        request, person, "resend", batch, dict(f for f in which.fields if f[0] != "key")
    )
    if total == 1 and batch.done and batch.done[0].new_id:
        return redirect(request, "task", {"id": batch.done[0].new_id})
    return _report(request, form, which, batch, total, cursors)


def _report(
    request: Request, form: Form, which: Chosen, batch: Batch, total: int, cursors: list[str]
) -> Response:
    sent = _number(form.get("sent")) + len(batch.done)
    failed = _number(form.get("failed")) + len(batch.failed)
    if which.query is None:
        rest = batch.left(which.ids)
    else:
        # One is noted when the next is asked for: the last one noted was done.
        rest = [*which.fields, ("after", cursors[-1])] if cursors else list(which.fields)
    state = [("total", str(total)), ("sent", str(sent)), ("failed", str(failed))]
    return site_of(request).render(
        request, "retried.html", batch=batch, total=total, sent=sent, failed=failed,
        fields=[*rest, *state] if batch.unfinished and rest else None,
    )  # fmt: skip


def _resend(site: Site, record: TaskRecord | None) -> str:
    if record is None:
        raise NotDone("no such task is recorded")
    with sending(record.task_id):
        return str(site.full.resend(record).id)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 12 else 0  # noqa: PLR2004


routes = [
    Route("/retry", preview, methods=["GET"]),
    Route("/retry", action(send), methods=["POST"]),
]
