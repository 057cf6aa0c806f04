"""Waiting for results as Celery's result API asks for it."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from celery import states
from celery.backends.base import BaseBackend
from celery.exceptions import TimeoutError as TimedOut

from fullresult.record import TaskRecord, encoding
from fullresult.results.meta import Meta, NotKept
from fullresult.results.shared import Shared
from fullresult.results.waiting import Ticket
from fullresult.storage import StorageError


class WaitingBackend(BaseBackend):  # type: ignore[misc]
    """A backend whose results are waited for by one thread of the process."""

    @property
    @abstractmethod
    def _here(self) -> Shared: ...

    @abstractmethod
    def _meta(self, record: TaskRecord, task_id: str) -> Meta: ...

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
            if on_interval is not None and meta["status"] in states.PROPAGATE_STATES:
                # Where parents are followed, it raises the error of the one that failed.
                on_interval()
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

        Raises `BackendGetMetaError` for a result that was not kept as a value.

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
                    if isinstance(meta, NotKept):
                        raise meta["result"]
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
        """The tasks that ended; those in *last* are asked for here, as the thread may be late."""
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
        if meta["status"] == states.SUCCESS and meta:
            self._cache[task_id] = meta
        return meta


def _is_ready(meta: Meta) -> bool:
    return meta["status"] in states.READY_STATES
