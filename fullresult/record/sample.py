"""A sample: the fields of a record that statistics need."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from fullresult.record.states import FAILURE, SUCCESS


class Sample(NamedTuple):
    """The fields of one record that statistics need."""

    name: str | None
    state: str | None
    retries: int | None
    date_created: datetime
    date_published: datetime | None
    eta: datetime | None
    first_started: datetime | None
    """When the first execution started."""
    date_started: datetime | None
    """When the latest execution started."""
    date_done: datetime | None
    runtime: float | None
    queue: str | None = None

    @property
    def wait(self) -> float | None:
        """Seconds from the moment it was both published and due to its first start."""
        if self.first_started is None:
            return None
        ready = self.date_published or self.date_created
        if self.eta is not None and self.eta > ready:
            ready = self.eta
        # Clocks of two hosts may differ.
        return max((self.first_started - ready).total_seconds(), 0.0)

    @property
    def run(self) -> float | None:
        """Seconds of the execution that ended the task by returning or raising; else None."""
        if self.state not in (SUCCESS, FAILURE):
            return None
        if self.runtime is not None:
            return self.runtime
        began = self.date_started or (None if self.retries else self.first_started)
        if began is None or self.date_done is None:
            return None
        return max((self.date_done - began).total_seconds(), 0.0)
