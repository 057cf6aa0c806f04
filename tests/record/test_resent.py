"""Marks of tasks that were sent again: what they name, whatever the ids are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fullresult.record.resent import earlier_id_in, latest, mark, new_id_in
from fullresult.testing import samples

STAMP = samples.outcome("FAILURE").stamp
ODD = ["a", "", "\x1f", "a\x1f0", "a\x1f1", "é.~", "~", ".", "\x1fffffffff"]


@pytest.mark.parametrize("before", [None, "b", "b\x1f1", "ü", "."])
@pytest.mark.parametrize("new_id", ODD)
def test_a_mark_names_the_id_and_the_one_before(new_id: str, before: str | None) -> None:
    made = mark(STAMP, samples.NOON, new_id, before)

    assert (new_id_in(made), earlier_id_in(made)) == (new_id, before)


def test_one_of_an_older_version_names_its_id_and_none_before() -> None:
    made = mark(STAMP, samples.NOON, "a").replace("a.", "a\x1fz.")

    assert (new_id_in(made), earlier_id_in(made)) == ("a\x1fz", None)


def test_the_later_of_two_counts_and_one_that_takes_back_names_none() -> None:
    first = mark(STAMP, samples.NOON, "b", "a")
    back = mark(STAMP, samples.NOON + timedelta(milliseconds=1), None, "a")

    assert latest(first, back, STAMP) == latest(back, first, STAMP) == back
    assert (new_id_in(back), earlier_id_in(back)) == (None, None)
