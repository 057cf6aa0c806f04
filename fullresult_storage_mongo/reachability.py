"""Waits for a server that is silent, and not for servers that all refuse connections."""

from __future__ import annotations

import errno
import time
from collections.abc import Collection
from typing import Any

import pymongo
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError
from pymongo.server_description import ServerDescription

_FRESH = 1.0
"""Seconds for which a refusal is believed. PyMongo asks twice within them."""
_MOMENT = 0.001
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"


def reach(client: MongoClient[Any]) -> None:
    """Return once a server is known. Raises `ServerSelectionTimeoutError` if none is in time.

    PyMongo waits for a server that refuses as for one that is silent, since it may be about to
    start. A task must not wait for that.
    """
    if not client.topology_description.known_servers:
        _wait(client)


def _wait(client: MongoClient[Any]) -> None:
    waits = (client.options.timeout, client.options.server_selection_timeout)
    deadline = time.monotonic() + min(wait for wait in waits if wait is not None)
    while not (topology := client.topology_description).known_servers:
        servers = topology.server_descriptions().values()
        if _all_refuse(servers):
            raise ServerSelectionTimeoutError(", ".join(str(server.error) for server in servers))
        try:
            # Selecting a server makes PyMongo ask; it returns once one has answered.
            with pymongo.timeout(_MOMENT):
                client.is_primary  # noqa: B018
        except ServerSelectionTimeoutError:
            if time.monotonic() > deadline:
                raise


def _all_refuse(servers: Collection[ServerDescription]) -> bool:
    since = time.monotonic() - _FRESH
    return bool(servers) and all(
        server.last_update_time > since and _REFUSED in str(server.error) for server in servers
    )
