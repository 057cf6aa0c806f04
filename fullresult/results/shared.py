"""What the result backends of one app share: settings, storage, recorder."""

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
from fullresult.storage import JoiningStorage, ResultStorage, Storage

OWN = "fullresult://"
"""The URL that means the storage of `fullresult_storage`."""


class Shared:
    """What the backends of one app and URL share: Celery makes one for each thread."""

    def __init__(self, app: Celery, url: str) -> None:
        full = getattr(app, "fullresult", None)
        if url == OWN and full is not None:
            self.recorder: Recorder = full.recorder
            storage: Storage = full.storage
        else:
            settings = Settings.of(app)
            if url != OWN:
                settings = replace(settings, storage=url)
            storage = plugins.open_storage(settings)
            redactor = None if full is None else full.recorder.redactor
            self.recorder = Recorder(app, settings, storage, redactor)
        if not isinstance(storage, ResultStorage):
            raise ImproperlyConfigured(
                f"result_backend: the storage {without_password(self.recorder.settings.storage)} "
                f"keeps records, but no results; use another result backend beside it"
            )
        self.records = storage
        self.results: ResultStorage = storage
        # Asked once: of a protocol it takes longer than all else.
        self.joining: JoiningStorage | None = None
        if isinstance(storage, JoiningStorage):
            self.joining = storage
        self.extended = bool(app.conf.find_value_for_key("extended", "result"))
        """Whether arguments are shown with results. Asked once, as it takes long."""
        self.waiter = Waiter(storage, messages=self.extended)
        self.mender = Mender(app, storage, storage)


# Of the module: Celery makes a backend for each thread, and gives it the app and the URL alone.
_shared: WeakKeyDictionary[Celery, dict[str, Shared]] = WeakKeyDictionary()


def shared(app: Celery, url: str) -> Shared:
    """That of *app* for *url*."""
    mine = _shared.setdefault(app, {})
    found = mine.get(url)
    if found is None:
        found = mine.setdefault(url, Shared(app, url))
    return found
