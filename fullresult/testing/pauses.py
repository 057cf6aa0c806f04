"""The suite: which queues are paused, if a storage keeps that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fullresult.record import Pause
from fullresult.storage import PauseStorage, Storage
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, must_say_so
from fullresult.testing.processes import OpenStorage

CALLS: dict[str, Callable[[Any], object]] = {
    "keep_pause": lambda storage: storage.keep_pause(pause("media")),
    "end_pause": lambda storage: storage.end_pause("shop", "media"),
    "find_pauses": lambda storage: storage.find_pauses(),
}
ODD = ("1", "é 中🎉 '\"`\\ $a.b %_*?[x] {}|,/\n", "x" * 255, "  a  ", "NULL", "$a", "a.b")


def pause(queue: str, at: int = 0, **known: Any) -> Pause:
    """The pause of a queue, that many milliseconds after noon."""
    values = {"namespace": "shop", "until": None, "actor": "ada", "reason": ""}
    return Pause(**{**values, "queue": queue, "since": samples.after(at), **known})


class Pausing(Fixtures):
    @pytest.fixture
    def pauses(self, storage: Storage) -> PauseStorage:
        if not isinstance(storage, PauseStorage):
            pytest.skip("this storage does not keep which queues are paused")
        return storage

    def test_every_field_of_a_pause_comes_back(self, pauses: PauseStorage) -> None:
        kept = [
            pause(odd, number, namespace=odd, actor=odd, reason=odd, until=samples.LATEST)
            for number, odd in enumerate(ODD)
        ]
        kept.append(pause("media", 9))

        for each in kept:
            pauses.keep_pause(each)

        assert sorted(pauses.find_pauses()) == sorted(kept)

    def test_no_queue_is_paused_at_first(self, pauses: PauseStorage) -> None:
        assert pauses.find_pauses() == []

    def test_the_pause_kept_last_of_a_queue_counts(self, pauses: PauseStorage) -> None:
        pauses.keep_pause(pause("media", 5, until=samples.after(9), reason="disk full"))

        pauses.keep_pause(pause("media", 4, actor="bob"))

        assert pauses.find_pauses() == [pause("media", 4, actor="bob")]

    def test_a_pause_is_of_one_queue_of_one_broker(self, pauses: PauseStorage) -> None:
        kept = [pause("a"), pause("A"), pause("a "), pause("a", namespace="other")]
        for each in kept:
            pauses.keep_pause(each)

        assert pauses.end_pause("shop", "a")

        assert sorted(pauses.find_pauses()) == sorted(kept[1:])

    def test_a_pause_ends_once(self, pauses: PauseStorage) -> None:
        pauses.keep_pause(pause("media"))

        ended = [pauses.end_pause("shop", name) for name in ("medi", "media", "media")]

        assert ended == [False, True, False]
        assert pauses.find_pauses() == []

    def test_of_many_that_end_a_pause_at_once_one_does(self, pauses: PauseStorage) -> None:
        pauses.keep_pause(pause("media"))

        with ThreadPoolExecutor(8) as threads:
            ended = list(threads.map(lambda _: pauses.end_pause("shop", "media"), range(8)))

        assert ended.count(True) == 1

    def test_another_process_finds_a_pause(
        self, pauses: PauseStorage, url: str, opener: OpenStorage
    ) -> None:
        pauses.keep_pause(pause("media"))

        other: Any = opener(url)
        try:
            found = other.find_pauses()
        finally:
            other.close()

        assert found == [pause("media")]

    @pytest.mark.parametrize("call", CALLS)
    def test_a_storage_that_does_not_answer_says_so_of_pauses(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        storage = opener(unreachable_url)
        if not isinstance(storage, PauseStorage) or not hasattr(storage, call):
            pytest.skip("this storage does not keep which queues are paused")

        must_say_so(storage, CALLS[call])
