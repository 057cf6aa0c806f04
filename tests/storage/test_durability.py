"""Which events may be lost with a storage's host for a moment."""

from __future__ import annotations

import pytest

from fullresult.record import PENDING, STARTED, STATES
from fullresult.storage import may_wait
from fullresult.testing import samples


@pytest.mark.parametrize("state", [*STATES, "PROGRESS"])
def test_only_publishes_and_starts_may_wait_for_the_disk(state: str) -> None:
    assert may_wait(samples.became("a", state)) is (state in {PENDING, STARTED})


def test_what_a_backend_was_given_does_not_wait() -> None:
    assert not may_wait(samples.event("a", stored=samples.stored()))
