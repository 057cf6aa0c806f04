"""The outcome of a task as a record keeps it: results, exceptions and children as text."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Retry
from celery.result import GroupResult
from celery.utils.serialization import UnpickleableExceptionWrapper
from kombu.utils.encoding import ensure_bytes

from fullresult.record import (
    FINISHED,
    NOT_RUN,
    RETRY,
    REVOKED,
    SUCCESS,
    Entry,
    Outcome,
    Stored,
    encoding,
)
from fullresult.record.stamps import Attempt, Moment
from fullresult.record.states import is_open
from fullresult.recording.fingerprint import fingerprint
from fullresult.recording.message import Payload


class Result(NamedTuple):
    """A task's return value; the fields are those of `Outcome`."""

    result: str | None = None
    result_text: str | None = None
    result_form: str | None = None


class Failure(NamedTuple):
    """An exception and where it came from; the fields are those of `Outcome` and `Entry`."""

    exception_type: str | None = None
    exception_message: str | None = None
    traceback: str | None = None
    fingerprint: str | None = None
    """Of `Outcome` alone, and there only of one that is finished."""


MOST_CHILDREN = 5_000
"""Tasks that are kept of those that a task published."""
EXPIRED = "expired"
"""Celery's word for why a task was revoked that nobody revoked."""
NO_RESULT = Result()
NO_FAILURE = Failure()


def encode_result(value: Any, *, as_json: bool, force_json: bool, limit: int) -> Result:
    """*value* as JSON, or as its repr where JSON is not wanted or cannot hold it.

    `result_form` says which it is.
    """
    if not (as_json or force_json):
        return _as_repr(value, limit)
    try:
        text = encoding.dumps(value)
    except encoding.Unstorable:
        if force_json:
            forced = {"value": encoding.clip(encoding.safe_str(value), limit), "forced_json": True}
            return Result(result=encoding.dumps(forced), result_form="forced")
        return _as_repr(value, limit)
    if len(text) > limit:
        return Result(result_text=encoding.clip(text, limit), result_form="cut")
    if encoding.refused(text) is not None:
        return Result(result_text=text, result_form="text")
    return Result(result=text, result_form="json")


def _as_repr(value: Any, limit: int) -> Result:
    return Result(result_text=encoding.clip(encoding.safe_repr(value), limit), result_form="repr")


def _as_it_is(text: str) -> str:
    return text


def describe(
    name: str | None,
    exception: Any,
    einfo: Any,
    limit: int,
    hide: Callable[[str], str] = _as_it_is,
) -> Failure:
    """The failure that *exception* makes, or whatever a user passed in its place.

    *name* is the task's. *hide* is applied to each text before it is cut to *limit* characters.
    """
    if isinstance(exception, ExceptionWithTraceback):
        exception = exception.exc
    message = encoding.clip(hide(encoding.safe_str(exception)), limit)
    text = _traceback(einfo, limit, hide)
    return _told_apart(name, exception, Failure(_type_name(exception), message, text))


def _told_apart(name: str | None, exception: Any, failure: Failure) -> Failure:
    return failure._replace(fingerprint=fingerprint(name, failure[0], exception, *failure[1:3]))


def revoked_failure(name: str | None, reason: str) -> Failure:
    """The failure of a task that was revoked, or had expired; *reason* says which."""
    return _told_apart(name, None, Failure("celery.exceptions.TaskRevokedError", reason))


def describe_stored(
    name: str | None,
    value: Any,
    traceback: Any,
    limit: int,
    hide: Callable[[str], str] = _as_it_is,
) -> Failure:
    """The failure that *value* makes, which a result backend gives back as an exception."""
    text = None if traceback is None else encoding.clip(hide(encoding.safe_str(traceback)), limit)
    if value is None:  # a retry without a cause; Celery stores its result while it handles it
        value = sys.exc_info()[1]
        if not isinstance(value, Retry):
            return NO_FAILURE._replace(traceback=text)
    if isinstance(value, dict) and "exc_type" in value:
        told = _failure_told(value, limit, hide)
    else:
        told = describe(None, value, None, limit, hide)
    return _told_apart(name, value, told._replace(traceback=text))


def _failure_told(told: dict[Any, Any], limit: int, hide: Callable[[str], str]) -> Failure:
    """The failure that the meta of `update_state` tells, in the words of Celery's JSON."""
    module, name = told.get("exc_module"), encoding.safe_str(told["exc_type"])
    message = told.get("exc_message")
    if isinstance(message, (list, tuple)) and len(message) == 1:
        message = message[0]
    kind = name if module in (None, "builtins") else f"{encoding.safe_str(module)}.{name}"
    text = None if message is None else encoding.clip(hide(encoding.safe_str(message)), limit)
    return Failure(encoding.key(kind), text)


def _type_name(exception: Any) -> str:
    kind = type(exception)
    module, name = kind.__module__, kind.__qualname__
    if isinstance(exception, UnpickleableExceptionWrapper):
        module, name = str(exception.exc_module), str(exception.exc_cls_name)
    return encoding.key(name if module == "builtins" else f"{module}.{name}")


def _traceback(einfo: Any, limit: int, hide: Callable[[str], str]) -> str | None:
    text = getattr(einfo, "traceback", None)
    return None if text is None else encoding.clip(hide(encoding.clean(str(text))), limit)


def describe_children(children: Iterable[Any] | None) -> str | None:
    """The tasks that a task published, as JSON: ids, and groups as [group_id, [ids]].

    Of very many the first are kept, and then the number of the others.
    """
    if not children:
        return None
    first, more = first_children(
        children,
        lambda child: child.results if isinstance(child, GroupResult) else None,
        lambda child, members: _child(child) if members is None else [_child(child), members],
    )
    return json.dumps([*first, more] if more else first)


def _child(child: Any) -> str:
    return encoding.key(child.id)


def first_children(
    children: Iterable[Any],
    members_of: Callable[[Any], Iterable[Any] | None],
    made: Callable[[Any, list[Any] | None], Any],
) -> tuple[list[Any], int]:
    """What is *made* of the first `MOST_CHILDREN` tasks, and the number of the others."""
    left = MOST_CHILDREN

    def first(some: Iterable[Any]) -> list[Any]:
        nonlocal left
        kept = []
        for each in some:
            members = members_of(each)
            if members is not None:
                inner = first(members)
                if inner:
                    kept.append(made(each, inner))
            else:
                left -= 1
                if left >= 0:
                    kept.append(made(each, None))
        return kept

    return first(children), max(-left, 0)


def is_grouped(state: str | None, message: str | None) -> bool:
    """True if a task that came to *state* is in a group of failures, if it has an exception.

    What somebody revoked, terminated or cancelled is not; *message* is that of the exception.
    """
    return state in FINISHED - {NOT_RUN} and (state != REVOKED or message == EXPIRED)


def outcome_of(
    state: str,
    attempt: Attempt,
    now: Moment,
    *,
    worker: str | None = None,
    redelivered: bool = False,
    date_started: datetime | None = None,
    failure: Failure = NO_FAILURE,
    result: Result = NO_RESULT,
    runtime: float | None = None,
    children: str | None = None,
    eta: datetime | None = None,
) -> Outcome:
    """The outcome of a task whose *attempt* came to *state* at *now*."""
    return Outcome(
        attempt.stamp(state, now, redelivered=redelivered),
        state,
        is_open(state),
        attempt.retries,
        worker,
        date_started,
        now.at if state in FINISHED else None,
        max(now.at, eta) if eta else now.at,
        runtime,
        *result,
        *failure[:3],
        children,
        fingerprint=failure.fingerprint if is_grouped(state, failure.exception_message) else None,
    )


def entry_of(outcome: Outcome, date_done: datetime | None) -> Entry:
    """The entry that *outcome* leaves in its record."""
    return Entry(
        outcome.stamp,
        outcome.retries,
        outcome.state,
        outcome.worker,
        outcome.date_started,
        date_done,
        outcome.exception_type,
        outcome.exception_message,
        outcome.traceback,
    )


def entries_of(outcome: Outcome, now: Moment, *, again: bool) -> tuple[Entry, ...]:
    """The entry of a run that came to *outcome*; none if it simply succeeded.

    *again*: the same message may be run by others too.
    """
    if outcome.state == SUCCESS:
        # Another run may not have ended yet, and its success would then take the row.
        kept = again
    else:
        kept = outcome.state in FINISHED - {NOT_RUN} or outcome.state == RETRY
    return (entry_of(outcome, now.at),) if kept else ()


def stored_of(outcome: Outcome, body: Payload) -> Stored:
    """The stored part of the event that came to *outcome*: *body* is given back."""
    return Stored(outcome.stamp, ensure_bytes(body.data), *body[1:])
