"""When connections to MongoDB break too often to wait for others."""

from __future__ import annotations

import pytest

from fullresult_storage_mongo.broken_connections import Breaks


@pytest.mark.parametrize(
    ("moments", "many"),
    [
        ([0, 1, 2, 3], False),
        ([0, 1, 2, 3, 4], True),
        ([0, 2.5, 5, 7.5, 10], True),
        ([0, 2.5, 5, 7.5, 10.1], False),
        ([0, 0.01, 0.02, 0.03, 0.04, 0.05], False),
        ([0, 0.01, 0.02, 1, 2, 3], False),
        ([0, 1, 2, 3, 4, 20], False),
    ],
    ids=["few", "many", "in ten seconds", "in more", "at once", "some at once", "long ago"],
)
def test_many_breaks_are_five_moments_in_ten_seconds(moments: list[float], many: bool) -> None:
    clock = iter(moments)
    breaks = Breaks(lambda: next(clock))

    said = [breaks.note() for _ in moments]

    assert said[-1] is many
    assert not any(said[:-1][:4])
