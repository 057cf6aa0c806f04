"""The replica that listings are read from: which it is, and how far it is behind."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import NamedTuple

from fullresult.insight.words import span
from fullresult.storage import Reached, ReplicatedStorage, StorageError

_PATIENCE = 0.3
"""Seconds for a replica to get what its original had when it was asked: PostgreSQL sends what
nobody waits for after 0.2 s."""
_PAUSE = 0.02
_KEPT, _KEPT_AWAY = 1.0, 10.0
"""Seconds for which an answer is kept; longer if a server did not answer, as each asking waits."""


class Behind(NamedTuple):
    """How far a replica is behind the storage, or why it is not read."""

    seconds: float | None
    """It lacks nothing that is older; None: not known."""
    problem: str | None = None
    """Why that is not known, or why the storage is read in its place."""
    is_read: bool = True
    """False if the storage is read in its place."""

    @property
    def sentence(self) -> str:
        if not self.is_read:
            return f"Read from the storage, not from its replica: {self.problem}."
        if self.seconds is None:
            return f"Read from a replica; how far it is behind is not known: {self.problem}."
        if self.seconds < 1:
            return "Read from a replica, less than 1 s behind."
        return f"Read from a replica, at most {span(self.seconds)} behind."


class Replica:
    """A replica of a storage, compared with it at most once a second."""

    def __init__(self, storage: ReplicatedStorage, copy: ReplicatedStorage) -> None:
        self._storage, self._copy = storage, copy
        self._known: tuple[float, Behind] | None = None
        """When it was compared, by `time.monotonic`, and how."""

    def behind(self) -> Behind:
        """How far it is behind now."""
        if self._known is not None:
            at, found = self._known
            age = time.monotonic() - at
            if age < (_KEPT if found.problem is None else _KEPT_AWAY):
                more = None if found.seconds is None else found.seconds + age
                return found._replace(seconds=more)
        found = compare(self._storage, self._copy)
        self._known = time.monotonic(), found
        return found


def compare(storage: ReplicatedStorage, copy: ReplicatedStorage) -> Behind:
    """How far *copy* is behind *storage*. Takes no longer than both take to answer, and 0.3 s."""
    try:
        there = copy.reached()
    except StorageError as error:
        return Behind(None, f"it cannot be read ({error})", is_read=False)
    if not there.is_replica:
        return Behind(None, "the server takes writes, so it is no replica", is_read=False)
    begun = time.monotonic()
    try:
        here = storage.reached()
    except StorageError as error:
        return Behind(None, f"the storage does not answer ({error})")
    if here.family != there.family:
        return Behind(None, "it is a copy of another server", is_read=False)
    try:
        return _measured(begun, here, copy)
    except StorageError as error:
        return Behind(None, f"it cannot be read ({error})", is_read=False)


def _measured(begun: float, here: Reached, copy: ReplicatedStorage) -> Behind:
    while True:
        there = copy.reached()
        took = time.monotonic() - begun
        if here.place is None or there.place is None:
            return Behind(None, "its servers do not say what they have")
        if there.place >= here.place:
            return Behind(took)
        if took > _PATIENCE:
            break
        time.sleep(_PAUSE)
    if there.last is None:
        return Behind(None, "it has not got anything since it was started")
    return Behind(max(here.now - there.last, timedelta(0)).total_seconds() + took)
