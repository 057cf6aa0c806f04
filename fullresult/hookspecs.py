"""The hooks of `fullresult`, by which adapters and routers are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.router import Router
    from fullresult.storage import Storage

PROJECT = "fullresult"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def fullresult_open_storage(url: str, settings: Settings) -> Storage | None:
    """Open the storage at *url*, without connecting yet; None if the URL's scheme is not yours.

    Raises `celery.exceptions.ImproperlyConfigured` for a URL that cannot be right, or where a
    driver is missing, naming the extra that brings it. Implement it in a module named by an entry
    point in the group `fullresult.storage`, the entry point's name being the URL scheme.
    """


@hookspec
def fullresult_schema_sql(url: str, settings: Settings) -> str | None:
    """The SQL that `setup` runs on an empty database at *url*; None for storages without SQL."""


@hookspec(firstresult=True)
def fullresult_router(settings: Settings) -> Router | None:
    """What decides which tasks with an ETA wait in the storage, instead of `EtaRouter`.

    Given by `FullResult(app, plugins=[…])`, or by a module named by an entry point in the group
    `fullresult`. None: not this one.
    """
