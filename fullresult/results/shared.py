"""The parts that all result backends of one app and URL share."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult import plugins
from fullresult.config import Settings, without_password
from fullresult.recording.recorder import Recorder
from fullresult.results.mender import Mender
from fullresult.results.waiting import Waiter
from fullresult.storage import JoiningStorage, ResultStorage

OWN = "fullresult://"
"""The URL that means the storage of `fullresult_storage`."""


class Shared:
    """The recorder, the storage, and the threads that wait for results and mend chords.

    Celery makes a backend for each thread.
    """

    def __init__(self, app: Celery, url: str) -> None:
        known = _recorder_of(app)
        if url == OWN and known is not None:
            self.recorder, storage = known, known.writer.storage
        else:
            settings = Settings.of(app)
            if url == OWN and not app.conf.get("fullresult_storage"):
                raise ImproperlyConfigured(
                    f"result_backend = {OWN!r}: the app {app.main or app!r} has neither FullResult "
                    "nor fullresult_storage, which say where its results are. An unpickled result "
                    "is of the current app: is that the right one?"
                )
            if url != OWN:
                settings = replace(settings, storage=url)
            storage = plugins.open_storage(settings)
            redactor = None if known is None else known.redactor
            self.recorder = Recorder(app, settings, storage, redactor)
        if not isinstance(storage, ResultStorage):
            raise ImproperlyConfigured(
                f"result_backend: the storage {without_password(self.recorder.settings.storage)} "
                f"keeps records, but no results; use another result backend beside it"
            )
        self.records = storage
        self.results: ResultStorage = storage
        # Asked once: `isinstance` of a protocol takes 13 µs.
        self.joining: JoiningStorage | None = None
        if isinstance(storage, JoiningStorage):
            self.joining = storage
        self.extended = bool(app.conf.find_value_for_key("extended", "result"))
        """`result_extended`: arguments are shown with results. Read once, because it takes long."""
        self.waiter = Waiter(storage, messages=self.extended)
        self.mender = Mender(app, storage, storage)


def _recorder_of(app: Celery) -> Recorder | None:
    """The recorder of `FullResult(app)`; None without one. Celery hands a backend only the app."""
    parts = getattr(getattr(app, "fullresult", None), "parts", None)
    return None if parts is None else parts.recorder


# Of the module: Celery makes a backend for each thread, and gives it the app and the URL alone.
_shared: WeakKeyDictionary[Celery, dict[str, Shared]] = WeakKeyDictionary()


def shared(app: Celery, url: str) -> Shared:
    """The one `Shared` of *app* and *url* in this process."""
    mine = _shared.setdefault(app, {})
    found = mine.get(url)
    if found is None:
        found = mine.setdefault(url, Shared(app, url))
    return found
