"""The rule about a queue that somebody paused."""

from __future__ import annotations

from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import COMMAND, Confidence, Evidence, Finding, word
from fullresult.insight.pauses import PauseSeen


def paused_queue(case: Case) -> Finding | None:
    """Somebody paused its queue, and nothing says that a worker has the task."""
    pause, now = pause_of(case), case.queue_now
    if pause is None or (now is not None and now.taken_at is not None):
        return None
    confidence: Confidence = "likely"
    if now is not None and now.found is not None:
        confidence = "certain" if now.found else "possible"
    reason = f": {pause.reason}" if pause.reason else ""
    said = Evidence("pause", pause.since, f"{pause.queue} paused by {pause.actor}{reason}")
    cards = [case.of_card(life) for life in case.alive if life.worker.name in pause.stopped]
    return Finding(
        "queue is paused",
        f"Its queue {pause.sentence}",
        confidence,
        (said, *cards),
        (f"{COMMAND}queues resume {word(pause.queue)}",),
    )


def pause_of(case: Case) -> PauseSeen | None:
    """The pause of the queue in which the task waits on this app's broker."""
    if not case.is_waiting or case.queue is None or case.home == "":
        return None
    counted = case.queue_now.consumers if case.queue_now else None
    return case.reading.pause_of(case.queue, case.settings, counted)
