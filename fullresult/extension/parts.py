"""The parts of one app, each opened when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult import plugins
from fullresult.actions.audit import Actor
from fullresult.actions.replay_message import Preparing
from fullresult.actions.replays import Replays, noted_by
from fullresult.actions.schedules import Scheduled
from fullresult.config import Settings, without_password
from fullresult.insight.replica import Replica
from fullresult.recording.paused_queues import PausedQueues
from fullresult.recording.recorder import Recorder
from fullresult.recording.rehearsal import Rehearsals
from fullresult.scheduling.carrying_storage import carrying_storage
from fullresult.scheduling.diverter import Diverter
from fullresult.scheduling.joined_storage import joined
from fullresult.scheduling.original_ids import OriginalIds
from fullresult.scheduling.outbox_publisher import OutboxPublisher
from fullresult.scheduling.replay_governor import Governor
from fullresult.scheduling.revoked_results import store_revoked
from fullresult.scheduling.sweeper import Sweeper
from fullresult.scheduling.sweepers import Sweepers
from fullresult.storage import (
    OutboxStorage,
    ReplicatedStorage,
    ResultStorage,
    ScheduleStorage,
    Storage,
    with_schedules,
)
from fullresult.storage.replays import ReplayStorage, with_replays

_Opening = tuple[tuple[Storage, Recorder], dict[str, ScheduleStorage], Storage | None]


def parts_of(app: Any) -> Parts | None:
    """The parts of *app*; None if `FullResult` is not installed in it."""
    return getattr(getattr(app, "fullresult", None), "parts", None)


class Parts:
    """Settings, storage, recorder, diverter and sweeper of one app."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.original_ids = OriginalIds()
        self.rehearsals = Rehearsals()
        self.opened: tuple[Storage, Recorder] | None = None
        """None until the configuration was read."""
        self.worker: object | None = None
        """The `RunningWorker` of this app in this process; None outside one."""
        self.paused_queues: PausedQueues | None = None
        """Those of this process's worker, from its first connection on."""
        self.adjust: Callable[[Settings], Settings] = _as_they_are
        """Changes the settings when they are read."""
        self.other_outboxes: dict[str, ScheduleStorage] = {}
        """The storages that `fullresult_outboxes` names, once the configuration was read."""
        self.read_storage: Storage | None = None
        """The replica that `fullresult_read_storage` names, once the configuration was read."""
        self.replica: Replica | None = None
        """Says how far it is behind."""
        self._openings: list[_Opening] = []
        self._diverter: Diverter | None = None
        self._outboxes: OutboxPublisher | None = None
        self._sweeper: Sweepers | None = None
        self._plugins: list[object] = []

    def add_plugins(self, more: Iterable[object]) -> None:
        """Ask *more* plugins for a router and for what redacts, beside the installed ones."""
        known = [*self._plugins, *more]
        if self.opened is not None and len(known) > len(self._plugins):
            recorder = self.opened[1]
            recorder.redactor = plugins.redactor(self.app, recorder.settings, known)
        self._plugins = known

    @property
    def settings(self) -> Settings:
        """The app's `fullresult_*` configuration. Raises `ImproperlyConfigured`."""
        return self.recorder.settings

    @property
    def storage(self) -> Storage:
        """The storage that `fullresult_storage` names. Raises `ImproperlyConfigured`.

        It also knows the schedules in the outboxes that are elsewhere.
        """
        return (self.opened or self._open())[0]

    @property
    def schedule_storage(self) -> ScheduleStorage:
        """The same storage. Raises `StorageError` if it keeps no schedules."""
        return with_schedules(self.storage)

    @property
    def recorder(self) -> Recorder:
        """Makes events of what Celery's signals say. Raises `ImproperlyConfigured`."""
        return (self.opened or self._open())[1]

    @property
    def diverter(self) -> Diverter:
        """Stores the tasks that are to run later. Raises `ImproperlyConfigured`."""
        if self._diverter is None:
            recorder, storage = self.recorder, self._records
            router = plugins.router(recorder.settings, self._plugins)
            self._diverter = Diverter(
                self.app, recorder.settings, with_schedules(storage), recorder, router
            )
        return self._diverter

    @property
    def outboxes(self) -> OutboxPublisher:
        """Publishes into outboxes. Raises `ImproperlyConfigured`."""
        if self._outboxes is None:
            recorder, ask = self.recorder, plugins.outbox_writer(self._plugins)
            storages: dict[str | None, Storage] = {None: self._records}
            storages.update(self.other_outboxes)
            self._outboxes = OutboxPublisher(self.app, recorder.settings, storages, recorder, ask)
        return self._outboxes

    @property
    def schedules(self) -> Scheduled:
        """Cancels, moves and mends schedules. Raises `ImproperlyConfigured`."""
        return Scheduled(self.settings, self.schedule_storage, partial(store_revoked, self.app))

    def new_sweeper(self) -> Sweeper:
        """A sweeper of the storage that is not started. Raises `ImproperlyConfigured`."""
        ask = self.recorder.writer.listen
        return Sweeper(
            self.app, self.settings, with_schedules(self._records), ask, self._governor()
        )

    def replays(self, actor: Actor) -> Replays:
        """What *actor* may do with replays. Raises `StorageError` if the storage keeps none."""
        # Not with the outboxes elsewhere: a replay has nothing in them, and does not wait for them.
        return Replays(self.app, self.settings, with_replays(self._records), self.recorder, actor)

    def _governor(self) -> Governor | None:
        storage = self._records
        if not isinstance(storage, ReplayStorage) or not isinstance(storage, ResultStorage):
            return None
        prepare = Preparing(self.app, self.settings, storage, self.recorder)
        return Governor(self.settings, storage, prepare, noted_by(storage, self.recorder.redactor))

    def new_sweepers(self) -> Sweepers:
        """Sweepers of all that waits, in the storage and elsewhere. They are not started."""
        settings, records = self.settings, self._records
        keeps = isinstance(records, ScheduleStorage)
        made = [self.new_sweeper()] if keeps or not settings.outboxes else []
        for outbox in self.other_outboxes.values():
            carrying = carrying_storage(outbox, records, settings.namespace)
            made.append(Sweeper(self.app, replace(settings, outbox=True), carrying))
        return Sweepers(made)

    def start_sweeper(self) -> None:
        """Send due tasks from a thread of this process, until `stop_sweeper`."""
        if self._sweeper is None:
            sweeper = self.new_sweepers()
            sweeper.start()
            self._sweeper = sweeper

    def stop_sweeper(self, timeout: timedelta | None = None) -> None:
        """Have the thread stop after the message it is sending, and wait *timeout* for that."""
        sweeper = self._sweeper
        if sweeper is not None:
            sweeper.stop()
            if timeout is not None:
                sweeper.join(timeout.total_seconds())
                self._sweeper = None

    def close(self) -> None:
        """Write the events in the spool, for two seconds at most, and close the storage."""
        if self.opened is not None:
            storage, recorder = self.opened
            if recorder.writer.flusher is not None:
                recorder.writer.flusher.finish()
            storage.close()
            if self.read_storage is not None:
                self.read_storage.close()

    def check_tables(self) -> None:
        """Raise `StorageError` if the storage's tables are missing or old."""
        storage = plugins.open_storage(replace(self.settings, auto_setup=False))
        try:
            storage.get("")
        finally:
            storage.close()

    def reopen(self) -> None:
        """Close the storage; read the configuration anew when it is next needed."""
        self.close()
        self._openings, self.opened, self.other_outboxes = [], None, {}
        self.read_storage = self.replica = None
        self._diverter = self._outboxes = None

    def _open(self) -> tuple[Storage, Recorder]:
        settings = self.adjust(Settings.of(self.app))
        storage = plugins.open_storage(settings)
        if settings.sweeps_storage and not isinstance(storage, ScheduleStorage):
            key = "schedule_eta" if settings.schedule_eta else "outbox"
            raise ImproperlyConfigured(
                f"fullresult_{key} = True: this storage keeps no schedules; choose another "
                "fullresult_storage, or leave all tasks to the broker"
            )
        copy = _replica(storage, settings)
        outboxes = {name: _outbox(name, url, settings) for name, url in settings.outboxes.items()}
        redactor = plugins.redactor(self.app, settings, self._plugins)
        recorder = Recorder(self.app, settings, storage, redactor)
        # If several threads come here at once, the first one's is used. A lock would be held
        # across a fork; appending is one step without one.
        self._openings.append(((joined(storage, outboxes), recorder), outboxes, copy))
        first, self.other_outboxes, self.read_storage = self._openings[0]
        self.replica = _compared(first[0], self.read_storage)
        self.opened = first  # the last: who sees it sees the outboxes, too
        return first

    @property
    def _records(self) -> Storage:
        """The storage alone."""
        storage = self.storage
        return self.recorder.writer.storage if self.other_outboxes else storage


def _outbox(name: str, url: str, settings: Settings) -> ScheduleStorage:
    storage = plugins.open_storage(replace(settings, storage=url))
    if isinstance(storage, ScheduleStorage) and isinstance(storage, OutboxStorage):
        return storage
    raise ImproperlyConfigured(
        f"fullresult_outboxes[{name!r}] = {without_password(url)!r}: this storage has no outbox"
    )


def _replica(storage: Storage, settings: Settings) -> Storage | None:
    """What `fullresult_read_storage` names, a replica of *storage*."""
    url = settings.read_storage
    if url is None:
        return None
    try:
        # It gets its tables from the storage.
        copy = plugins.open_storage(replace(settings, storage=url, auto_setup=False))
    except ImproperlyConfigured as error:
        said = str(error).replace("fullresult_storage", "fullresult_read_storage", 1)
        raise ImproperlyConfigured(said) from error
    for key, each in (("storage", storage), ("read_storage", copy)):
        found = _replicated(each)
        if found is None or not found.has_replicas():
            raise ImproperlyConfigured(
                f"fullresult_read_storage = {without_password(url)!r}: what fullresult_{key} names "
                "has no replicas, as PostgreSQL and MongoDB have; leave fullresult_read_storage out"
            )
    return copy


def _compared(storage: Storage, copy: Storage | None) -> Replica | None:
    original, other = _replicated(storage), _replicated(copy)
    return None if original is None or other is None else Replica(original, other)


def _replicated(storage: object) -> ReplicatedStorage | None:
    return storage if isinstance(storage, ReplicatedStorage) else None


def _as_they_are(settings: Settings) -> Settings:
    return settings
