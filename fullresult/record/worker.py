"""What a worker tells of itself, so that its tasks are missed when it is gone."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Worker(NamedTuple):
    """One life of a worker, from its start to its end. Dates are the storage's."""

    worker_id: str
    """Made at its start: one that was started anew under the same name has another."""
    name: str
    """Its node name: what records say as `worker`."""
    date_started: datetime
    date_seen: datetime
    """When it told last."""
    alive_until: datetime
    """It will have told again by then, if it lives."""
    date_stopped: datetime | None = None
    """When it ended as it should."""

    @property
    def gone_since(self) -> datetime:
        """The last that was heard of it."""
        return self.date_stopped or self.date_seen

    def is_gone(self, now: datetime) -> bool:
        """Whether it ended, or should have been heard of since."""
        return self.date_stopped is not None or self.alive_until < now
