"""Tasks: the newest first, as the search box asks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import Route

from fullresult.insight.again import states_of_resent
from fullresult.insight.counts import StateCounts, count_by_state
from fullresult.insight.ids import SHORT, whole_id
from fullresult.insight.search import look
from fullresult.record import FAILURE, STATES
from fullresult.web.forms import number_of
from fullresult.web.search import QUALIFIERS, NotUnderstood, Search
from fullresult.web.site import Links, redirect, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.record import TaskRecord
    from fullresult.storage import TaskQuery

PAGE = 50
_LONGEST_ID = 300
_OF_THE_LIST = {"sort", "resent", "-state"}
"""Qualifiers that leave out no task by themselves, or only a few."""
_FURTHER = 2.0
"""Seconds for what the page asks for next, if no index answers the search."""


class Tab(NamedTuple):
    """A tab: one state, or all. Of failures, those that are not dealt with are *Unresolved*."""

    label: str
    href: str
    current: bool
    number: str | None


def tasks(request: Request) -> Response:
    """The list; with `fragment`, only the part of the page that changes.

    If nothing is asked for, these are the failures that nobody has dealt with, if there are any.
    """
    site, asked = site_of(request), request.query_params
    text, after = asked.get("q", "").strip(), asked.get("after") or None
    fragment = asked.get("fragment") is not None
    try:
        search = Search.read(text)
        query = search.query(site.now(), limit=PAGE + 1, after=after)
        only = _the_one(request, search)
        if only is not None and not fragment:
            return redirect(request, "task", {"id": only})
        reading = site.full.reading
        counts = count_by_state(
            reading.storage, _of_all_states(query, search), rest=search.resent is not None
        )
        if not asked and counts.shown(FAILURE) not in (None, "0"):
            search = Search().having("state", FAILURE)
            query = search.query(site.now(), limit=PAGE + 1)
        seconds = _FURTHER if asked.get("further") is not None else 0
        looked = look(reading.storage, query, seconds)
    except (NotUnderstood, ValueError) as error:
        return site.render(
            request, "tasks.html", 400, **_context(request, Search(), [], None, StateCounts({})),
            q=text, problem=str(error), after=None,
        )  # fmt: skip
    found = looked.records
    page = found[:PAGE]
    cursor = page[-1].cursor if len(found) > PAGE else None
    context = {**_context(request, search, page, cursor, counts), "looked": looked}
    context["behind"] = reading.behind
    if looked.after is not None:
        context["seen"] = number_of(asked.get("seen")) + (looked.looked_at or 0)
    context["resent"] = states_of_resent(reading.storage, page)
    if search.resent is None and query.unresolved:
        context["rest"] = str(search.having("resent", "any"))
    template = "tasks_live.html" if fragment else "tasks.html"
    return site.render(request, template, **context, q=str(search), problem=None, after=after)


def _of_all_states(query: TaskQuery, search: Search) -> TaskQuery:
    """What the tabs count: of failures, what is not dealt with, if the search does not say."""
    unresolved = None if search.resent is None else query.unresolved
    return replace(query, state=None, not_state=(), after=None, unresolved=unresolved)


def _context(
    request: Request,
    search: Search,
    records: list[TaskRecord],
    cursor: str | None,
    counts: StateCounts,
) -> dict[str, Any]:
    return {
        "records": records,
        "next": cursor,
        "tabs": list(_tabs(request, search, counts)),
        "qualifiers": QUALIFIERS,
        "searched": bool({term.qualifier for term in search.terms} - _OF_THE_LIST),
        "sort": _turned(request, search),
        "further": "newer" if search.sort == "oldest" else "older",
        "rest": None,
        "resent": {},
    }


def _tabs(request: Request, search: Search, counts: StateCounts) -> list[Tab]:
    link = Links(request)
    chosen = {value.upper() for value in search.all("state")}
    every = str(search.having("state"))
    tabs = [Tab("all", link("", q=every) if every else f"{link()}?q=", not chosen, None)]
    for state in STATES:
        href = link("", q=str(search.having("state", state)))
        tab = Tab(state, href, chosen == {state}, counts.shown(state))
        if state == FAILURE and search.resent in (None, "no"):
            tabs.insert(0, tab._replace(label="Unresolved"))
        else:
            tabs.append(tab)
    return tabs


def _turned(request: Request, search: Search) -> tuple[str, str]:
    """(address, label) of the same list in the other order."""
    oldest = search.sort == "oldest"
    other = search.having("sort", *(() if oldest else ("oldest",)))
    text = str(other)
    address = Links(request)("", q=text) if text else f"{Links(request)()}?q="
    return address, f"{'Oldest' if oldest else 'Newest'} first; turn it round"


def _the_one(request: Request, search: Search) -> str | None:
    """The id that was typed, if the text is one: a look-up is faster than a search.

    Of its beginning, as much as a row shows: `1187` is rather an order than a task.
    """
    if len(search.terms) != 1 or search.terms[0].qualifier:
        return None
    text = search.terms[0].value
    if not text or len(text) > _LONGEST_ID:
        return None
    full = site_of(request).full
    try:
        found = full.get(text if len(text) < SHORT else whole_id(full.storage, text))
    except LookupError:  # They are listed, as the text is in each.
        return None
    return None if found is None else found.task_id


routes = [Route("/", tasks)]
