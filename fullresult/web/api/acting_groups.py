"""Acts on groups of failures, and on replays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery.exceptions import QueueNotFound

from fullresult.actions.documents import progress_document, replay_document
from fullresult.actions.failures import check_until
from fullresult.actions.replay_ends import Part, Undone
from fullresult.actions.replays import Replays, Stop, WrongReplay
from fullresult.insight.dates import moment
from fullresult.insight.document import plain
from fullresult.web.acting import actor_of, deeds_of, pace
from fullresult.web.api.acting_tasks import UNWRITTEN
from fullresult.web.api.fields import PAST, Field, Kind, Wrong, number, text, whole
from fullresult.web.api.filters import ALL, FILTERS
from fullresult.web.api.operation import Call, Operation, Refused
from fullresult.web.api.reading_failures import GROUP, RATE, REPLAY_ID
from fullresult.web.api.replay_query import query_of_replay
from fullresult.web.api.schemas import TEXT, WHOLE, list_of, of, or_null, ref

if TYPE_CHECKING:
    from fullresult.record import Decision
    from fullresult.record.replay import Replay


# --- groups of failures


def _resolve(call: Call) -> dict[str, Any]:
    deeds = deeds_of(call.request, call.person).failures
    return _decided(deeds.resolve(call["group"], call.get("note") or "", seen=call.get("seen")))


def _mute(call: Call) -> dict[str, Any]:
    deeds, note = deeds_of(call.request, call.person).failures, call.get("note") or ""
    until, count = call.get("until"), call.get("count")
    return _decided(deeds.mute(call["group"], note, until=until, count=count))


def _reopen(call: Call) -> dict[str, Any]:
    deeds = deeds_of(call.request, call.person).failures
    return _decided(deeds.reopen(call["group"], call.get("note") or ""))


def _decided(decision: Decision) -> dict[str, Any]:
    return {"decision": plain(decision._asdict())}


def _to_come(value: Any, now: datetime) -> datetime:
    until = moment(str(text(100).read(value, now)), now)
    check_until(until, now)
    return until


# --- replays


def _create(call: Call) -> dict[str, Any]:
    percent = call.get("stop_percent")
    if percent is None and "stop_minimum" in call.given:
        raise Wrong("stop_minimum means something with stop_percent alone.", "stop_minimum")
    stop = None if percent is None else Stop(percent / 100, call.get("stop_minimum") or 1)
    try:
        begun = _replays(call).create(
            query_of_replay(call),
            rate=call["rate"],
            canary=call.get("canary") or 0,
            stop_if=stop,
            name=call.get("label"),
            queue=call.get("to_queue"),
            all=bool(call.get("all")),
        )
    except QueueNotFound as error:
        raise Wrong(f"to_queue: {error}", "to_queue") from None
    return {"replay": replay_document(begun)}


def _pause(call: Call) -> dict[str, Any]:
    return _moved(call, lambda replays, replay_id: replays.pause(replay_id))


def _resume(call: Call) -> dict[str, Any]:
    return _moved(call, lambda replays, replay_id: replays.resume(replay_id))


def _cancel(call: Call) -> dict[str, Any]:
    ended: list[Undone] = []
    told = _moved(call, lambda replays, each: ended.append(replays.cancel_part(each, _part(call))))
    return {**told, "cancelled": ended[0].cancelled, "before": ended[0].before}


def _undo(call: Call) -> dict[str, Any]:
    undone = _tried(lambda: _replays(call).undo(call["id"], _part(call)))
    return asdict(undone)


def _part(call: Call) -> Part:
    return Part(pace().patience, call.get("before"))


def _moved(call: Call, do: Callable[[Replays, str], object]) -> dict[str, Any]:
    replays = _replays(call)
    _tried(lambda: do(replays, call["id"]))
    found: Replay = replays.get(call["id"])
    return {"replay": progress_document(found, replays.progress(found.replay_id))}


def _tried(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except WrongReplay as error:
        raise Refused(409, str(error)) from None


def _replays(call: Call) -> Replays:
    return call.full.replaying(actor_of(call.request, call.person))


_NOTE = Field("note", text(2_000), "Why; others see it.")
_DECISION = of(decision=ref("Decision"), unwritten=UNWRITTEN)
_PROGRESS = of(replay=ref("ReplayProgress"), unwritten=UNWRITTEN)
_BEFORE = Field("before", whole(0, 2**53), "The `before` of the answer to go on with.")
_IN_PARTS = (
    "It ends after 4 seconds at the latest, what was taken last being done first. A `before` that "
    "is not null: not all was done; ask again with it."
)
_UNTIL = Kind(text(100).schema, _to_come)

operations = (
    Operation(
        "POST", "failures/resolve", "Say that all failures of a group until now are dealt with",
        (GROUP, _NOTE, Field("seen", PAST, "The end of the last one seen: later ones are not.")),
        _DECISION, _resolve, needs="failures", statuses=(404,),
    ),
    Operation(
        "POST", "failures/mute", "Leave a group of failures out of listings",
        (
            GROUP, _NOTE,
            Field("until", _UNTIL, "Until then: `in 2h`, an ISO date."),
            Field("count", whole(1, 1_000_000), "Until it has failed so many times more."),
        ),
        _DECISION, _mute, needs="failures", statuses=(404,),
    ),
    Operation(
        "POST", "failures/reopen", "Take back what was decided about a group of failures",
        (GROUP, _NOTE), _DECISION, _reopen, needs="failures", statuses=(404,),
    ),
    Operation(
        "POST", "replays", "Begin to send again all that match now, at a rate, by the sweepers",
        (
            *FILTERS, ALL, RATE,
            Field("canary", whole(1, 1_000_000), "Send this many first, and await their ends."),
            Field("stop_percent", number(0, 100), "Stop if more than so many of 100 fail."),
            Field("stop_minimum", whole(1, 1_000_000), "Of so many ends at least."),
            Field("label", text(200), "A name for the listing."),
            Field("to_queue", text(), "Send them there, not where they were sent."),
        ),
        of(replay=ref("Replay"), unwritten=UNWRITTEN), _create, needs="replays",
    ),
    Operation(
        "POST", "replays/pause", "Send nothing more of a replay for now", (REPLAY_ID,), _PROGRESS,
        _pause, needs="replays", statuses=(404, 409),
    ),
    Operation(
        "POST", "replays/resume", "Go on with a replay that is paused or stopped", (REPLAY_ID,),
        _PROGRESS, _resume, needs="replays", statuses=(404, 409),
    ),
    Operation(
        "POST", "replays/cancel", "End a replay: what is not sent yet never will be",
        (REPLAY_ID, _BEFORE),
        of(
            replay=ref("ReplayProgress"), cancelled=WHOLE, before=or_null(WHOLE),
            unwritten=UNWRITTEN,
        ), _cancel, about=_IN_PARTS, needs="replays", statuses=(404, 409),
    ),
    Operation(
        "POST", "replays/undo", "Cancel what is not sent, revoke what has not begun, list what ran",
        (REPLAY_ID, _BEFORE),
        of(
            cancelled=WHOLE, revoked=list_of(TEXT), ran=list_of(TEXT), may_run=list_of(TEXT),
            silent=list_of(TEXT), before=or_null(WHOLE), unwritten=UNWRITTEN,
        ), _undo, about=_IN_PARTS, needs="replays", statuses=(404, 409),
    ),
)  # fmt: skip
