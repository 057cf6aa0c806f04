"""Pauses as they are seen: who paused a queue, and which workers have stopped or still consume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fullresult.config import Settings
from fullresult.insight.document import plain
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of, span
from fullresult.record import Pause
from fullresult.record.encoding import clip
from fullresult.storage import PauseStorage, Storage

_LONGEST = 200
_MOST_NAMES = 3


@dataclass(frozen=True)
class PauseSeen:
    """The pause of a queue, as it stands."""

    queue: str
    since: datetime
    until: datetime | None
    """It is over then; None: when somebody resumes the queue."""
    actor: str
    reason: str
    stopped: tuple[str, ...]
    """The living workers that do not consume it because it is paused, by their cards."""
    consuming: tuple[str, ...]
    """The living workers that still consume it, by their cards."""
    others: int
    """Consumers that the broker counts beyond those: 0 also where it does not count."""
    holds: bool
    """True if nobody is known to consume it."""
    sentence: str


def pauses_now(storage: Storage, settings: Settings, now: datetime) -> dict[str, Pause]:
    """The queues of this app's broker that are paused at *now*, by name. Raises `StorageError`."""
    if not isinstance(storage, PauseStorage):
        return {}
    return {
        each.queue: each
        for each in storage.find_pauses()
        if each.namespace == settings.namespace and each.is_in_force(now)
    }


def seen(
    pause: Pause,
    now: datetime,
    stopped: Sequence[str],
    consuming: Sequence[str],
    counted: int | None = None,
) -> PauseSeen:
    """*pause* as workers follow it, of which the broker *counted* so many consumers."""
    others = max((counted or 0) - len(consuming), 0)
    followed = _followed(stopped, consuming, others)
    return PauseSeen(
        pause.queue,
        pause.since,
        pause.until,
        pause.actor,
        pause.reason,
        tuple(stopped),
        tuple(consuming),
        others,
        not consuming and not others,
        f"{paused_by(pause, now)}; {followed}.",
    )


def paused_by(pause: Pause, now: datetime) -> str:
    """`media is paused by ann since 3 m 00 s (disk full)`."""
    lasts = span(max((now - pause.since).total_seconds(), 0))
    by = f"{one_line(pause.queue)} is paused by {one_line(pause.actor)} since {lasts}"
    until = f", for {span((pause.until - now).total_seconds())} more" if pause.until else ""
    reason = f" ({clip(one_line(pause.reason), _LONGEST)})" if pause.reason else ""
    return f"{by}{until}{reason}"


def _followed(stopped: Sequence[str], consuming: Sequence[str], others: int) -> str:
    known = len(stopped) + len(consuming)
    if not known and not others:
        return "no worker is known to consume it"
    parts = []
    if known:
        some = f"{len(stopped)} of " if consuming else ""
        have = "has" if known == 1 else "have"
        parts.append(f"{some}{count_of(known, 'worker')} {have} stopped")
    if consuming:
        parts.append(f"{_names(consuming)} still consume{'s' if len(consuming) == 1 else ''} it")
    if others:
        parts.append(
            f"the broker counts {count_of(others, 'consumer')} more, perhaps without FullResult"
        )
    return "; ".join(parts)


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    shown = ", ".join(map(one_line, names[:_MOST_NAMES]))
    return f"{shown} and {more} more" if more > 0 else shown


def document_of(pause: PauseSeen | None) -> dict[str, object] | None:
    """As values that JSON can hold."""
    if pause is None:
        return None
    return {name: plain(value) for name, value in vars(pause).items()}
