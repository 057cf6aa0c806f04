"""Replays: all of them, one with what became of it, and a new one of what a search finds."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.exceptions import QueueNotFound
from starlette.routing import Route

from fullresult.actions.replay_ends import Part
from fullresult.actions.replays import Stop, WrongReplay
from fullresult.record.replay import ACTIVE, HELD, UNDONE
from fullresult.web.acting import action, actor_of, pace
from fullresult.web.pages.retry import chosen
from fullresult.web.search import NotUnderstood
from fullresult.web.site import needs_schedules, redirect, site_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.actions.replays import Replays
    from fullresult.config.users import Person
    from fullresult.record.replay import Replay
    from fullresult.storage import TaskQuery
    from fullresult.web.forms import Form
    from fullresult.web.site import Site

_RATE = 20.0
_AT_ONCE, _AFTERWARDS = (1_000, 50), (20_000, 500)
"""Tasks that are counted, and those that are looked at."""
_POSITION = re.compile("[0-9]{1,15}")
_IN_PARTS = {"undo": "Go on undoing", "cancel": "Go on cancelling"}


def replays(request: Request) -> Response:
    """The newest hundred."""
    site = site_of(request)
    return site.render(request, "replays.html", replays=site.full.replays.list())


def replay(request: Request) -> Response:
    """One replay, what became of what it sent, and what may be done."""
    site, replay_id = site_of(request), request.query_params.get("id", "")
    deeds = site.full.replays
    try:
        found = deeds.get(replay_id)
    except LookupError as error:
        return site.error(request, 404, str(error)[:200])
    return site.render(
        request, "replay.html", replay=found, progress=deeds.progress(replay_id),
        active=found.state in ACTIVE, held=found.state in HELD, undone=found.state == UNDONE,
        left=_left(found),
    )  # fmt: skip


def _left(replay: Replay) -> dict[str, Any] | None:
    """The fields of a form that goes on with what there was no time for."""
    if replay.state == UNDONE:
        return None
    for did, words in _IN_PARTS.items():
        if did in replay.ended:
            return {"before": replay.ended[did], "do": did, "words": words}
    return None


def act(request: Request, form: Form, person: Person) -> Response:
    """Pause, resume, cancel or undo it."""
    site, replay_id = site_of(request), request.query_params.get("id", "")
    deeds = _replays_of(request, person)
    before, did = form.get("before"), form.get("do")
    part = Part(pace().patience, int(before) if _POSITION.fullmatch(before) else None)
    known: dict[str, Callable[[str], object]] = {
        "pause": deeds.pause,
        "resume": deeds.resume,
        "cancel": partial(deeds.cancel_part, part=part),
        "undo": partial(deeds.undo, part=part),
    }
    do = known.get(did)
    if do is None:
        return site.error(request, 400, "Nothing was chosen.")
    try:
        do(replay_id)
    except LookupError as error:
        return site.error(request, 404, str(error)[:200])
    except WrongReplay as error:
        return site.error(request, 409, str(error))
    return redirect(request, "replay", {"id": replay_id})


def preview(request: Request) -> Response:
    """What a replay of a search would send, and a form to begin it.

    What there is no time for, the page loads next: that `part`, by more tasks.
    """
    site, part = site_of(request), request.query_params.get("part") is not None
    try:
        query, fields = _search(site, request.query_params)
    except NotUnderstood as error:
        return site.error(request, 400, str(error))
    most, by = _AFTERWARDS if part else _AT_ONCE
    # The search says what is left out.
    seen = site.full.replays.preview(query, all=True, most=most, by=by)
    return site.render(
        request, "replay_seen.html" if part else "replay_create.html",
        seen=seen, fields=fields, rate=_RATE, more={**dict(fields), "part": "1"},
        kinds=list(seen.kinds.items())[:20], loads=[load.told(_RATE) for load in seen.loads],
        drains=str(seen.drains_in(_RATE)), at_once=dict([*fields, ("at_once", "1")]),
    )  # fmt: skip


def create(request: Request, form: Form, person: Person) -> Response:
    """Begin the replay that was previewed: of the same search, created until the same time."""
    site = site_of(request)
    try:
        query, _ = _search(site, form)
        begun = _replays_of(request, person).create(
            query,
            rate=_number(form, "rate") or 0,
            canary=int(_number(form, "canary") or 0),
            stop_if=_stop(form),
            name=form.get("name").strip()[:200] or None,
            all=True,
        )
    except (NotUnderstood, WrongReplay, QueueNotFound) as error:
        return site.error(request, 400, str(error))
    return redirect(request, "replay", {"id": begun.replay_id})


def _search(site: Site, asked: QueryParams | Form) -> tuple[TaskQuery, list[tuple[str, str]]]:
    which = chosen(site, asked)
    if which is None or which.query is None or which.way is not None:
        raise NotUnderstood("A replay is of all that a search finds; search for tasks first.")
    return which.query, list(which.fields)


def _stop(form: Form) -> Stop | None:
    percent, minimum = _number(form, "percent"), _number(form, "minimum")
    return None if percent is None else Stop(percent / 100, int(minimum or 1))


def _number(form: Form, name: str) -> float | None:
    text = form.get(name).strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise NotUnderstood(f"{name} must be a number, not {text[:40]!r}")
    return number


def _replays_of(request: Request, person: Person) -> Replays:
    return site_of(request).full.replaying(actor_of(request, person))


routes = [
    Route("/replays", needs_schedules(replays)),
    Route("/replay", needs_schedules(replay), methods=["GET"]),
    Route("/replay", action(act), methods=["POST"]),
    Route("/replay-create", needs_schedules(preview), methods=["GET"]),
    Route("/replay-create", action(create), methods=["POST"]),
]
