"""Joining chords in the storage: which members have ended, and who sends the body."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from celery import Celery
from celery.app.task import Context
from celery.canvas import maybe_signature
from celery.exceptions import ChordError
from celery.exceptions import TimeoutError as TimedOut
from celery.result import GroupResult
from celery.states import PROPAGATE_STATES

from fullresult import encoding
from fullresult.storage import Refused, ResultStorage, StorageError

if TYPE_CHECKING:
    from fullresult.backend import FullResultBackend

logger = logging.getLogger(__name__)

_AGAIN = (0.1, 0.3, 1.0, 3.0)
"""Seconds until a member is counted once more, where the storage did not answer."""


def member_ended(
    backend: FullResultBackend,
    results: ResultStorage,
    request: Context,
    expire_at: datetime | None,
) -> None:
    """Count the member of a chord whose *request* this is; if it is the last, send the body.

    What is kept of the chord stays until *expire_at*: a member that comes a second time must find
    that it was counted.
    """
    chord_id, size, header = request.group, request.chord.get("chord_size"), None
    callback = maybe_signature(request.chord, app=backend.app)
    if size is None:
        header = _header(backend, chord_id, callback)
        if header is None:
            return
        size = len(header)
    if not _is_last(results, chord_id, str(request.id), size, expire_at):
        return
    header = header or _header(backend, chord_id, callback)
    if header is not None:
        _send_body(backend, header, callback)


def _is_last(
    results: ResultStorage, chord_id: str, member: str, size: int, expire_at: datetime | None
) -> bool:
    known = encoding.key(chord_id), encoding.key(member), size, expire_at
    call = uuid4().hex  # the same each time: an answer that was lost is given again
    for pause in (*_AGAIN, None):
        try:
            return results.join_chord(*known, call=call)
        except StorageError as error:
            if pause is None or isinstance(error, Refused):
                logger.error(  # noqa: TRY400  (of the traceback only the message helps)
                    "fullresult: member %s of chord %s is not counted, and its body will not be "
                    "sent: %s",
                    *(member, chord_id, error),
                )
                return False
            time.sleep(pause)
    raise AssertionError("the last try returns")


def _header(backend: FullResultBackend, chord_id: str, callback: Any) -> GroupResult | None:
    try:
        header: GroupResult | None = GroupResult.restore(chord_id, backend=backend, app=backend.app)
    except Exception as error:
        logger.exception("fullresult: the header of chord %s cannot be restored", chord_id)
        backend.chord_error_from_stack(callback, ChordError(f"Cannot restore group: {error!r}"))
        return None
    if header is None:
        missing = ChordError(f"GroupResult {chord_id} no longer exists")
        logger.error("fullresult: chord %s: %s", chord_id, missing)
        backend.chord_error_from_stack(callback, missing)
    return header


def _send_body(backend: FullResultBackend, header: GroupResult, callback: Any) -> None:
    try:
        # Not by allow_join_result, which is of the whole process: it would take the permission
        # from a task that waits in another thread.
        results = header.join_native(
            timeout=backend.app.conf.result_chord_join_timeout,
            propagate=True,
            disable_sync_subtasks=False,
        )
    except Exception as error:
        culprit = _culprit(backend, header, error)
        reason = f"Dependency {culprit} raised {error!r}" if culprit else repr(error)
        logger.exception("fullresult: chord %s failed: %s", header.id, reason)
        _fail(backend, callback, reason, error)
        return
    try:
        _publish(backend.app, callback, results)
    except Exception as error:
        logger.exception("fullresult: the body of chord %s is not sent", header.id)
        _fail(backend, callback, f"Callback error: {error!r}", error)


def _culprit(backend: FullResultBackend, header: GroupResult, error: BaseException) -> str | None:
    """The id of the member that raised *error*."""
    try:
        for task_id, meta in backend.get_many(list(_members(header)), timeout=0):
            if meta["status"] in PROPAGATE_STATES and repr(meta["result"]) == repr(error):
                return task_id
    except (TimedOut, StorageError):
        return None
    return None


def _members(header: GroupResult) -> Iterator[str]:
    for member in header.results:
        if isinstance(member, GroupResult):
            yield from _members(member)
        else:
            yield member.id


def _fail(backend: FullResultBackend, callback: Any, reason: str, cause: BaseException) -> None:
    error = ChordError(reason)
    error.__cause__ = cause
    backend.chord_error_from_stack(callback, error)


def _publish(app: Celery, callback: Any, results: list[Any]) -> None:
    """Send the body, again where the broker does not take it at once."""
    retry_publish = getattr(app.amqp, "_retry_publish", None)
    if retry_publish is None:  # before Celery 5.7
        callback.delay(results)
    else:
        retry_publish(callback.delay, results)
