"""The count of a chord's members by a storage behind a proxy that loses its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fullresult.record import SUCCESS
from fullresult.storage import Uncertain
from fullresult.testing import samples
from tests.kit.proxy import Cut, Fault, LoseAnswer, Proxy, once

Tell = Callable[..., bool]
"""Has a storage count a member of the chord of two."""


def join(storage: Any, member: str, call: str | None = None) -> bool:
    return bool(storage.join_chord("the chord", member, 2, None, call=call))


def end(
    storage: Any,
    member: str,
    call: str | None = None,
    *,
    chord_id: str = "the chord",
    size: int = 2,
) -> bool:
    """The same by the write that tells of the end."""
    event = samples.event(member, outcome=samples.outcome(SUCCESS))
    return bool(storage.write_and_join(event, chord_id, event.task_id, size, None, call=call)[1])


def publish(storage: Any, task_id: str) -> None:
    storage.write([samples.task(task_id, state="PENDING")])


class LostAnswers:
    """Wants a fixture `between`: the proxy, and the storage that is reached through it."""

    words: bytes
    """What a request has in it that counts a member, and no other."""

    @pytest.mark.parametrize("tell", [join, end])
    @pytest.mark.parametrize("fault", [LoseAnswer(), Cut(0), Cut(30)], ids=str)
    def test_a_member_whose_answer_is_lost_is_counted_once(
        self, between: tuple[Proxy, Any], fault: Fault, tell: Tell
    ) -> None:
        network, storage = between
        publish(storage, "2")
        tell(storage, "1")

        network.plan = once(self.words, fault)
        completed = tell(storage, "2")

        assert completed
        assert network.faults == 1
        assert not storage.join_chord("the chord", "2", 2, None)

    @pytest.mark.parametrize("tell", [join, end])
    def test_a_member_that_may_have_been_counted_is_uncertain_and_told_again(
        self, between: tuple[Proxy, Any], tell: Tell
    ) -> None:
        network, storage = between
        publish(storage, "2")
        tell(storage, "1")

        def lose(piece: bytes) -> Fault | None:
            if self.words not in piece:
                return None
            network.refuse()
            return LoseAnswer()

        network.plan = lose
        with pytest.raises(Uncertain, match="2 was counted"):
            tell(storage, "2", "x")
        network.heal()

        assert tell(storage, "2", "x")
        assert join(storage, "2", "x")
        assert not join(storage, "2")
