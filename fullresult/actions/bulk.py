"""Bulk re-sends: what a query finds is sent by a replay, or by the process that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.actions.batch import Report

if TYPE_CHECKING:
    from fullresult.actions.deeds import Deeds
    from fullresult.actions.replays import Replays
    from fullresult.record import TaskQuery


def resend_all(
    deeds: Deeds, replays: Replays | None, query: TaskQuery, limit: int | None, rate: float
) -> Report:
    """Send what *query* finds again, at most *limit* tasks.

    *replays* begins a replay, at *rate* tasks a second, if it takes over what is found. Raises
    `WrongReplay` for a rate that is none, and if the replay would leave out all of it.
    """
    number = deeds.count(query, limit)
    if replays is not None and replays.takes_over(query, number, limit):
        return Report(replay_id=replays.begin(query, rate).replay_id)
    return deeds.resend_matching(query, limit)
