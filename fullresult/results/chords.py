"""Joining chords in the storage: which members have ended, and who sends the body."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
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

from fullresult.outage.lines import Count
from fullresult.record import TaskRecord, encoding
from fullresult.storage import JoiningStorage, Refused, ResultStorage, StorageError

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder
    from fullresult.results.backend import FullResultBackend

logger = logging.getLogger(__name__)

_AGAIN = (0.1, 0.3, 1.0, 3.0)
"""Seconds until a member is counted once more, where the storage did not answer."""


class Ending:
    """The end of a chord's member, which is counted by the write that tells of it."""

    def __init__(
        self, storage: JoiningStorage, chord_id: str, size: int, expire_at: datetime | None
    ) -> None:
        self._storage = storage
        self._known = encoding.key(chord_id), size, expire_at
        self.call = uuid4().hex
        self.is_last: bool | None = None
        """Whether it completed the chord; None: it is not known to be counted."""

    def write(self, event: TaskRecord) -> Collection[str]:
        """As `Storage.write`."""
        lacking, self.is_last = self._storage.write_and_join(event, *self._known, call=self.call)
        return lacking


def ending_of(
    storage: JoiningStorage | None,
    task_id: str,
    request: Context | None,
    expire_at: datetime | None,
) -> Ending | None:
    """What counts the member *task_id* of a chord; None for others, or if it takes two writes."""
    if storage is None or request is None or not (request.chord and request.group):
        return None
    size = request.chord.get("chord_size")
    if size is None or request.ignore_result or request.id != task_id:
        return None
    return Ending(storage, request.group, size, expire_at)


def member_ended(
    backend: FullResultBackend,
    results: ResultStorage,
    recorder: Recorder,
    request: Context,
    expire_at: datetime | None,
    ending: Ending | None = None,
) -> None:
    """Count the member of a chord whose *request* this is; if it is the last, send the body.

    Where the storage does not answer, or does not have the member's own result yet, that is done
    later, by whoever writes what is in the spool. What is kept of the chord stays until
    *expire_at*: a member that comes a second time must find that it was counted.
    """
    if ending is not None and ending.is_last is False:
        return
    chord_id, size, header = request.group, request.chord.get("chord_size"), None
    callback = maybe_signature(request.chord, app=backend.app)
    if size is None:
        header = _header(backend, chord_id, callback)
        if header is None:
            return
        size = len(header)
    known = encoding.key(chord_id), encoding.key(str(request.id)), size, expire_at
    if ending is None or ending.is_last is None:
        call = uuid4().hex if ending is None else ending.call
        count = Count(*known, call, _text(request.chord, recorder))
        if not _is_last(results, recorder, count):
            return
    _send_body(backend, chord_id, callback, header)


def _text(callback: Any, recorder: Recorder) -> str:
    """*callback* as it is kept; "" where JSON cannot hold it, or something of it is redacted."""
    if recorder.redactor is not None and recorder.redactor.covers(callback):
        return ""
    try:
        return encoding.dumps(callback)
    except encoding.Unstorable:
        return ""


def _is_last(results: ResultStorage, recorder: Recorder, count: Count) -> bool:
    """Whether this was the last member; not so where it is left for later."""

    def is_kept() -> bool:
        return bool(count.callback) and recorder.writer.keep(count)

    if recorder.writer.lags and is_kept():
        return False
    for pause in (*_AGAIN, None):
        if recorder.writer.is_away and is_kept():
            return False
        try:
            return _join(results, count)
        except StorageError as error:
            if pause is None or isinstance(error, Refused):
                if isinstance(error, Refused) or not is_kept():
                    _say_uncounted(count, error)
                return False
            time.sleep(pause)
    raise AssertionError("the last try returns")


def _join(results: ResultStorage, count: Count) -> bool:
    known = count.chord_id, count.member, count.size, count.expire_at
    # The same call each time: an answer that was lost is given again.
    return results.join_chord(*known, call=count.call)


def _say_uncounted(count: Count, error: Exception) -> None:
    logger.error(
        "fullresult: member %s of chord %s is not counted, and its body will not be sent: %s",
        *(count.member, count.chord_id, error),
    )


def count_later(backend: FullResultBackend, results: ResultStorage, count: Count) -> None:
    """Do what `member_ended` left for later. Raises `StorageError` where it is still too early."""
    try:
        if not _join(results, count):
            return
    except Refused as error:
        _say_uncounted(count, error)
        return
    callback = maybe_signature(encoding.loads(count.callback), app=backend.app)
    _send_body(backend, count.chord_id, callback)


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


def _send_body(
    backend: FullResultBackend, chord_id: str, callback: Any, header: GroupResult | None = None
) -> None:
    try:
        results = backend.successes_of(chord_id)
        if results is None:
            header = header or _header(backend, chord_id, callback)
            if header is None:
                return
            results = _join_native(backend, header)
    except Exception as error:
        culprit = _culprit(backend, header, error) if header else None
        reason = f"Dependency {culprit} raised {error!r}" if culprit else repr(error)
        logger.exception("fullresult: chord %s failed: %s", chord_id, reason)
        _fail(backend, callback, reason, error)
        return
    try:
        _publish(backend.app, callback, results)
    except Exception as error:
        logger.exception("fullresult: the body of chord %s is not sent", chord_id)
        _fail(backend, callback, f"Callback error: {error!r}", error)


def _join_native(backend: FullResultBackend, header: GroupResult) -> list[Any]:
    # Not by allow_join_result, which is of the whole process: it would take the permission from a
    # task that waits in another thread.
    results: list[Any] = header.join_native(
        timeout=backend.app.conf.result_chord_join_timeout,
        propagate=True,
        disable_sync_subtasks=False,
    )
    return results


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
