"""A pause: the wish of a person that no worker takes tasks from a queue."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Pause(NamedTuple):
    """The pause of one queue of one broker."""

    namespace: str
    """The broker, as `fullresult_namespace` names it."""
    queue: str
    since: datetime
    """By the storage's clock."""
    until: datetime | None
    """It is over then; None: when somebody resumes the queue."""
    actor: str
    reason: str
    """Empty if none was given."""

    def is_in_force(self, now: datetime) -> bool:
        """True unless it is over at *now*."""
        return self.until is None or now < self.until
