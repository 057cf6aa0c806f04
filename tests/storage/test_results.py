"""Chords joined by many processes at once, on every storage."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fullresult.testing import open_storage, processes

PROCESSES, MEMBERS = 8, 1_000


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("tell", [processes.join_chord, processes.end_members])
def test_a_thousand_members_told_twice_by_eight_processes_complete_a_chord_once(
    storage_url: str, seed: int, tell: Callable[..., list[bool]]
) -> None:
    """And all but one of them, told as often, do not."""
    storage = open_storage(storage_url)
    storage.setup()
    members = [f"{number}" for number in range(MEMBERS)]
    shares = dealt([*members[1:], *members[1:]], seed)

    early = processes.answers(open_storage, storage_url, tell, *(("a", s, MEMBERS) for s in shares))
    whole = processes.answers(
        open_storage,
        storage_url,
        tell,
        *(("b", s, MEMBERS) for s in dealt(members * 2, seed)),
    )
    last = processes.answers(open_storage, storage_url, tell, *([("a", members[:1], MEMBERS)] * 8))

    assert [sum(map(sum, answers)) for answers in (early, whole, last)] == [0, 1, 1]
    storage.close()


def dealt(told: list[str], seed: int) -> list[list[str]]:
    """A share for each process, in an order of its own."""
    shuffled = random.Random(seed).sample(told, len(told))
    return [shuffled[number::PROCESSES] for number in range(PROCESSES)]
