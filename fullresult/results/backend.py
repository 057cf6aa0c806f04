"""`result_backend = "fullresult://"`: Celery's results, read from and written to the records."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

from celery import Celery, states
from celery.app.task import Context
from celery.backends.base import BaseBackend
from celery.exceptions import BackendStoreError
from celery.exceptions import TimeoutError as TimedOut
from celery.result import GroupResult, result_from_tuple
from kombu.exceptions import DecodeError
from kombu.serialization import loads
from kombu.utils.encoding import ensure_bytes

from fullresult.config import without_password
from fullresult.outage.lines import Count
from fullresult.record import Stored, TaskRecord, encoding
from fullresult.record.stamps import RANK
from fullresult.recording.given_result import GivenResult
from fullresult.recording.message import Payload
from fullresult.recording.running_tasks import failed
from fullresult.results import chords
from fullresult.results.meta import Meta, details_of, goes_on_as, result_of, state_of, stored_of
from fullresult.results.shared import OWN, Shared, shared
from fullresult.results.waiting import Ticket
from fullresult.storage import Refused, StorageError
from fullresult.storage.purging import purge

try:
    from celery.backends.base import decompress_payload
except ImportError:  # before Celery 5.7
    decompress_payload = None

logger = logging.getLogger(__name__)

_PLAIN = (bool, type(None))
_JSON = "application/json"
_LARGEST = 2**63
_LONGEST = 200


class FullResultBackend(BaseBackend):  # type: ignore[misc]
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
        if url in (None, OWN) and app.conf.task_track_started and hasattr(app, "fullresult"):
            self._here.recorder.start_body = self._start_body

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

    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Context | None = None,
        store_result: bool = True,
        state: str = states.SUCCESS,
    ) -> None:
        """Write the end of a task; of a chord's member, count it by the same write if possible."""
        known = self._here.joining, task_id, request, self._expire_at()
        ending = store_result and chords.ending_of(*known)
        if not ending:
            super().mark_as_done(task_id, result, request, store_result, state)
            return
        assert request is not None
        self.store_result(task_id, result, state, request=request, ending=ending)
        self.on_chord_part_return(request, state, result, ending=ending)

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
        with failed(request):
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

        What it does not take, after what retries are configured, waits in the spool.
        """
        try:
            return super().store_result(
                task_id, result, state, traceback=traceback, request=request, raw=result, **kwargs
            )
        except (StorageError, BackendStoreError) as error:
            encoded = self.encode_result(result, state)
            given = GivenResult(task_id, state, result, encoded, traceback, request)
            if isinstance(error, Refused) or not self._store_later(given):
                logger.error("fullresult: the result of task %s is not stored: %s", task_id, error)  # noqa: TRY400
            return result

    def _store_later(self, given: GivenResult) -> bool:
        return self._here.recorder.result_later(given, self._serialise(given))

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Context | None = None,
        raw: Any = None,
        ending: chords.Ending | None = None,
        **_: Any,
    ) -> Any:
        recorder = self._here.recorder
        if not (state == states.STARTED and recorder.has_start(request)):
            given = GivenResult(task_id, state, raw, result, traceback, request)
            write = None if ending is None else ending.write
            recorder.result(given, self._serialise(given), write)
        return result

    def _serialise(self, given: GivenResult) -> Callable[[Any], Payload | None]:
        """Makes what is to be given back of an encoded result in which nothing is left to hide."""
        children = self.current_task_children(given.request)
        return lambda encoded: self._body(encoded, given.state, children)

    def _start_body(self, request: Context) -> Payload:
        """What Celery has a backend keep of a task that starts."""
        known = {"pid": os.getpid(), "hostname": request.hostname}
        return Payload(self.encode({"result": known}), self.content_type, self.content_encoding)

    def _body(self, result: Any, state: str, children: Any) -> Payload | None:
        """What is to be given back, serialised; None where the record's own JSON says it all."""
        told_by_record = state == states.SUCCESS and self.content_type == _JSON
        if told_by_record and not children and _is_plain(result):
            return None
        known: Meta = {"result": result, "children": children or None}
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
            known = {"result": result_of(record, state), "children": _children(record)}
        else:
            known = {
                "children": None,
                **self._decoded(stored.body, stored.content_type, stored.content_encoding),
            }
        details = details_of(record, extended=self._here.extended)
        meta: Meta = {"status": state, "task_id": task_id, **details, **known}
        return self.meta_from_decoded(meta)  # type: ignore[no-any-return]

    def _decoded(self, body: bytes, content_type: str, content_encoding: str) -> Meta:
        if decompress_payload is not None:
            body = decompress_payload(body)
        known: Meta = loads(body, content_type, content_encoding, accept=self.accept)
        return known

    def _forget(self, task_id: str) -> None:
        self._here.results.forget(encoding.key(task_id))

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether to try again where `result_backend_always_retry` is set."""
        return isinstance(exc, StorageError) and not isinstance(exc, Refused)

    # ---- waiting

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Any = None,
        on_message: Any = None,
    ) -> Meta:
        """Wait for the end of a task. Raises `celery.exceptions.TimeoutError`."""
        told = {"on_interval": on_interval, "on_message": on_message}
        for _, meta in self.get_many([task_id], timeout, interval, **told):
            return meta
        raise TimedOut("The operation timed out.")

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        callback: Any = None,
        propagate: bool = True,
        **told: Any,
    ) -> Any:
        """Wait for what *result* stands for, as Celery's polling backends do; *told* is called."""
        meta = self.wait_for(result.id, timeout, interval, **told)
        result._maybe_set_cache(meta)  # noqa: SLF001
        return result.maybe_throw(propagate=propagate, callback=callback)

    def get_many(
        self,
        task_ids: Collection[str],
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
        max_iterations: int | None = None,
        **_: Any,
    ) -> Iterator[tuple[str, Meta]]:
        """Each task id with its meta, as they end. Raises `celery.exceptions.TimeoutError`.

        *interval* says how often `on_interval` is called; how often the storage is asked depends
        on how long it has been waited.
        """
        self._ensure_not_eager()
        wanted = {encoding.key(task_id): task_id for task_id in task_ids}
        for key, meta in self._cached(wanted):
            yield wanted.pop(key), meta
        deadline = None if timeout is None else time.monotonic() + timeout
        iterations = 0
        waiter = self._here.waiter
        ticket = waiter.enter(wanted) if wanted else None
        try:
            while ticket is not None and wanted:
                left = interval if deadline is None else min(interval, deadline - time.monotonic())
                ticket.news.wait(max(left, 0))
                iterations += 1
                late = deadline is not None and time.monotonic() >= deadline
                last = late or iterations == max_iterations
                for key, record in self._news(ticket, wanted if last else ()):
                    meta = self._cache_ended(wanted[key], record)
                    if on_message is not None:
                        on_message(meta)
                    yield wanted.pop(key), meta
                if not wanted or iterations == max_iterations:
                    return
                if late:
                    raise TimedOut(f"Operation timed out ({timeout})")
                if on_interval is not None:
                    on_interval()
        finally:
            if ticket is not None:
                waiter.leave(ticket)

    def _cached(self, wanted: Iterable[str]) -> list[tuple[str, Meta]]:
        found = [(key, self._cache.get(key)) for key in wanted] if self._cache else []
        return [(key, meta) for key, meta in found if meta and _is_ready(meta)]

    def _news(self, ticket: Ticket, last: Collection[str]) -> list[tuple[str, TaskRecord]]:
        """What has ended; of those asked for *last* also what the thread had no time to find."""
        ended: dict[str, TaskRecord] = {}
        try:
            ended |= ticket.take()
            if last:
                ended |= self._here.waiter.look(last)
        except StorageError:
            if not self.always_retry:
                raise
        return list(ended.items())

    def _cache_ended(self, task_id: str, record: TaskRecord) -> Meta:
        meta = self._meta(record, task_id)
        if meta["status"] == states.SUCCESS:
            self._cache[task_id] = meta
        return meta

    # ---- groups and chords

    def _save_group(self, group_id: str, result: GroupResult) -> GroupResult:
        value = ensure_bytes(self.encode({"result": result.as_tuple()}))
        self._here.results.save_group(encoding.key(group_id), value, self._expire_at())
        return result

    def _restore_group(self, group_id: str) -> Meta | None:
        value = self._here.results.restore_group(encoding.key(group_id))
        if value is None:
            return None
        meta = self._decoded(value, self.content_type, self.content_encoding)
        meta["result"] = result_from_tuple(meta["result"], self.app)
        return meta

    def _delete_group(self, group_id: str) -> None:
        self._here.results.delete_group(encoding.key(group_id))

    def _expire_at(self) -> datetime | None:
        if not self.expires:
            return None
        return datetime.now(timezone.utc) + timedelta(seconds=self.expires)

    def successes_of(self, group_id: str) -> list[Any] | None:
        """The results of all members, in their order; None where that takes more than one look.

        Nobody has to wait, nor to follow anything, where all have succeeded under their own ids.
        A storage that does not answer is for whoever waits as long as is configured.
        """
        joining = self._here.joining
        if joining is None:
            return None
        try:
            ids = self._members(group_id)
            found = joining.get_successes(ids) if ids else {}
        except StorageError:
            return None
        if not ids or not found.keys() >= {*ids}:
            return None
        return self._returned([found[task_id] for task_id in ids])

    def _returned(self, found: Sequence[Stored | str]) -> list[Any]:
        kept = iter(self._kept([each for each in found if isinstance(each, Stored)]))
        return [next(kept) if isinstance(each, Stored) else encoding.loads(each) for each in found]

    def _kept(self, stored: Sequence[Stored]) -> list[Any]:
        """What was stored, decoded. Many JSON texts are read as one, in a third of the time."""
        if all(each.content_type == _JSON and each.body.startswith(b"{") for each in stored):
            bodies = b",".join(each.body for each in stored)
            with suppress(DecodeError):
                known: Any = self._decoded(b"[%b]" % bodies, _JSON, "utf-8")
                if len(known) == len(stored):
                    return [each["result"] for each in known]
        return [self._decoded(*each[1:])["result"] for each in stored]

    def _members(self, group_id: str) -> list[str] | None:
        """The keys of a group's members; None if it is not there, or has groups as members."""
        value = self._here.results.restore_group(encoding.key(group_id))
        if value is None:
            return None
        # As `GroupResult.as_tuple` has them: to make a thousand results takes longer than the rest.
        _, members = self._decoded(value, self.content_type, self.content_encoding)["result"]
        if any(of_group is not None for _, of_group in members):
            return None
        return [encoding.key(task_id) for (task_id, _), _ in members]

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Keep the header, for the worker of whichever member ends last.

        How many members there are goes with each of them: none has to ask.
        """
        self.ensure_chords_allowed()
        header = self.app.GroupResult(*header_result_args)
        header.save(backend=self)
        body["chord_size"] = len(header)

    def chord_error_from_stack(self, callback: Any, exc: BaseException | None = None) -> Any:
        """Let the body of a chord fail; the chord that it is itself a member of gets to know.

        Celery's own tell no one, and whoever waits for the outer chord waits for ever.
        """
        told = super().chord_error_from_stack(callback, exc)
        if callback.options.get("chord"):
            request = Context(callback.options)
            request.id, request.group = callback.id, callback.options.get("group_id")
            self.on_chord_part_return(request, states.FAILURE, exc)
        return told

    def on_chord_part_return(
        self,
        request: Context,
        state: str,
        result: Any,
        ending: chords.Ending | None = None,
        **kwargs: Any,
    ) -> None:
        """Count the member of a chord that ended, if *ending* did not; the last sends the body."""
        if request.group:
            known = self._here.results, self._here.recorder, request, self._expire_at()
            chords.member_ended(self, *known, ending)

    def count_later(self, count: Count) -> None:
        """Count a member of a chord that waited in the spool. Raises `StorageError`."""
        chords.count_later(self, self._here.results, count)

    def cleanup(self) -> None:
        """Delete what has expired: Celery's `celery.backend_cleanup` calls this once a day."""
        purge(self._here.records)


def _is_plain(result: object) -> bool:
    """Whether a record's JSON gives *result* back as it was, whatever the database."""
    if type(result) is int:
        return -_LARGEST <= result < _LARGEST
    return type(result) in _PLAIN or (type(result) is str and len(result) <= _LONGEST)


def _is_ready(meta: Meta) -> bool:
    return meta["status"] in states.READY_STATES


def _children(record: TaskRecord) -> list[Any] | None:
    """The tasks it published, as Celery's tuples."""
    if record.outcome is None or record.outcome.children is None:
        return None
    return [_tuple(child) for child in json.loads(record.outcome.children)]


def _tuple(child: Any) -> Any:
    if isinstance(child, str):
        return [[child, None], None]
    group_id, members = child
    return [[group_id, None], [_tuple(member) for member in members]]
