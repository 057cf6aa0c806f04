"""The hooks of `fullresult`, by which adapters, routers and what redacts are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.config.router import Router
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


@hookspec
def fullresult_redact(  # type: ignore[empty-body]
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of a task called *name*, and of each task in its links, as they may be kept.

    The same as a function in `fullresult_redact`, and asked after these. *args* and *kwargs* are
    lists and dicts of yours, the objects in them the task's own. Whoever hides nothing answers them
    as they are; None or an exception hides all. Given as a `fullresult_router` is.
    """
