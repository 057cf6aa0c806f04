"""How an outcome NOT_RUN is written down: as a FAILURE, which is what older versions know.

Whoever waits for such a task by an older version gets the error. The stamp tells the two apart: no
other state has its rank.
"""

from __future__ import annotations

from fullresult.record.parts import Outcome
from fullresult.record.stamps import RANK, rank_in
from fullresult.record.states import FAILURE, NOT_RUN


def as_written(outcome: Outcome) -> Outcome:
    """*outcome* as it is kept."""
    return outcome._replace(state=FAILURE) if outcome.state == NOT_RUN else outcome


def as_read(outcome: Outcome) -> Outcome:
    """The outcome that `as_written` was given."""
    if outcome.state == FAILURE and rank_in(outcome.stamp) == RANK[NOT_RUN]:
        return outcome._replace(state=NOT_RUN)
    return outcome
