"""Reads of failures by their cause, and of replays."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fullresult.actions.documents import preview_document, progress_document, replay_document
from fullresult.insight.dates import past
from fullresult.web.api.fields import FLAG as YES_OR_NO
from fullresult.web.api.fields import PAST, Field, Kind, number, text
from fullresult.web.api.filters import ALL, FILTERS, limit
from fullresult.web.api.operation import Call, Operation
from fullresult.web.api.replay_query import query_of_replay
from fullresult.web.api.schemas import FLAG, list_of, of, ref

_A_DAY = timedelta(days=1)


def _failures(call: Call) -> dict[str, Any]:
    most = call["limit"]
    found = call.reading.failures.find(
        call.get("since") or _A_DAY,
        name=call.get("name"),
        new_since=call.get("new_since"),
        all=bool(call.get("all")),
        limit=most + 1,
    )
    return {
        "failures": [each.document for each in found[:most]],
        "more": len(found) > most,
    }


def _failure(call: Call) -> dict[str, Any]:
    found = call.full.failures.show(call["group"], call.get("affected"))
    if found is None:
        raise LookupError(f"no failure is recorded in the group {call['group']!r}")
    return found.document


def _replays(call: Call) -> dict[str, Any]:
    found = call.full.replays.list(limit=call["limit"])
    return {"replays": [replay_document(each) for each in found]}


def _replay(call: Call) -> dict[str, Any]:
    replays = call.full.replays
    found = replays.get(call["id"])
    return progress_document(found, replays.progress(found.replay_id))


def _preview(call: Call) -> dict[str, Any]:
    seen = call.full.replays.preview(query_of_replay(call), all=bool(call.get("all")))
    return preview_document(seen, call["rate"])


def _release_or_when(value: Any, now: datetime) -> datetime | str:
    words = str(text().read(value, now))
    try:
        return past(words, now)
    except ValueError:
        return words


GROUP = Field("group", text(), "The group's `fingerprint`, as /failures lists it.", required=True)
REPLAY_ID = Field("id", text(), "The id of the replay.", required=True)
_SLOWEST, _FASTEST = 1 / 86_400, 1_000.0
RATE = Field("rate", number(_SLOWEST, _FASTEST), "Tasks a second.", default=20.0)

operations = (
    Operation(
        "GET", "failures", "List failures by their cause, those that failed last first",
        (
            Field("since", PAST, "Failed since: `2h`, or an ISO date; without it, 1 day."),
            Field("name", text(), "Of tasks with this name, or a glob like `shop.*`."),
            Field(
                "new_since", Kind(text().schema, _release_or_when),
                "First failed since a time, or since the first worker of a release.",
            ),
            Field("all", YES_OR_NO, "Also what is resolved, muted or sent again."),
            limit(),
        ),
        of(failures=list_of(ref("Failure")), more=FLAG), _failures, needs="failures",
        statuses=(404,),
    ),
    Operation(
        "GET", "failure", "Show one group of failures",
        (
            GROUP,
            Field("affected", text(), "A keyword argument whose values are counted."),
        ),
        ref("FailureDetails"), _failure, needs="failures", statuses=(404,),
    ),
    Operation(
        "GET", "replays", "List replays, the newest first", (limit(),),
        of(replays=list_of(ref("Replay"))), _replays, needs="replays",
    ),
    Operation(
        "GET", "replay", "Show one replay, and what became of what it sent", (REPLAY_ID,),
        ref("ReplayProgress"), _replay, needs="replays", statuses=(404,),
    ),
    Operation(
        "GET", "replays/preview", "Show what a replay would send", (*FILTERS, ALL, RATE),
        ref("ReplayPreview"), _preview, needs="replays",
    ),
)  # fmt: skip
