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
from fullresult.importers.source import OVERLAP, Options, Source
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
_COUNTS = ("read", "new", "changed", "known", "skipped", "unreadable", "staying")


@dataclass(frozen=True)
class Wish:
    """What is to be imported, and how.

    An import that was interrupted is found again by its source, `since` and `zone`.
    """

    source: str
    """One of `fullresult.importers.sources.NAMES`."""
    url: str | None = None
    """Where the source is; a path for Flower's file."""
    since: datetime | timedelta | None = None
    """A length of time is counted back from now."""
    table: str | None = None
    zone: tzinfo = timezone.utc
    batch: int = 500
    dry_run: bool = False
    take_scheduled: bool = False
    follow: bool = False
    every: timedelta = timedelta(seconds=2)
    until_idle: timedelta | None = None

    def options(self, now: datetime) -> Options:
        """How the source is read. Raises `CannotImport`."""
        since = self.since
        try:
            since = now - since if isinstance(since, timedelta) else since
        except OverflowError as error:
            raise CannotImport(f"since: {self.since} ago is before the year 1") from error
        return Options(self.table, self.zone, since, self.batch)


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
        if wish.take_scheduled and not settings.schedule_eta:
            raise CannotImport(
                "--take-scheduled needs fullresult_schedule_eta = True: without it no worker sends "
                "what waits here"
            )
        options = wish.options(storage.now())
        self._source = self._opened(options)
        self.shown = self._source.shown
        """The source, as it may be shown."""
        redactor = recorder.redactor
        since = wish.since.isoformat() if isinstance(wish.since, datetime) else wish.since
        details = {"source": self.shown, "since": since and str(since), "timezone": str(wish.zone)}
        self.interrupted = None if wish.dry_run else _interrupted(storage, details)
        """The entry of the import that this one goes on with."""
        if self.interrupted is not None and isinstance(wish.since, timedelta):
            self._source.close()
            options = options._replace(since=_date(self.interrupted, "from"))
            self._source = self._opened(options)
        more = {"from": options.since.isoformat()} if options.since else {}
        self._trail = Trail(storage, redactor, actor, _ACTION, {**details, **more})
        self._taking = self._taking_of(settings, storage, recorder, Routes(app))
        self._importer = Importer(
            self._source, settings, storage, redactor, Routes(app), dry_run=wish.dry_run
        )

    def _opened(self, options: Options) -> Source:
        wish = self._wish
        writes = wish.take_scheduled and not wish.dry_run
        return open_source(self._app, wish.source, wish.url, options, writes=writes)

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
        """The number of rows that are to be read, about."""
        return self._source.count(self._after)

    @property
    def _after(self) -> Any:
        return None if self.interrupted is None else self.interrupted.details["position"]

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
        wish, importer, done = self._wish, self._importer, self.done
        done.position = self._after
        if self._taking is not None:
            self._take(self._taking)
        if self.interrupted is not None:
            importer.since = _date(self.interrupted, "began") - OVERLAP
        importer.run(done.position, advance)
        if not wish.dry_run:
            done.groups = groups.save(self._app, self._source.groups())
        if self.interrupted is not None:
            importer.look_again(advance)
        done.finished = True
        if wish.follow and not wish.dry_run:
            importer.follow(advance, wish.every, wish.until_idle)

    def _take(self, taking: Taking) -> None:
        """Before the rows are read, so that what waits here is not also said to wait there."""
        done, is_dry = self.done, self._wish.dry_run
        taken = taking.look() if is_dry else taking.run()
        done.note_taken(taken)
        self._importer.apart = {*taken.ids, *taken.uncertain}
        if taken.ids and not is_dry:
            self._trail.write(taken.ids, {"taken": done.taken})

    def _write(self, outcome: str, **more: Any) -> None:
        if not self._wish.dry_run and (self.done.read or self.interrupted is not None):
            counts = {name: getattr(self.done, name) for name in _COUNTS}
            self._trail.write([], {**counts, **more}, outcome)


def _nothing(_: int) -> None:
    pass


def _date(entry: AuditEntry, name: str) -> datetime:
    return datetime.fromisoformat(entry.details[name])


def _interrupted(storage: Storage, details: dict[str, Any]) -> AuditEntry | None:
    """The newest entry about the same source, if it says where that import was interrupted."""
    if not isinstance(storage, AuditStorage):
        return None
    for entry in AuditLog(storage).find(AuditQuery(action=_ACTION, limit=_LOOKED_AT)):
        is_whole = "read" in entry.details  # and not of what was taken over
        if is_whole and all(entry.details.get(name) == value for name, value in details.items()):
            known = entry.outcome == _INTERRUPTED and entry.details.get("position") is not None
            return entry if known else None
    return None
