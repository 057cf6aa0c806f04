"""Acts on queues: pause and resume."""

from __future__ import annotations

from fullresult.actions.documents import told_document
from fullresult.actions.pausing import LONGEST_REASON, CannotPause, Pausing
from fullresult.web.acting import actor_of
from fullresult.web.api.fields import LENGTH, Field, Wrong, text
from fullresult.web.api.operation import Answer, Call, Operation
from fullresult.web.api.schemas import FLAG, NUMBER, TEXT, list_of, of, or_null
from fullresult.web.site import visit_of

_QUEUE = Field("queue", text(), "Its name, as /queues lists it.", required=True)
_TOLD = of(
    queue=TEXT,
    paused=FLAG,
    strangers=list_of(TEXT),
    problem=or_null(TEXT),
    asks_within=or_null(NUMBER),
    unwritten=or_null(TEXT),
)
_ABOUT = (
    "`strangers`: workers without FullResult that answered. `problem`: why workers could not be "
    "told. `asks_within`: seconds in which each asks the storage by itself."
)


def _pause(call: Call) -> Answer:
    return _do(call, paused=True)


def _resume(call: Call) -> Answer:
    return _do(call, paused=False)


def _do(call: Call, *, paused: bool) -> Answer:
    queue = call["queue"]
    pausing: Pausing = call.full.pausing(actor_of(call.request, call.person))
    try:
        if paused:
            told = pausing.pause(queue, call.get("reason") or "", call.get("for"))
        else:
            told = pausing.resume(queue)
    except CannotPause as error:
        raise Wrong(str(error), "queue") from None
    document = told_document(queue, told, paused=paused)
    return Answer({**document, "unwritten": visit_of(call.request).unwritten}, 200)


operations = (
    Operation(
        "POST", "queues/pause", "Have no worker take tasks from a queue, until it is resumed",
        (
            _QUEUE,
            Field("reason", text(LONGEST_REASON), "Why, for others to read."),
            Field("for", LENGTH, "Resumed by itself then: `2h`."),
        ),
        _TOLD, _pause, about=f"Workers that start later follow, too. {_ABOUT}",
    ),
    Operation(
        "POST", "queues/resume", "End the pause of a queue", (_QUEUE,), _TOLD, _resume,
        about=_ABOUT,
    ),
)  # fmt: skip
