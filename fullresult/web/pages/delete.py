"""Delete: records that were selected, or all that a search finds, after a preview."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from starlette.routing import Route

from fullresult.insight.unresolved import dealt_with_first
from fullresult.record import encoding
from fullresult.storage import TaskQuery
from fullresult.web.acting import action, deeds_of
from fullresult.web.forms import ids_of, key_of, number_of
from fullresult.web.search import NotUnderstood, Search, until_of
from fullresult.web.site import Links, Site, site_of

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.web.forms import Form

_SHOWN = 20
_MOST_IDS = 1_000
_AT_ONCE = 10_000
"""Records that one request deletes at most; the next one takes what is left."""
_PORTION = 1_000


class Chosen(NamedTuple):
    """The records to delete."""

    query: TaskQuery
    fields: tuple[tuple[str, str], ...]
    """The fields of a form that chooses the same records."""
    back: str
    """The search from which one came."""
    kept: bool = False
    """True if what is not dealt with stays, though the search would find it."""


def chosen(site: Site, asked: QueryParams | Form) -> Chosen | None:
    """The records of `id`s, or of `q`, created until `until`. Raises `NotUnderstood`.

    Of a search for what ended badly alone, only what is dealt with, unless it says `resent:`: as
    the command does.
    """
    if ids := ids_of(asked):
        if len(ids) > _MOST_IDS:
            raise NotUnderstood(f"Choose {_MOST_IDS:,} tasks at most, or all that a search finds.")
        fields = tuple(("key", key_of(task_id)) for task_id in ids)
        query = TaskQuery(task_ids=[*map(encoding.key, ids)], order="oldest", limit=None)
        return Chosen(query, fields, "")
    search = Search.read((asked.get("q") or "").strip())
    until = until_of(asked.get("until") or "", site.now())
    found = search.query(until, order="oldest", limit=None)
    if search.resent is None:
        found = replace(found, unresolved=None)
    if not found.is_narrow:
        return None
    query = found if search.resent is not None else dealt_with_first(found)
    fields = (("q", str(search)), ("until", until.isoformat()))
    return Chosen(query.created_before(until), fields, str(search), kept=query != found)


def preview(request: Request) -> Response:
    """The records that will be deleted, and a form to confirm it."""
    site = site_of(request)
    try:
        which = chosen(site, request.query_params)
    except NotUnderstood as error:
        return site.error(request, 400, str(error))
    if which is None:
        return site.error(request, 400, "Choose tasks first, or search for something.")
    number = site.full.count(which.query)
    if not number:
        of_these = "is dealt with yet; resent:any finds the others" if which.kept else "is recorded"
        return site.error(request, 404, f"No such task {of_these}; nothing can be deleted.")
    records = site.full.find(replace(which.query, limit=_SHOWN))
    return site.render(
        request, "delete.html", number=number, records=records,
        fields=[*which.fields, ("most", str(number))],
        kept=which.kept, back=Links(request)("", q=which.back) if which.back else Links(request)(),
    )  # fmt: skip


def delete(request: Request, form: Form, person: Person) -> Response:
    """Delete them, many in portions; the page that answers goes on with the rest.

    Not more than were previewed: others may have come to match since.
    """
    site = site_of(request)
    if not person.may_delete:
        return site.error(request, 403, "You may act but not delete records.")
    try:
        which = chosen(site, form)
    except NotUnderstood as error:
        return site.error(request, 400, str(error))
    if which is None:
        return site.error(request, 400, "Nothing was chosen.")
    before, most = number_of(form.get("deleted")), number_of(form.get("most"))
    at_once = min(_AT_ONCE, most - before)
    if at_once < 1:
        return site.error(request, 400, "Nothing was chosen.")
    deleted = before + deeds_of(request, person).delete(which.query, at_once, _PORTION)
    state = [("most", str(most)), ("deleted", str(deleted))]
    rest = [*which.fields, *state] if before + _AT_ONCE == deleted < most else None
    return site.render(
        request, "deleted.html", deleted=deleted, fields=rest, back=which.back,
    )  # fmt: skip


routes = [
    Route("/delete", preview, methods=["GET"]),
    Route("/delete", action(delete), methods=["POST"]),
]
