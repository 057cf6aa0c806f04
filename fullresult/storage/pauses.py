"""Pauses of queues, an optional part of the contract: what people want, told to whoever asks."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fullresult.record.pause import Pause


@runtime_checkable
class PauseStorage(Protocol):
    """Optional: keeps which queues are paused. When a call returns, what it did cannot be lost."""

    def keep_pause(self, pause: Pause) -> None:
        """Keep *pause* in place of an earlier one of its queue of its broker."""
        ...

    def end_pause(self, namespace: str, queue: str) -> bool:
        """Delete the pause of this queue of this broker; False if there is none."""
        ...

    def find_pauses(self) -> list[Pause]:
        """All pauses, of all brokers, in any order. Every worker asks this every few seconds."""
        ...
