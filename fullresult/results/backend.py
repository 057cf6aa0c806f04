"""`result_backend = "fullresult://"`: Celery's results, read from and written to the records."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeVar

from celery import Celery, signals, states
from celery.app.task import Context
from celery.exceptions import BackendStoreError
from celery.result import AsyncResult
from celery.utils.functional import _regen as regen
from kombu.serialization import loads
from kombu.utils.functional import LRUCache

from fullresult.config import without_password
from fullresult.outage.lines import Count
from fullresult.record import TaskRecord, encoding
from fullresult.record.stamps import RANK
from fullresult.recording.given_result import GivenResult
from fullresult.recording.message import Payload
from fullresult.recording.requests import as_context
from fullresult.recording.running_tasks import failed
from fullresult.results import ends, members, never_ran
from fullresult.results.chords import Chords, Ending, ending_of
from fullresult.results.groups import SavingBackend
from fullresult.results.meta import (
    Meta,
    NotKept,
    bounded_children,
    children_of,
    details_of,
    goes_on_as,
    has_result,
    result_of,
    state_of,
    stored_of,
)
from fullresult.results.returned import JSON, is_plain, values_in, values_of
from fullresult.results.shared import OWN, Shared, shared
from fullresult.results.signatures import end_ids, give_id, group_of, is_group, members_ending
from fullresult.storage import Refused, StorageError
from fullresult.storage.purging import purge

try:
    from celery.backends.base import decompress_payload
except ImportError:  # before Celery 5.7
    decompress_payload = None

logger = logging.getLogger(__name__)

T = TypeVar("T")
_BEGUN = 1000
"""Chords that may be in the making at once, one in the header of another."""


class FullResultBackend(SavingBackend):
    """A result backend whose results are the records.

    Its URL is `fullresult://`, for the storage of `fullresult_storage`, or `fullresult+` and the
    URL of another one.
    """

    supports_native_join = True
    supports_result_compression = True

    follows_new_ids = True
    """Outcomes of tasks that go on under a new id need not be copied to the first one."""

    def __init__(self, app: Celery, url: str | None = None, **options: Any) -> None:
        super().__init__(app, url=url or OWN, **options)
        self._begun: LRUCache = LRUCache(limit=_BEGUN)
        """The sizes, as far as they are known, of chords whose last member is not sent yet."""
        if url in (None, OWN) and app.conf.task_track_started and hasattr(app, "fullresult"):
            self._here.recorder.start_body = self._start_body
        # Weakly: it does not keep the backend. A worker makes one before it is ready.
        signals.worker_ready.connect(self._on_worker_ready)

    def _on_worker_ready(self, sender: Any = None, **_: Any) -> None:
        if getattr(sender, "app", None) is self.app:
            self._here.mender.start()

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        return super().__reduce__(args, {**(kwargs or {}), "url": self.url})

    def as_uri(self, include_password: bool = False) -> str:
        """The URL, without its password unless that is wanted."""
        url = self.url if self.url.startswith("fullresult") else f"fullresult+{self.url}"
        return url if include_password else without_password(url)

    @cached_property
    def _here(self) -> Shared:
        return shared(self.app, self.url if "://" in self.url else OWN)

    # ---- writing

    @ends.of_task()
    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Context | None = None,
        store_result: bool = True,
        state: str = states.SUCCESS,
    ) -> None:
        """Write the end of a task; of a chord's member, count it by the same write if possible."""
        request = as_context(request)
        ending = store_result and ending_of(self._here.joining, task_id, request, self.expire_at())
        if not ending:
            super().mark_as_done(task_id, result, request, store_result, state)
            return
        assert request is not None
        if self.chords.later_ends.keep(request, state, result) is not None:
            # What is not kept yet must not be counted by the write.
            super().mark_as_done(task_id, result, request, store_result, state)
            return
        self.store_result(task_id, result, state, request=request, ending=ending)
        self.on_chord_part_return(request, state, result, ending=ending)

    @ends.of_task()
    def mark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: Any = None,
        request: Context | None = None,
        *more: Any,
        **options: Any,
    ) -> None:
        """Write the failure of a task, and, as Celery does, under the ids of what waits for it."""
        request = as_context(request)
        with failed(request), never_ran.after(task_id, request):
            if request is not None and request.id == task_id:
                self.chords.later_ends.keep(request, states.FAILURE, exc)
            super().mark_as_failure(task_id, exc, traceback, request, *more, **options)

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Context | None = None,
        **kwargs: Any,
    ) -> Any:
        """Write a state and its result into the record; a storage that fails fails no task.

        A result that the storage refuses after the configured retries waits in the spool. If a
        chain that fails would have ended with a group, each task of that group is marked as failed,
        because callers wait for these tasks.
        """
        if not task_id:
            raise ValueError(f"a result needs the id of its task, and this is {task_id!r}")
        request = as_context(request)
        if request is not None and is_group(request):
            for end_id in end_ids(group_of(request)):
                self.store_result(end_id, result, state, traceback)
        try:
            return super().store_result(
                task_id, result, state, traceback=traceback, request=request, raw=result, **kwargs
            )
        except (StorageError, BackendStoreError) as error:
            encoded = self.encode_result(result, state)
            given = self._given(task_id, state, result, encoded, traceback, request)
            if isinstance(error, Refused) or not self._store_later(given, request):
                logger.error("fullresult: the result of task %s is not stored: %s", task_id, error)  # noqa: TRY400
            return result

    def _store_later(self, given: GivenResult, request: Context | None) -> bool:
        return self._here.recorder.result_later(given, self._serialise(given, request))

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Context | None = None,
        raw: Any = None,
        ending: Ending | None = None,
        **_: Any,
    ) -> Any:
        recorder = self._here.recorder
        if not (state == states.STARTED and recorder.has_start(request)):
            given = self._given(task_id, state, raw, result, traceback, request)
            write = None if ending is None else ending.write
            recorder.result(given, self._serialise(given, request), write)
        return result

    def _given(
        self, task_id: str, state: str, value: Any, encoded: Any, traceback: Any, request: Any
    ) -> GivenResult:
        results = self._here.results
        why = never_ran.why(task_id, results) if state == states.FAILURE else None
        request = request if why is None else never_ran.request_of(task_id, request)
        return GivenResult(task_id, state, value, encoded, traceback, request, why)

    def _serialise(
        self, given: GivenResult, request: Context | None
    ) -> Callable[[Any], Payload | None]:
        """Makes what is to be given back of an encoded result in which nothing is left to hide.

        *request* is that of Celery's call: what never ran has the children of who says so.
        """
        children = bounded_children(self.current_task_children(request) or ())
        own = given.own_request
        notes: Meta = {}
        if ends.is_early(given.task_id, given.state, given.request):
            notes[ends.EARLY] = True
        elif own is not None and own.chord and (run := members.run_of(own.chord)) > 1:
            notes[members.RUN] = run
        return lambda encoded: self._body(encoded, given.state, children, notes)

    def _start_body(self, request: Context) -> Payload:
        """The pid and host that Celery keeps of a task that starts."""
        known = {"pid": os.getpid(), "hostname": request.hostname}
        return Payload(self.encode({"result": known}), self.content_type, self.content_encoding)

    def _body(self, result: Any, state: str, children: Any, notes: Meta) -> Payload | None:
        """The serialised value; None if the JSON of the record alone gives it back exactly."""
        told_by_record = state == states.SUCCESS and self.content_type == JSON
        if told_by_record and not children and not notes and is_plain(result):
            return None
        known: Meta = {"result": result, "children": children or None, **notes}
        if state not in RANK:
            known["status"] = state  # which a task that then wants to be ignored keeps
        data = self.encode(known)
        return Payload(data, self.content_type, self.content_encoding)

    # ---- reading

    def _get_task_meta_for(self, task_id: str) -> Meta:
        record = self._record(encoding.key(task_id))
        if record is None:
            return {"status": states.PENDING, "result": None, "task_id": task_id}
        return self._meta(record, task_id)

    def _record(self, task_id: str) -> TaskRecord | None:
        """The record of *task_id*, or that of the task it goes on as."""
        seen: set[str] = set()
        found: TaskRecord | None = None
        wanted: str | None = task_id
        while wanted is not None and wanted not in seen:
            seen.add(wanted)
            records = self._here.results.get_results([wanted])
            if not records:
                break
            found = records[0]
            wanted = goes_on_as(found)
        return found

    def _meta(self, record: TaskRecord, task_id: str) -> Meta:
        state = state_of(record)
        stored = stored_of(record)
        if stored is None:
            known = {"result": result_of(record, state), "children": children_of(record)}
        else:
            known = {"children": None, **self._decoded(*stored[1:])}
            for name in (ends.EARLY, members.RUN):
                known.pop(name, None)
        details = details_of(record, extended=self._here.extended)
        meta: Meta = {"status": state, "task_id": task_id, **details, **known}
        if stored is None and not has_result(record, state):
            meta = NotKept(meta)
        return self.meta_from_decoded(meta)  # type: ignore[no-any-return]

    def _decoded(self, body: bytes, content_type: str, content_encoding: str) -> Meta:
        if decompress_payload is not None:
            body = decompress_payload(body)
        known: Meta = loads(body, content_type, content_encoding, accept=self.accept)
        return known

    def is_early(self, record: TaskRecord) -> bool:
        """True if the task gave itself the end that *record* has, and went on."""
        stored = stored_of(record)
        return stored is not None and ends.EARLY in self._decoded(*stored[1:])

    def _forget(self, task_id: str) -> None:
        self._here.results.forget(encoding.key(task_id))

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """True for errors after which `result_backend_always_retry` tries again."""
        return isinstance(exc, StorageError) and not isinstance(exc, Refused)

    # ---- chords

    @cached_property
    def chords(self) -> Chords:
        """Counts the members of chords and sends their bodies."""
        return Chords(self, self._here.results, self._here.recorder)

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Note that a chord is about to be published, for the worker of whichever member ends last.

        The size of a plain header goes with each member: none has to ask. Of a generator it is
        known when the last member is sent; of groups in groups Celery counts it as well.
        """
        self.ensure_chords_allowed()
        group_id, members_of = header_result_args
        size = None
        if not isinstance(members_of, regen):
            header = self.app.GroupResult(*header_result_args)
            if members.is_nested(header.results):
                header.save(backend=self)
            else:
                size = len(header)
        members.tell(body, members.SIZE, size)
        known = encoding.key(group_id), size, self.chords.text_of(body), self.expire_at()
        run = self._persistently(self._here.results.begin_chord, *known)
        members.tell(body, members.RUN, run if run > 1 else None)
        self._begun[group_id] = size

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Note how many members a chord has. Celery calls this before it sends the last of them."""
        known = encoding.key(group_id), chord_size, self.expire_at()
        if group_id in self._begun:
            if self._begun.pop(group_id) != chord_size:
                self._persistently(self._here.results.set_chord_size, *known)
            return
        try:
            self._here.results.set_chord_size(*known)
        except StorageError as error:
            # Celery tells it of each group at the end of a chain, too, whose tasks count elsewhere.
            logger.warning("fullresult: the size of group %s is not noted: %s", group_id, error)

    def add_to_chord(self, chord_id: str, result: AsyncResult) -> None:
        """Wait for one more member, the task of *result*."""
        known = encoding.key(chord_id), members.name_of_added(result.id), self.expire_at()
        self._persistently(self._here.results.add_to_chord, *known)

    def _persistently(self, do: Callable[..., T], *known: Any) -> T:
        """`do(*known)`, again as long as `result_backend_always_retry` wants it."""
        again = getattr(self, "_ensure_retryable", None)  # not before Celery 5.7
        return do(*known) if again is None else again(do, *known)

    def chord_error_from_stack(self, callback: Any, exc: BaseException | None = None) -> Any:
        """Let the body of a chord fail; the chord that it is itself a member of gets to know.

        Celery's own tell no one, and whoever waits for the outer chord waits for ever.
        """
        give_id(callback)
        with never_ran.body_of_chord(callback):
            told = super().chord_error_from_stack(callback, exc)
            self._fail_ends_of(callback, exc)
        self.chords.body_failed(callback, exc, self.expire_at())
        return told

    def _fail_ends_of(self, callback: Any, exc: BaseException | None) -> None:
        """Before 5.7, Celery forgets the tasks of a body that is a group."""
        with suppress(StorageError):
            for task_id in end_ids(callback):
                if task_id != callback.id and self.get_state(task_id) not in states.READY_STATES:
                    self.store_result(task_id, exc, states.FAILURE)

    def on_chord_part_return(
        self,
        request: Context,
        state: str,
        result: Any,
        ending: Ending | None = None,
        **kwargs: Any,
    ) -> None:
        """Count the member of a chord that ended, if *ending* did not; the last sends the body.

        A group at the end of a chain that failed before it ends with each of its tasks.
        """
        request = as_context(request) or Context()
        if is_group(request):
            for member in members_ending(group_of(request)):
                end = self.chords.later_ends.keep(member, state, result)
                self.chords.member_ended(member, self.expire_at(), end=end)
        elif request.group and request.id:
            end = None if ending else self.chords.later_ends.keep(request, state, result)
            self.chords.member_ended(request, self.expire_at(), ending, end)

    def count_later(self, count: Count) -> None:
        """Count a member of a chord that waited in the spool. Raises `StorageError`."""
        self.chords.count_later(count)

    def successes_of(self, keys: Sequence[str]) -> list[Any] | None:
        """The values that these tasks returned, in one read. None unless all have succeeded."""
        joining = self._here.joining
        found = joining.get_successes(keys) if joining is not None else {}
        if not found.keys() >= {*keys}:
            return None
        return values_of([found[key] for key in keys], self._decoded)

    def successes_in(self, run: int, keys: Sequence[str]) -> dict[str, Any]:
        """The values of the tasks whose records have the success of this *run* of their chord."""
        joining = self._here.joining
        return values_in(run, joining.get_successes(keys) if joining else {}, self._decoded)

    def cleanup(self) -> None:
        """Delete what has expired: Celery's `celery.backend_cleanup` calls this once a day."""
        purge(self._here.records)
