"""The adapter: opens the journal that a URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from celery.exceptions import ImproperlyConfigured

from fullresult.config import Settings
from fullresult.hookspecs import hookimpl
from fullresult.storage import Storage
from fullresult_storage_journal.journal import Journal
from fullresult_storage_journal.storage import JournalStorage


@hookimpl
def fullresult_open_storage(url: str, settings: Settings) -> Storage | None:
    parts = urlsplit(url)
    if parts.scheme != "journal":
        return None
    path = unquote(parts.path)[1:]
    if parts.netloc or parts.query or not path:
        raise ImproperlyConfigured(
            f"fullresult_storage = {url!r}: write journal:///relative or journal:////absolute"
        )
    journal = Journal(Path(path).absolute(), patience=settings.storage_timeout.total_seconds())
    return JournalStorage(journal, auto_setup=settings.auto_setup)
