"""Acts on tasks: retry, cancel, reschedule, release, send now, delete, trigger, operate."""

from __future__ import annotations

import time
from typing import Any

from fullresult.actions.errors import CannotResend, NotDone, sending
from fullresult.actions.missing import Way
from fullresult.actions.sending import WrongCall
from fullresult.actions.signature import check_signature
from fullresult.actions.stopping import POOLS, SIGNALS, Stopping
from fullresult.insight.unresolved import dealt_with_first
from fullresult.record import encoding
from fullresult.storage import StorageError
from fullresult.web.acting import actor_of, deeds_of, pace
from fullresult.web.api.fields import (
    ARRAY,
    DUE,
    FLAG,
    MOMENT,
    OBJECT,
    Field,
    Wrong,
    choice,
    text,
    whole,
)
from fullresult.web.api.filters import FILTERS, TASK_ID, query_as_given
from fullresult.web.api.operation import Answer, Call, Operation, Refused
from fullresult.web.api.outcome import ABOUT, outcome
from fullresult.web.api.reading_tasks import OPERATION, TAKE_OVER
from fullresult.web.api.schemas import FLAG as FLAG_SCHEMA
from fullresult.web.api.schemas import TEXT, WHOLE, of, or_null, ref

UNWRITTEN = or_null(TEXT)
_MOST_IDS = 1_000
_MOST_DELETED = 10_000
_PORTION = 500
"""Records that are deleted between two looks at the clock."""
_CHANGES = ("args", "kwargs", "queue", "eta", "priority")
_LONGEST = 1_000
_LAST_TURN = 999_999_999


def _ids(call: Call) -> list[str]:
    return list(dict.fromkeys(map(encoding.key, call["ids"])))


def _retry(call: Call) -> Answer:
    ids, way = _ids(call), call.get("missing")
    changed = [name for name in _CHANGES if name in call.given]
    deeds = deeds_of(call.request, call.person)
    if not changed and way is None:
        return outcome(deeds.resend_ids(ids, None, pace()), ids)
    if way is not None:
        if changed:
            raise Wrong(f"{changed[0]} cannot be changed of what is missing.", changed[0])
        chosen: list[tuple[Way, str, str | None]] = [(way, task_id, None) for task_id in ids]
        return outcome(deeds.resend_missing(chosen, {"missing": [way]}, pace()), ids)
    if len(ids) != 1:
        raise Wrong(f"{changed[0]} can be changed of one task at a time; ids has {len(ids):,}.")
    return _edited(call, ids[0])


def _edited(call: Call, task_id: str) -> Answer:
    record = call.full.get(task_id)
    if record is None:
        raise LookupError(f"no task {task_id!r} is recorded")
    args, kwargs = call.get("args"), call.get("kwargs")
    if (args is not None and record.kwargs is None and kwargs is None) or (
        kwargs is not None and record.args is None and args is None
    ):
        raise Refused(409, "Its other arguments were not kept; give args and kwargs.")
    options = {name: call[name] for name in ("queue", "eta", "priority") if name in call.given}
    try:
        if args is not None or kwargs is not None:
            check_signature(call.full.app, record, args, kwargs)
    except TypeError as error:
        raise Wrong(f"The task does not take these arguments: {error}", "args") from None
    deeds = deeds_of(call.request, call.person)
    try:
        with sending(task_id):
            new = deeds.resend(record, args, kwargs, options)
    except NotDone as error:
        is_refused = isinstance(error.__cause__, CannotResend)
        raise Refused(409 if is_refused else 502, encoding.safe_str(error)) from error
    done = {"task_id": task_id, "new_id": str(new.id)}
    nothing: dict[str, Any] = {"spared": [], "failed": [], "left": [], "stopped": None}
    return Answer({"done": [done], **nothing}, 200)


def _cancel(call: Call) -> Answer:
    ids = _ids(call)
    return outcome(deeds_of(call.request, call.person).cancel(ids, None, pace()), ids)


def _reschedule(call: Call) -> Answer:
    ids = _ids(call)
    deeds = deeds_of(call.request, call.person)
    return outcome(deeds.reschedule(ids, call["eta"], pace()), ids)


def _release(call: Call) -> Answer:
    ids = _ids(call)
    return outcome(deeds_of(call.request, call.person).release(ids, pace()), ids)


def _send_now(call: Call) -> Answer:
    ids = _ids(call)
    return outcome(deeds_of(call.request, call.person).send_each_now(ids, pace()), ids)


def _revoke(call: Call) -> Answer:
    ids = _ids(call)
    return outcome(_stopping(call).revoke(ids, pace()), ids)


def _terminate(call: Call) -> Answer:
    ids = _ids(call)
    return outcome(_stopping(call).terminate(ids, call["signal"], pace()), ids)


def _stopping(call: Call) -> Stopping:
    return call.full.stopping(actor_of(call.request, call.person))


def _delete(call: Call) -> dict[str, Any]:
    if not call.person.may_delete:
        raise Refused(403, "You may act but not delete records.")
    ids = call.get("ids")
    if ids == ():
        raise Wrong("ids is an empty list; give at least one, or leave it out.", "ids")
    named = {"task_ids": _ids(call)} if ids else {}
    query = query_as_given(call, order="oldest", limit=None, **named)
    if not query.is_narrow and not call.get("all"):
        raise Wrong(
            "Say which tasks: give at least one filter, and not only not_state, or all=true for "
            "every record."
        )
    query = query if call.get("all") else dealt_with_first(query)
    most, until, sizes = call["limit"], time.monotonic() + (pace().patience or 0), [0]

    def goes_on(some: int) -> bool:
        sizes.append(some)
        return time.monotonic() < until

    deleted = deeds_of(call.request, call.person).delete(query, most, _PORTION, goes_on)
    asked_last = min(_PORTION, most - (deleted - sizes[-1]))
    return {"deleted": deleted, "more": sizes[-1] >= asked_last}


def _trigger(call: Call) -> dict[str, Any]:
    deeds = deeds_of(call.request, call.person)
    try:
        result = deeds.trigger(call["name"], call.site.scheduler)
    except StorageError:
        raise
    except Exception as error:  # of the broker's library, or of what makes an argument
        if type(error) is LookupError:
            raise
        problem = encoding.clip(encoding.safe_str(error), _LONGEST)
        raise Refused(502, f"It was not sent: {problem}") from error
    return {"task_id": str(result.id)}


def _send(call: Call) -> dict[str, Any]:
    if not call.person.may_send:
        raise Refused(403, "You may act but not send a task of your choice.")
    options = {name: call[name] for name in ("queue", "eta", "priority") if name in call.given}
    sending = call.full.sending(actor_of(call.request, call.person))
    name, args, kwargs = call["name"], call.get("args") or [], call.get("kwargs") or {}
    try:
        result = sending.send(name, args, kwargs, options)
    except StorageError:
        raise
    except WrongCall as error:
        raise Wrong(f"The task does not take these arguments: {error}", "args") from None
    except Exception as error:  # of the broker's library
        if type(error) is LookupError:
            raise
        problem = encoding.clip(encoding.safe_str(error), _LONGEST)
        raise Refused(502, f"It was not sent: {problem}") from error
    return {"task_id": str(result.id)}


def _operate(call: Call) -> dict[str, Any]:
    actor, taking_over = actor_of(call.request, call.person), bool(call.get("take_over"))
    if taking_over and "turn" not in call.given:
        raise Wrong(
            "turn is missing: with take_over, give the `turn` that GET /plan?take_over=true "
            "answers, so that nothing is taken over that was not looked at.",
            "turn",
        )
    try:
        surgery = call.full.operating(actor, call["id"], call.get("operation"))
        result = surgery.run(take_over=taking_over, turn=call.get("turn"))
    except StorageError:
        raise
    except Exception as error:  # of the broker's library, too
        if type(error) is LookupError:
            raise
        told = "Nothing was sent"
        if not isinstance(error, CannotResend):
            told = "It broke off, and some messages may have been sent; look before you try again"
        problem = encoding.clip(encoding.safe_str(error), _LONGEST)
        raise Refused(409, f"{told}: {problem}") from error
    return {"task_id": str(result.id)}


IDS = Field("ids", text(), "The tasks.", required=True, many=_MOST_IDS, names_task=True)
_ETA = Field("eta", MOMENT, "When it is to run: `in 2h`, an ISO date.")

operations = (
    Operation(
        "POST", "retry", "Send tasks again, each under a new id",
        (
            IDS,
            Field(
                "missing", choice("stale", "orphans", "stale_scheduled"),
                "The tasks went missing in this way: those are spared that a living worker runs, "
                "that ended, or that were sent again.",
            ),
            Field("args", ARRAY, "Other positional arguments, of one task."),
            Field("kwargs", OBJECT, "Other keyword arguments, of one task."),
            Field("queue", text(), "Another queue, of one task."),
            _ETA,
            Field("priority", whole(0, 255), "Another priority, of one task."),
        ),
        ref("Report"), _retry, about=ABOUT, statuses=(404, 409, 502),
    ),
    Operation(
        "POST", "cancel", "Cancel scheduled tasks for good", (IDS,), ref("Report"), _cancel,
        about=ABOUT, needs="schedules", statuses=(409,),
    ),
    Operation(
        "POST", "reschedule", "Make scheduled tasks due at another time",
        (
            IDS,
            Field(
                "eta", DUE, "When: `in 2h`, an ISO date; `+1h`: an hour later than each is due.",
                required=True,
            ),
        ),
        ref("Report"), _reschedule, about=ABOUT, needs="schedules", statuses=(409,),
    ),
    Operation(
        "POST", "release", "Give claimed tasks back to the sweepers, to be sent perhaps twice",
        (IDS,), ref("Report"), _release, about=ABOUT, needs="schedules", statuses=(409,),
    ),
    Operation(
        "POST", "send-now", "Send scheduled tasks now, each under its own id", (IDS,),
        ref("Report"), _send_now, about=ABOUT, needs="schedules", statuses=(409,),
    ),
    Operation(
        "POST", "revoke", "Have workers drop tasks that have not begun", (IDS,), ref("Report"),
        _revoke, about=f"{ABOUT} Every living worker has to confirm it.", statuses=(409,),
    ),
    Operation(
        "POST", "terminate", "End tasks that run, with their processes",
        (
            IDS,
            Field("signal", choice(*SIGNALS), "Sent to the process.", default="SIGTERM"),
        ),
        ref("Report"), _terminate, statuses=(409,),
        about=f"{ABOUT} Only workers with the pools {', '.join(POOLS)} can end one task.",
    ),
    Operation(
        "POST", "delete", "Delete records, the oldest first",
        (
            Field("ids", text(), "These tasks.", many=_MOST_IDS, names_task=True),
            *FILTERS,
            Field("all", FLAG, "Also what is not dealt with yet; without a filter, every record."),
            Field("limit", whole(1, _MOST_DELETED), "At most this many.", default=1_000),
        ),
        of(deleted=WHOLE, more=FLAG_SCHEMA, unwritten=UNWRITTEN), _delete,
        about="It ends after 4 seconds at the latest. `more`: there may be others; ask again.",
    ),
    Operation(
        "POST", "trigger", "Send a periodic task now, as beat would",
        (Field("name", text(), "Its name, as /periodic lists it.", required=True),),
        of(task_id=TEXT, unwritten=UNWRITTEN), _trigger, statuses=(404, 502),
    ),
    Operation(
        "POST", "send", "Send a task of the app, in no retry of another",
        (
            Field("name", text(), "The task's name.", required=True),
            Field("args", ARRAY, "Positional arguments."),
            Field("kwargs", OBJECT, "Keyword arguments."),
            Field("queue", text(), "The queue; without it, as the app routes it."),
            _ETA,
            Field("priority", whole(0, 255), "The priority of the message."),
        ),
        of(task_id=TEXT, unwritten=UNWRITTEN), _send, statuses=(404, 502),
    ),
    Operation(
        "POST", "operate", "Have a workflow go on, as /plan shows", (
            TASK_ID, OPERATION, TAKE_OVER,
            Field(
                "turn", whole(0, _LAST_TURN),
                "The `turn` of the plan that was seen: nothing is sent if somebody took one since.",
            ),
        ),
        of(task_id=TEXT, unwritten=UNWRITTEN), _operate, statuses=(404, 409),
    ),
)  # fmt: skip
