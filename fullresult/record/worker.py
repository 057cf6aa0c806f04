"""A worker's report of itself, by which its tasks are missed when it is gone."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Worker(NamedTuple):
    """One life of a worker, from its start to its end. Dates are by the storage's clock."""

    worker_id: str
    """Made at its start; a worker started again under the same name has another."""
    name: str
    """Its node name, as in the `worker` of records."""
    date_started: datetime
    date_seen: datetime
    """When it was last heard of."""
    alive_until: datetime
    """It is heard of again by then, if it lives."""
    date_stopped: datetime | None = None
    """When it ended in good order; None if it did not."""

    @property
    def gone_since(self) -> datetime:
        """When it was last heard of."""
        return self.date_stopped or self.date_seen

    def is_gone(self, now: datetime) -> bool:
        """True if it ended, or should have been heard of by *now* and was not."""
        return self.date_stopped is not None or self.alive_until < now
