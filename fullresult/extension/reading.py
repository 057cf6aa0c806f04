"""`full.reading`: looks through the records, on a replica if there is one that can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.extension.records_api import RecordsAPI

if TYPE_CHECKING:
    from fullresult.extension.parts import Parts
    from fullresult.insight.replica import Behind
    from fullresult.storage import Storage


class Reading(RecordsAPI):
    """Looks through the tasks of one app, all by one server, which is chosen when this is made."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        storage, replica = parts.storage, parts.replica
        self.behind: Behind | None = None if replica is None else replica.behind()
        """How far the replica is behind; None without `fullresult_read_storage`."""
        copy = parts.read_storage if self.behind and self.behind.is_read else None
        self._storage = storage if copy is None else copy

    @property
    def storage(self) -> Storage:
        """The replica, or the app's storage."""
        return self._storage
