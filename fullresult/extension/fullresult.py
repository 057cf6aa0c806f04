"""`FullResult(app)`: installs fullresult into an app, and is its API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.local import Proxy

from fullresult.config import Settings
from fullresult.extension import signals, tasks
from fullresult.extension.actions_api import ActionsAPI
from fullresult.extension.control import watch_control
from fullresult.extension.parts import Parts
from fullresult.extension.pausing_api import PausingAPI
from fullresult.extension.questions_api import QuestionsAPI
from fullresult.extension.reading import Reading
from fullresult.extension.report import show_no_password
from fullresult.extension.repro_api import ReproAPI
from fullresult.extension.send_task import watch
from fullresult.outage.spool import SpoolStatus
from fullresult.recording.recorder import Recorder
from fullresult.scheduling.diverter import Diverter
from fullresult.scheduling.outbox_box import AsyncOutbox, Direct, SyncOutbox
from fullresult.storage import Storage


class FullResult(QuestionsAPI, ActionsAPI, PausingAPI, ReproAPI):
    """The memory of a Celery app.

    `FullResult(app)` installs it; `app.fullresult` is the same object. It may be made before or
    after the app is configured or finalised, and more than once. The configuration is read, and
    the storage opened, when they are first needed. *plugins* have hooks of `fullresult.hookspecs`,
    such as `fullresult_router`.
    """

    app: Celery
    parts: Parts

    def __new__(  # noqa: PYI034  (it may be installed already)
        cls, app: Celery, plugins: Iterable[object] = ()
    ) -> FullResult:
        if isinstance(app, Proxy):
            app = app._get_current_object()  # noqa: SLF001  (the proxy means another one later)
        installed = getattr(app, "fullresult", None)
        if isinstance(installed, FullResult):
            self = installed
        else:
            self = super().__new__(cls)
            self._install(app)
        self.parts.add_plugins(plugins)
        return self

    def _install(self, app: Celery) -> None:
        self.app = app
        self.parts = Parts(app)
        app.send_task = watch(self.parts, app.send_task)
        app.fullresult = self
        watch_control(self.parts)
        tasks.register(self.parts)
        signals.connect()
        show_no_password(app)

    def __repr__(self) -> str:
        return f"<FullResult of {self.app.main or 'an app without a name'}>"

    @property
    def settings(self) -> Settings:
        """The app's `fullresult_*` configuration. Raises `ImproperlyConfigured`."""
        return self.parts.settings

    @property
    def storage(self) -> Storage:
        """The storage that `fullresult_storage` names. Raises `ImproperlyConfigured`."""
        return self.parts.storage

    @property
    def reading(self) -> Reading:
        """`find`, `count`, `count_states`, `statistics`, `overview` and `failures`, on a replica.

        It is that of `fullresult_read_storage`, and the storage without one, or where it cannot be
        read: `reading.behind` says which, and how far it is behind. Ask anew each time.
        """
        return Reading(self.parts)

    @property
    def recorder(self) -> Recorder:
        """Makes events of what Celery's signals say. Raises `ImproperlyConfigured`."""
        return self.parts.recorder

    @property
    def diverter(self) -> Diverter:
        """Stores the tasks that are to run later. Raises `ImproperlyConfigured`."""
        return self.parts.diverter

    def outbox(
        self,
        connection: Any,
        *,
        at_least_once: bool | None = None,
        autocommit: bool = False,
        database: str | None = None,
    ) -> SyncOutbox | AsyncOutbox:
        """A block in which tasks commit with what *connection* writes, or never were.

        *connection* is to the storage's own database, or to that of `fullresult_outboxes` which
        *database* names, of any of the kinds in `docs/outbox.md`. Use `async with` for an
        asynchronous one. With *at_least_once*, a task may be sent twice rather
        than not at all. Without *autocommit*, a transaction must be open at each publish. Raises
        `ValueError` for a connection that cannot lead there, and `ImproperlyConfigured`. A publish
        raises `NotStorable`, `ValueError`, and the errors of the connection's driver.
        """
        return self.parts.outboxes.outbox(
            connection,
            at_least_once=at_least_once,
            autocommit=autocommit,
            database=database,
        )

    def direct(self) -> Direct:
        """A block in which tasks are published as if no outbox were around."""
        return self.parts.outboxes.direct()

    def start_sweeper(self) -> None:
        """Send due tasks from a thread of this process, until `stop_sweeper`."""
        self.parts.start_sweeper()

    def stop_sweeper(self, timeout: timedelta | None = None) -> None:
        """Have the thread stop after the message it is sending, and wait *timeout* for that."""
        self.parts.stop_sweeper(timeout)

    def setup(self, outbox: str | None = None) -> None:
        """Create or upgrade the storage's tables, or those of one of `fullresult_outboxes`.

        Raises `StorageError`, and `LookupError` if there is no such outbox.
        """
        if outbox is None:
            self.storage.setup()
            return
        self.settings.outbox_url(outbox)
        self.parts.other_outboxes[outbox].setup()

    def close(self) -> None:
        """Close the storage's connections of this process.

        The events in its spool are written first, for two seconds at most, if the storage answers.
        """
        self.parts.close()

    def spool_status(self) -> SpoolStatus | None:
        """The events in the spool of this host; None without a spool."""
        flusher = self.recorder.writer.flusher
        return None if flusher is None else flusher.status()

    def flush_spool(self, advance: Callable[[int], None] | None = None) -> int:
        """Write the spooled events of this process and of dead ones. Returns how many.

        Other living processes write their own. *advance* is called with the size of each batch.
        Raises `StorageError`.
        """
        flusher = self.recorder.writer.flusher
        return 0 if flusher is None else flusher.flush(advance)
