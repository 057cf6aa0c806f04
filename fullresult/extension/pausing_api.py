"""`full.pause_queue` and `full.resume_queue`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fullresult.actions.audit import actor_here
from fullresult.actions.pausing import Pausing, Told
from fullresult.insight.dates import length_of

if TYPE_CHECKING:
    from fullresult.actions.audit import Actor
    from fullresult.extension.parts import Parts


class PausingAPI:
    """Queues that are paused and resumed. `full.queues()` has how workers follow."""

    parts: Parts

    def pause_queue(
        self,
        queue: str,
        *,
        reason: str = "",
        lasts: timedelta | str | None = None,
        actor: str | None = None,
    ) -> Told:
        """Have no worker of this app's broker take tasks from *queue*, until it is resumed.

        With *lasts*, such as `2h`, the pause is over then by itself. Workers with `FullResult`
        follow it also if they start later; tasks that a worker has taken run all the same. Raises
        `CannotPause` for a queue that is not known; `StorageError`.
        """
        length = None if lasts is None else length_of(lasts, "lasts")
        return self.pausing(actor_here("python", actor)).pause(queue, reason, length)

    def resume_queue(self, queue: str, *, actor: str | None = None) -> Told:
        """End the pause of *queue*: workers consume it again that had stopped for it.

        Raises `CannotPause` if it is not paused; `StorageError`.
        """
        return self.pausing(actor_here("python", actor)).resume(queue)

    def pausing(self, actor: Actor) -> Pausing:
        """Pauses queues for *actor*: commands and pages pause through it."""
        parts = self.parts
        return Pausing(parts.app, parts.settings, parts.storage, parts.recorder, actor)
