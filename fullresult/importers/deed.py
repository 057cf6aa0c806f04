"""The import as a deed: it goes on where it was interrupted, and is in the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any

from fullresult.actions.audit import Actor, AuditLog, Trail
from fullresult.importers import groups
from fullresult.importers.errors import CannotImport
from fullresult.importers.events import Events
from fullresult.importers.fulldbresult import FullDbResult
from fullresult.importers.importing import Imported, Importer
from fullresult.importers.routes import Routes
from fullresult.importers.source import OVERLAP, Options
from fullresult.importers.sources import open_source
from fullresult.importers.taking import Taking
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.scheduling.schedule_maker import ScheduleMaker
from fullresult.storage import AuditStorage, Storage, with_schedules

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings
    from fullresult.recording.recorder import Recorder

_ACTION = "import"
_INTERRUPTED = "interrupted"
_LOOKED_AT = 1_000
"""The newest imports among which an interrupted one is looked for."""
_COUNTS = ("read", "new", "changed", "known", "skipped", "unreadable")


@dataclass(frozen=True)
class Wish:
    """What is to be imported, and how."""

    source: str
    """One of `fullresult.importers.sources.NAMES`."""
    url: str | None = None
    """Where the source is; a path for Flower's file."""
    since: datetime | None = None
    table: str | None = None
    zone: tzinfo = timezone.utc
    batch: int = 500
    dry_run: bool = False
    take_scheduled: bool = False
    follow: bool = False
    every: timedelta = timedelta(seconds=2)
    until_idle: timedelta | None = None

    @property
    def options(self) -> Options:
        return Options(self.table, self.zone, self.since, self.batch)


class Import:
    """One import of one actor. Raises `CannotImport` if the source cannot be read."""

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        storage: Storage,
        recorder: Recorder,
        actor: Actor,
        wish: Wish,
    ) -> None:
        self._app = app
        self._storage = storage
        self._wish = wish
        writes = wish.take_scheduled
        if writes and not settings.schedule_eta:
            raise CannotImport(
                "--take-scheduled needs fullresult_schedule_eta = True: without it no worker sends "
                "what waits here"
            )
        self._source = open_source(app, wish.source, wish.url, wish.options, writes=writes)
        self.shown = self._source.shown
        """The source, as it may be shown."""
        redactor = recorder.redactor
        details = {"source": self.shown, "since": wish.since and wish.since.isoformat()}
        self._trail = Trail(storage, redactor, actor, _ACTION, details)
        self._taking = self._taking_of(settings, storage, recorder, Routes(app))
        self._importer = Importer(
            self._source, settings, storage, redactor, Routes(app), dry_run=wish.dry_run
        )
        self.interrupted = None if wish.dry_run else _interrupted(storage, details)
        """The entry of the import that this one goes on with."""

    def _taking_of(
        self, settings: Settings, storage: Storage, recorder: Recorder, routes: Routes
    ) -> Taking | None:
        source = self._source
        if not self._wish.take_scheduled:
            return None
        if not isinstance(source, FullDbResult) or "scheduled_id" not in source.columns:
            source.close()
            raise CannotImport(f"{source.shown} has no tasks that wait")
        events = Events(source.name, source.missing, settings, recorder.redactor, routes)
        maker = ScheduleMaker(settings, recorder)
        return Taking(source, with_schedules(storage), events, maker)

    @property
    def done(self) -> Imported:
        return self._importer.done

    def total(self) -> int:
        """The number of rows, about."""
        return self._source.count()

    def run(self, advance: Callable[[int], None] | None = None) -> Imported:
        """Import. *advance* is called with the size of each page. Raises `StorageError`."""
        began = self._storage.now().isoformat()
        if self.interrupted is not None:
            began = self.interrupted.details["began"]
        try:
            self._run(advance or _nothing)
        except BaseException:
            # Also after Ctrl-C, which is how one ends that follows.
            if self.done.finished:
                self._write("done")
            else:
                self._write(_INTERRUPTED, began=began, position=self.done.position)
            raise
        self._write("done")
        return self.done

    def close(self) -> None:
        self._source.close()

    def _run(self, advance: Callable[[int], None]) -> None:
        wish, after = self._wish, None
        if self.interrupted is not None:
            after = self.interrupted.details["position"]
        if self._taking is not None:
            self._take(self._taking)
        self._importer.run(after, advance)
        if not wish.dry_run:
            self.done.groups = groups.save(self._app, self._source.groups())
        if self.interrupted is not None:
            began = datetime.fromisoformat(self.interrupted.details["began"])
            self._importer.catch_up(began - OVERLAP, advance)
        if wish.follow and not wish.dry_run:
            self._importer.follow(advance, wish.every, wish.until_idle)

    def _take(self, taking: Taking) -> None:
        """Before the rows are read, so that what waits here is not also said to wait there."""
        done = self.done
        if self._wish.dry_run:
            done.taken = taking.count()
            return
        taken = taking.run()
        done.taken, done.uncertain = len(taken.ids), taken.uncertain
        if taken.ids:
            self._trail.write(taken.ids, {"taken": done.taken})
        for broken in taken.broken:
            done.broken(*broken)

    def _write(self, outcome: str, **more: Any) -> None:
        if not self._wish.dry_run and self.done.read:
            counts = {name: getattr(self.done, name) for name in _COUNTS}
            self._trail.write([], {**counts, **more}, outcome)


def _nothing(_: int) -> None:
    pass


def _interrupted(storage: Storage, details: dict[str, Any]) -> AuditEntry | None:
    """The newest entry about the same source, if it says where that import was interrupted."""
    if not isinstance(storage, AuditStorage):
        return None
    for entry in AuditLog(storage).find(AuditQuery(action=_ACTION, limit=_LOOKED_AT)):
        if all(entry.details.get(name) == value for name, value in details.items()):
            known = entry.outcome == _INTERRUPTED and entry.details.get("position") is not None
            return entry if known else None
    return None
