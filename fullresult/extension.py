"""`FullResult(app)`: what is put into an app, and the API that people call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.local import Proxy
from celery.result import AsyncResult

from fullresult import encoding, plugins, receivers, stale
from fullresult.config import Settings
from fullresult.publishing import watch
from fullresult.record import TaskRecord
from fullresult.recorder import Recorder
from fullresult.resend import Resender
from fullresult.storage import Storage, TaskQuery


class FullResult:
    """The memory of a Celery app.

    `FullResult(app)` is all there is to install; it is found again as `app.fullresult`. It may be
    made before or after the app is configured or finalised, and more than once. The configuration
    is read, and the storage opened, when first needed.
    """

    app: Celery
    _opened: tuple[Storage, Recorder] | None

    def __new__(cls, app: Celery) -> FullResult:  # noqa: PYI034  (the one that is installed)
        if isinstance(app, Proxy):
            app = app._get_current_object()  # noqa: SLF001  (the proxy means another one later)
        installed = getattr(app, "fullresult", None)
        if isinstance(installed, FullResult):
            return installed
        self = super().__new__(cls)
        self._install(app)
        return self

    def _install(self, app: Celery) -> None:
        self.app = app
        self._opened = None
        app.send_task = watch(self, app.send_task)
        app.fullresult = self
        receivers.connect()

    def __repr__(self) -> str:
        return f"<FullResult of {self.app.main or 'an app without a name'}>"

    @property
    def settings(self) -> Settings:
        """The app's `fullresult_*` configuration. Raises `ImproperlyConfigured`."""
        return self.recorder.settings

    @property
    def storage(self) -> Storage:
        """The storage that `fullresult_storage` names. Raises `ImproperlyConfigured`."""
        return (self._opened or self._open())[0]

    @property
    def recorder(self) -> Recorder:
        """What the receivers of Celery's signals tell."""
        return (self._opened or self._open())[1]

    def _open(self) -> tuple[Storage, Recorder]:
        settings = Settings.of(self.app)
        storage = plugins.open_storage(settings)
        opened = storage, Recorder(self.app, settings, storage)
        # Of threads that come here at once, one is heard. A lock would be held across a fork.
        self._opened = self._opened or opened
        return self._opened

    def setup(self) -> None:
        """Create or upgrade what the storage needs. Raises `StorageError`."""
        self.storage.setup()

    def close(self) -> None:
        """Let go of the storage's connections in this process."""
        if self._opened is not None:
            self._opened[0].close()

    def get(self, task_id: str) -> TaskRecord | None:
        """All that is known of *task_id*; None if nothing is. Raises `StorageError`."""
        return self.storage.get(encoding.key(task_id))

    def find(self, query: TaskQuery | None = None, **filters: Any) -> list[TaskRecord]:
        """The records that *query*, or its fields as keywords, asks for; newest first.

        Raises `StorageError`; `TypeError` or `ValueError` for filters that mean nothing.
        """
        return self.storage.find(_query(query, filters))

    def count(self, query: TaskQuery | None = None, **filters: Any) -> int:
        """How many records there are of which `find` would answer a page. Raises like it."""
        return self.storage.count(_query(query, filters))

    def delete(
        self, query: TaskQuery | None = None, *, limit: int | None = None, **filters: Any
    ) -> int:
        """Delete the records that `count` counts, at most *limit*; returns how many.

        Like `count` it means all that match, whatever page *query* is of. Raises like `find`.
        """
        return self.storage.delete(replace(_query(query, filters), limit=limit, after=None))

    def get_stale_tasks(
        self,
        max_duration: timedelta | None = None,
        acceptable_states: Collection[str] | None = None,
        *,
        limit: int | None = None,
    ) -> list[TaskRecord]:
        """Tasks that neither finished nor moved for *max_duration* (`fullresult_stale_after`).

        A task has moved when anything was recorded of it, and is not stale before its ETA. With
        *acceptable_states*, all those in another state. Oldest first. Raises `StorageError`.
        """
        age = self.settings.stale_after if max_duration is None else max_duration
        return self.find(stale.query(self.storage.now() - age, acceptable_states, limit))

    def resend(
        self,
        task_id_or_record: str | TaskRecord,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Put a recorded task on the broker again, under a new id.

        The message is the recorded one, byte for byte: arguments, routing, headers, links, limits,
        serializer and stamps. Not so: membership of a group or chord, unless `keep_group=True` (its
        outcome would be counted twice). *args*, *kwargs* and *options* (those of `apply_async`)
        override. The new record's `retry_of` names the old task.

        Raises `CannotResend`, and sends nothing, where the recorded message is not whole;
        `LookupError` for an unknown id; `StorageError`; what the broker raises.
        """
        if isinstance(task_id_or_record, TaskRecord):
            record = task_id_or_record
        else:
            found = self.get(task_id_or_record)
            if found is None:
                raise LookupError(f"no task {task_id_or_record!r} is recorded")
            record = found
        return Resender(self.app, self.recorder).resend(record, args, kwargs, options)


def _query(query: TaskQuery | None, filters: Mapping[str, Any]) -> TaskQuery:
    if query is None:
        return TaskQuery(**filters)
    if filters:
        raise TypeError("give a TaskQuery or its fields as keywords, not both")
    return query
