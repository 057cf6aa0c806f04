"""Failures: by their cause, one cause in detail, and what is decided about it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from starlette.routing import Route

from fullresult.insight.dates import moment, past
from fullresult.insight.failures import MOST, SHOWN
from fullresult.web.acting import action, deeds_of
from fullresult.web.site import redirect, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.web.forms import Form

_SPANS = ("1h", "1d", "7d", "30d")
_NO_GROUPS = "This storage does not group failures."
_SHADES = "▁▂▃▄▅▆▇█"


def failures(request: Request) -> Response:
    """The groups that failed lately, or since a release, the last one first."""
    site, asked = site_of(request), request.query_params
    if not site.can.failures:
        return site.error(request, 501, _NO_GROUPS)
    since, name, new_since = (asked.get(key, "").strip() for key in ("since", "name", "new"))
    everything = asked.get("all") is not None
    found, problem = [], None
    reading = site.full.reading
    try:
        now = site.now()
        found = reading.failures.find(
            past(since or "1d", now),
            name=name or None,
            new_since=_release_or_when(new_since, now),
            all=everything,
        )
    except (LookupError, ValueError) as error:
        problem = str(error.args[0] if error.args else error)
    return site.render(
        request, "failures.html", 400 if problem else 200, failures=found, problem=problem,
        since=since or "1d", name=name, new=new_since, everything=everything, spans=_SPANS,
        most=MOST, shown=SHOWN, behind=reading.behind,
    )  # fmt: skip


def _release_or_when(text: str, now: datetime) -> datetime | str | None:
    if not text:
        return None
    try:
        return past(text, now)
    except ValueError:
        return text


def failure(request: Request) -> Response:
    """The group whose `id` is asked for."""
    site, asked = site_of(request), request.query_params
    if not site.can.failures:
        return site.error(request, 501, _NO_GROUPS)
    affected = asked.get("affected", "").strip() or None
    found = site.full.failures.show(asked.get("id", ""), affected)
    if found is None:
        return site.error(request, 404, "No failure is recorded in this group.")
    return site.render(
        request, "failure.html", it=found.failure, found=found, affected=affected,
        spark=_sparkline(found.bars),
    )  # fmt: skip


def _sparkline(bars: tuple[int, ...]) -> str:
    most = max(*bars, 1)
    return "".join(_SHADES[-(-n * (len(_SHADES) - 1) // most)] if n else "\u2007" for n in bars)


def decide(request: Request, form: Form, person: Person) -> Response:
    """Resolve, mute or reopen it."""
    site, group = site_of(request), request.query_params.get("id", "")
    if not site.can.failures:
        return site.error(request, 501, _NO_GROUPS)
    deeds, note = deeds_of(request, person).failures, form.get("note") or ""
    try:
        if form.get("do") == "resolve":
            deeds.resolve(group, note, seen=_seen(form.get("seen") or ""))
        elif form.get("do") == "mute":
            deeds.mute(group, note, until=_until(form.get("until") or "", site.now()))
        elif form.get("do") == "reopen":
            deeds.reopen(group, note)
        else:
            return site.error(request, 400, "Nothing was chosen.")
    except ValueError as error:
        return site.error(request, 400, str(error))
    except LookupError:
        return site.error(request, 404, "No failure is recorded in this group.")
    return redirect(request, "failure", {"id": group})


def _seen(text: str) -> datetime | None:
    """The end of the last failure that the page showed."""
    return datetime.fromisoformat(text) if text else None


def _until(text: str, now: datetime) -> datetime | None:
    return moment(text.strip(), now) if text.strip() else None


routes = [
    Route("/failures", failures),
    Route("/failure", failure, methods=["GET"]),
    Route("/failure", action(decide), methods=["POST"]),
]
