"""The hooks of `fullresult`: for adapters, routers, and functions that redact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.config.router import Router
    from fullresult.storage import AsyncOutboxWriter, OutboxWriter, Storage

PROJECT = "fullresult"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def fullresult_open_storage(url: str, settings: Settings) -> Storage | None:
    """Make the storage for *url*, without connecting yet; None if the URL's scheme is not yours.

    For a URL that cannot be right, raise `celery.exceptions.ImproperlyConfigured`; for a missing
    driver too, naming the extra that installs it. Implement this in a module named by an entry
    point in the group `fullresult.storage`; the entry point's name is the URL scheme.
    """


@hookspec
def fullresult_schema_sql(url: str, settings: Settings) -> str | None:
    """The SQL that `setup` runs on an empty database at *url*; None for a storage without SQL."""


@hookspec(firstresult=True)
def fullresult_router(settings: Settings) -> Router | None:
    """A router, which decides which tasks with an ETA wait in the storage; None for no router.

    The first one given replaces `EtaRouter`. Implement this in an object for
    `FullResult(app, plugins=[…])`, or in a module named by an entry point in the group
    `fullresult`.
    """


@hookspec
def fullresult_redact(  # type: ignore[empty-body]
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of the task *name*, or of a task in its links, as they may be kept.

    Works like a function in `fullresult_redact`, and is asked after those. *args* and *kwargs* are
    yours to change; the objects in them are the task's own. To hide nothing, return both as they
    are; None or an exception hides everything. Implement it where a `fullresult_router` may be.
    """


@hookspec(firstresult=True)
def fullresult_outbox_writer(
    connection: object,
) -> OutboxWriter | AsyncOutboxWriter | object | None:
    """What writes into an outbox by *connection*, which is of no kind that the storage knows.

    That is a connection of a known kind inside it, or a writer of your own. None: you do not know
    it either. Implement it where a `fullresult_router` may be.
    """
