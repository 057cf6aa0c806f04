"""Joining chords in the storage: which members have ended, and who sends the body."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from celery import Celery
from celery.app.task import Context
from celery.canvas import Signature, maybe_signature
from celery.exceptions import ChordError
from celery.result import GroupResult
from celery.states import FAILURE, PROPAGATE_STATES

from fullresult.outage.lines import Count
from fullresult.record import TaskRecord, encoding
from fullresult.recording.publishing import recorded_after
from fullresult.results import bodies, members, signatures
from fullresult.results.later_ends import KeepingBackend, LaterEnds
from fullresult.results.later_runs import LaterRuns
from fullresult.results.meta import Meta
from fullresult.results.returned import MemberError
from fullresult.storage import (
    CompleteChord,
    JoiningStorage,
    Refused,
    ResultStorage,
    StorageError,
)

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder

logger = logging.getLogger(__name__)

_AGAIN = (0.1, 0.3, 1.0, 3.0)
"""Seconds until a member is counted once more, where the storage did not answer."""


_CALLED = "errbacks called for "
"""Their list is kept as a group is, under this text and the id of the body that failed."""


class ChordBackend(KeepingBackend, Protocol):
    """The members of the result backend that joining a chord uses."""

    app: Celery

    def get_many(
        self, task_ids: Collection[str], timeout: float | None = None
    ) -> Iterator[tuple[str, Meta]]:
        """Each task id with its meta, as they end. Raises Celery's `TimeoutError`."""
        ...

    def restore_group(self, group_id: str) -> GroupResult | None:
        """The group that was saved under this id."""
        ...

    def successes_of(self, keys: Sequence[str]) -> list[Any] | None:
        """The values that these tasks returned, in one read. None unless all have succeeded."""
        ...

    def chord_error_from_stack(self, callback: Any, exc: BaseException | None = None) -> Any:
        """Let the body of a chord fail, and with it what it is itself a member of."""
        ...

    def expire_at(self) -> datetime | None:
        """When what is kept of a chord from now on may be deleted; None: never."""
        ...


class Ending:
    """The end of a chord's member, counted by the write that tells of it."""

    def __init__(
        self,
        storage: JoiningStorage,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
    ) -> None:
        self._storage = storage
        self._known = encoding.key(chord_id), member, size, expire_at
        self.call = uuid4().hex
        self.is_last: bool | None = None
        """True if it completed the chord; None if it is not known to be counted."""

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
    """Counts the member *task_id* with its end; None for other tasks, or if it takes two writes."""
    if storage is None or request is None or not (request.chord and request.group):
        return None
    if request.ignore_result or request.id != task_id:
        return None
    name, size = members.member_of(request).name, request.chord.get(members.SIZE)
    return Ending(storage, request.group, name, size, expire_at)


class Chords:
    """Counts the members of chords, and sends the bodies of those that are complete.

    What cannot be done while the storage does not answer is done later: by the flusher, which has
    the count in the spool, or else by a mender, which takes over what stays complete.
    """

    def __init__(self, backend: ChordBackend, results: ResultStorage, recorder: Recorder) -> None:
        self._backend = backend
        self._results = results
        self._recorder = recorder
        self._later_runs = LaterRuns(results)
        self.later_ends = LaterEnds(backend, results, recorder)

    def text_of(self, callback: Any) -> str:
        """*callback* as it is kept; "" if JSON cannot hold it, or something of it is redacted."""
        redactor = self._recorder.redactor
        if redactor is not None and redactor.covers(callback):
            return ""
        try:
            return encoding.dumps(callback)
        except encoding.Unstorable:
            return ""

    def _kept(self, text: str) -> Any:
        """What `text_of` made a text of."""
        # Not by `maybe_signature`: the tasks of a group would be those of the current app.
        body = encoding.loads(text)
        return members.keep_told(Signature.from_dict(body, app=self._backend.app), body)

    # ---- counting

    def member_ended(
        self,
        request: Context,
        expire_at: datetime | None,
        ending: Ending | None = None,
        end: bytes | None = None,
    ) -> None:
        """Count the member of a chord whose *request* this is; if it is the last, send the body.

        *end* is what `LaterEnds.keep` returned. What is kept of the chord stays until *expire_at*:
        a member that comes a second time must find that it was counted.
        """
        if ending is not None and ending.is_last is False:
            return
        count = Count(
            encoding.key(request.group),
            members.member_of(request).name,
            request.chord.get(members.SIZE),
            expire_at,
            uuid4().hex if ending is None else ending.call,
            self.text_of(request.chord),
            end,
        )
        if (ending is not None and ending.is_last) or self._is_last(count):
            callback = maybe_signature(request.chord, app=self._backend.app)
            callback = members.keep_told(callback, request.chord)
            with suppress(StorageError):
                self._complete(count, callback, keep=True)

    def _is_last(self, count: Count) -> bool:
        """True if this was the last member; False too if it is left for later."""
        writer = self._recorder.writer
        if writer.lags and self._keep(count):
            return False
        for pause in (*_AGAIN, None):
            if writer.is_away and self._keep(count):
                return False
            try:
                return self._join(count)
            except StorageError as error:
                if pause is None or isinstance(error, Refused):
                    if isinstance(error, Refused) or not self._keep(count):
                        _say_uncounted(count, error)
                    return False
                time.sleep(pause)
        raise AssertionError("the last try returns")

    def _keep(self, count: Count) -> bool:
        return bool(count.callback) and self._recorder.writer.keep(count)

    def _join(self, count: Count) -> bool:
        known = count.chord_id, count.member, count.size, count.expire_at
        if count.end is not None:
            self.later_ends.save(count.chord_id, count.member, count.end, count.expire_at)
        # The same call each time: an answer that was lost is given again.
        return self._results.join_chord(*known, call=count.call)

    def count_later(self, count: Count) -> None:
        """Do what `member_ended` left for later. Raises `StorageError` if it is still too early."""
        try:
            if not self._join(count):
                return
        except Refused as error:
            _say_uncounted(count, error)
            return
        callback = self._kept(count.callback)
        self._complete(count, callback, keep=False)

    # ---- the body

    def _complete(self, count: Count, callback: Any, *, keep: bool) -> None:
        """Send the body of a chord that is complete. Raises `StorageError`."""
        try:
            self._send_or_fail(count.chord_id, callback)
        except StorageError as error:
            kept = keep and self._keep(count)
            logger.warning(
                "fullresult: chord %s is complete, and its body is sent later, when the storage "
                "answers %s: %s",
                *(count.chord_id, "the spool" if kept else "a worker", error),
            )
            raise
        self._close(count.chord_id, count.call, callback)

    def _send_or_fail(self, chord_id: str, callback: Any, *, by_mender: bool = False) -> bool:
        """Send the body, or let it fail with what failed. Raises `StorageError`.

        A mender, which can wait, lets no body fail because the broker does not take it: then False.
        """
        began = time.monotonic()
        try:
            results = self._joined(chord_id, callback)
        except StorageError:
            raise
        except MemberError as error:
            self._leave_out_called(error.task_id, callback)
            self._fail(chord_id, callback, str(error), error.cause)
            return True
        except Exception as error:
            logger.exception("fullresult: chord %s cannot be joined", chord_id)
            self._fail(chord_id, callback, repr(error), error)
            return True
        if time.monotonic() - began > bodies.lease(self._backend.app) / 2:
            # Somebody may have taken it over by now.
            raise StorageError(f"to read the results of chord {chord_id} took too long")
        self._later_runs.note(chord_id, callback, self._backend.expire_at())
        taken: list[str] = []
        try:
            # A mender sends what has no record.
            with recorded_after(taken):
                bodies.publish(self._backend.app, callback, results)
        except StorageError:  # of a body that is a chord
            raise
        except Exception as error:
            if by_mender and isinstance(error, bodies.OF_BROKER):
                unsent = {*signatures.first_ids(callback)} - {*taken}
                self._later_runs.note(chord_id, callback, self._backend.expire_at(), unsent)
                logger.warning(
                    "fullresult: the body of chord %s is sent later: the broker does not take it: "
                    "%r",
                    *(chord_id, error),
                )
                return False
            logger.exception("fullresult: the body of chord %s is not sent", chord_id)
            self._fail(chord_id, callback, f"Callback error: {error!r}", error)
        return True

    def _fail(self, chord_id: str, callback: Any, reason: str, cause: BaseException) -> None:
        logger.error("fullresult: chord %s failed: %s", chord_id, reason)
        self._later_runs.note(chord_id, callback, self._backend.expire_at())
        error = ChordError(reason)
        error.__cause__ = cause
        self._backend.chord_error_from_stack(callback, error)

    def body_failed(
        self, callback: Any, error: BaseException | None, expire_at: datetime | None
    ) -> None:
        """Count the tasks that *callback* would have ended with, if they are members of a chord."""
        called = signatures.errbacks_of(callback)
        for request in signatures.members_ending(callback):
            if called:
                key = _CALLED + encoding.key(request.id)
                with suppress(StorageError, encoding.Unstorable):
                    self._results.save_group(key, encoding.dumps(called).encode(), expire_at)
            end = self.later_ends.keep(request, FAILURE, error)
            self.member_ended(request, expire_at, end=end)

    def _leave_out_called(self, task_id: str, callback: Any) -> None:
        """Call no errback a second time that a chord in the header has called.

        Celery links the errbacks of a chord to the chords in its header as well.
        """
        with suppress(StorageError):
            called = self._results.restore_group(_CALLED + encoding.key(task_id))
            if called is not None:
                known = [tuple(each) for each in encoding.loads(called.decode())]
                signatures.leave_out(callback, known)

    def _close(self, chord_id: str, call: str, callback: Any) -> None:
        """Note that nothing is left to do. Where that fails, a mender finds the body's record."""
        for pause in (*_AGAIN, None):
            try:
                self._results.close_chord(chord_id, call)
                self._later_runs.forget(chord_id, callback)
                self.later_ends.forget(chord_id, members.run_of(callback))
            except StorageError:
                if pause is None or self._recorder.writer.is_away:
                    return
                time.sleep(pause)
            else:
                return

    # ---- results

    def _joined(self, chord_id: str, callback: Any) -> list[Any]:
        """The members' values. Raises `MemberError`, `StorageError`, or Celery's timeout."""
        run = members.run_of(callback)
        if callback.get(members.SIZE) is None:
            header = self._backend.restore_group(chord_id)
            if header is not None:
                returned = self._returned(chord_id, run, members.ids_in(header))
                return members.shaped(header, returned)
        names = self._results.get_members(chord_id)
        return self._returned(chord_id, run, members.in_order(names, run))

    def _returned(self, chord_id: str, run: int, task_ids: list[str]) -> list[Any]:
        keys = {encoding.key(task_id): task_id for task_id in task_ids}
        if run > 1:
            values = self.later_ends.values(chord_id, run, keys)
            known = dict(zip(keys.values(), values, strict=True))
            return [known[task_id] for task_id in task_ids]
        found = None
        with suppress(StorageError):  # it may answer those who wait
            found = self._backend.successes_of([*map(encoding.key, task_ids)])
        return self._waited_for(task_ids) if found is None else found

    def _waited_for(self, task_ids: list[str]) -> list[Any]:
        """The same where one failed, goes on under another id, or is not written yet.

        Not by the results of Celery: to wait for groups in groups, those take no timeout.
        """
        timeout = bodies.join_timeout(self._backend.app)
        metas = dict(self._backend.get_many({*task_ids}, timeout=timeout))
        for task_id in task_ids:
            if metas[task_id]["status"] in PROPAGATE_STATES:
                raise MemberError(task_id, metas[task_id]["result"])
        return [metas[task_id]["result"] for task_id in task_ids]

    # ---- mending

    def mend(self, chord: CompleteChord, call: str) -> None:
        """Do what was left to do for a chord whose last member ended long ago.

        Whoever was to send its body was killed, or could not reach the storage.
        """
        if not chord.body:
            logger.error(
                "fullresult: chord %s is complete and its body cannot be sent: it was not kept, "
                "as JSON cannot hold it or fullresult_redact covers it",
                chord.chord_id,
            )
            self._close(chord.chord_id, call, {})
            return
        callback = self._kept(chord.body)
        callback[members.RUN] = chord.run
        sent, are_all = self._later_runs.sent(chord.chord_id, callback)
        if not are_all:
            logger.warning("fullresult: the body of chord %s is sent late", chord.chord_id)
            left = signatures.without(callback, sent)
            if not self._send_or_fail(chord.chord_id, left, by_mender=True):
                return
        self._close(chord.chord_id, call, callback)


def _say_uncounted(count: Count, error: Exception) -> None:
    logger.error(
        "fullresult: member %s of chord %s is not counted, and its body will not be sent: %s",
        *(count.member, count.chord_id, error),
    )
