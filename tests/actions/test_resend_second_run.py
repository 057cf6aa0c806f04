"""An id that was published twice: what is sent again, or run here, is what its record shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fullresult.actions.recorded_call import RecordedCall
from fullresult.record import OwnMessage, TaskRecord
from fullresult.testing import samples
from tests.kit import browsing

if TYPE_CHECKING:
    from pathlib import Path

    from fullresult import FullResult


def twice(full: FullResult) -> TaskRecord:
    """A task published with 1 and again with 2, which failed then."""
    charge = full.parts.app.signature("shop.charge")
    for number in (1, 2):
        charge.clone((number,)).set(task_id=f"number {number}").apply_async()
    first, second = (full.get(f"number {number}") for number in (1, 2))
    assert first is not None
    assert second is not None
    assert second.message is not None
    end = samples.became(first.task_id, "FAILURE", date_started=samples.NOON, worker="w1")
    assert end.outcome is not None
    own = OwnMessage.of(second.message, end.outcome.stamp)
    full.storage.write([replace(end, own=own)])
    found = full.get(first.task_id)
    assert found is not None
    return found


def test_what_the_record_shows_is_sent(tmp_path: Path) -> None:
    with browsing.shop(f"sqlite:///{tmp_path}/a.db") as app:
        full: FullResult = app.fullresult
        record = twice(full)
        assert record.args == [2]

        new = full.get(full.resend(record).id)

        assert new is not None
        assert (new.args, new.argsrepr) == ([2], "(2,)")
        assert RecordedCall.of(record).args == [2]
