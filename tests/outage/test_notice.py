"""What one process of a host learns about the storage, its other processes know."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fullresult.outage import notice as notices
from fullresult.outage.breaker import Breaker
from fullresult.outage.notice import Notice
from fullresult.storage import Refused, StorageError


class Host:
    """Processes with one clock and one spool, and a storage that may be away for some of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1000.0
        self.cost = 5.0
        self.asked: list[str] = []
        self.away_for: set[str] = set()

    def process(self, name: str) -> Process:
        return Process(self, name)


class Process:
    """A breaker and what it keeps; its flusher's thread probes when told to."""

    def __init__(self, host: Host, name: str) -> None:
        self._host, self._name = host, name
        self.notice = Notice(host.directory)
        self.breaker = Breaker(lambda: host.now)
        self.breaker.watched(lambda: True, "a place", self.notice)
        self.kept = 0

    def write(self) -> None:
        self.breaker.call(self.ask, None, self._keep)

    def probe(self) -> None:
        self.breaker.probe(self.ask)

    def ask(self) -> None:
        self._host.asked.append(self._name)
        if self._name in self._host.away_for:
            self._host.now += self._host.cost
            raise StorageError("no answer")

    def _keep(self) -> bool:
        self.kept += 1
        return True


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "spool")


def test_one_process_waits_and_the_others_do_not(host: Host) -> None:
    host.away_for = {"a", "b", "c"}
    a, b, c = map(host.process, "abc")

    for process in (a, b, c):
        process.write()

    assert host.asked == ["a"]
    assert [a.kept, b.kept, c.kept] == [1, 1, 1]
    assert b.breaker.is_open
    assert not b.breaker.answers


def test_a_process_that_was_told_says_so(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fullresult")
    host.away_for = {"a"}
    host.process("a").write()
    caplog.clear()

    host.process("b").write()

    assert "another process had no answer from the storage" in caplog.text


def test_questions_are_refused_as_if_the_process_had_waited_itself(host: Host) -> None:
    host.away_for = {"a", "b"}
    host.process("a").write()

    with pytest.raises(StorageError, match="a moment ago"):
        host.process("b").breaker.ask(lambda: pytest.fail("it was asked"))


def test_a_call_that_is_sent_first_and_answered_later_is_not_begun(host: Host) -> None:
    host.away_for = {"a", "b"}
    host.process("a").write()
    b = host.process("b")

    b.breaker.overlap(lambda: pytest.fail("it was begun"), b._keep)()

    assert b.kept == 1


def test_probes_are_left_to_the_one_that_knows(host: Host) -> None:
    """For some seconds only: its reasons may be its own."""
    host.away_for = {"a", "b"}
    a, b = map(host.process, "ab")
    a.write()
    b.write()

    left = b.breaker.leaves_probes_to_others
    own = a.breaker.leaves_probes_to_others
    host.now += 5

    assert left
    assert not own
    assert not b.breaker.leaves_probes_to_others


def test_when_it_answers_one_of_them_again_all_ask_again(host: Host) -> None:
    host.away_for = {"a", "b"}
    a, b, c = map(host.process, "abc")
    a.write()
    b.write()
    host.away_for = set()

    a.probe()
    b_may_probe = not b.breaker.leaves_probes_to_others
    b.probe()
    c.write()

    assert b_may_probe
    assert not b.breaker.is_open
    assert host.asked[-1] == "c"
    assert c.kept == 0


def test_who_has_had_an_answer_since_believes_itself(host: Host) -> None:
    """A row that one process waits for is no outage of all."""
    host.away_for = {"a"}
    a, b = map(host.process, "ab")
    host.now += 1
    began = host.now

    def meanwhile() -> None:
        host.now = began + 4
        b.write()
        host.now = began + 5
        raise StorageError("no answer")

    a.breaker.call(meanwhile, None, a._keep)
    host.now += 1
    b.write()

    assert b.kept == 0


def test_an_answer_from_before_is_no_proof(host: Host) -> None:
    a, b = map(host.process, "ab")
    b.write()
    host.away_for = {"a", "b"}
    a.write()

    b.write()

    assert host.asked == ["b", "a"]


def test_one_for_which_alone_the_storage_is_away_is_not_believed_twice(host: Host) -> None:
    host.away_for = {"a"}
    a, b = map(host.process, "ab")
    a.write()
    b.write()
    b.probe()  # and finds that it answers
    with pytest.raises(StorageError):
        a.probe()

    host.now += 1
    b.write()

    assert b.kept == 1  # the first one
    assert not b.breaker.is_open


def test_a_notice_of_one_that_was_killed_is_forgotten(host: Host) -> None:
    host.away_for = {"a"}
    host.process("a").write()
    host.now += host.cost + 3

    b = host.process("b")
    b.write()

    assert host.asked == ["a", "b"]
    assert b.kept == 0


def test_a_notice_of_another_host_is_not_for_us(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spool may be shared by machines, and their clocks are not."""
    host.away_for = {"a"}
    host.process("a").write()
    monkeypatch.setattr(notices, "_host", lambda: "another")

    b = host.process("b")
    b.write()

    assert b.kept == 0


@pytest.mark.parametrize("text", ["", "x", "a b c", "\0" * 50, "é 1 2", "a nan nan"])
def test_what_is_no_notice_is_not_read_as_one(host: Host, text: str) -> None:
    host.away_for = {"a"}
    host.process("a").write()
    (host.directory / "away").write_text(text)

    assert host.process("b").notice.read(host.now) is None


def test_a_link_in_its_place_is_not_followed(host: Host, tmp_path: Path) -> None:
    host.directory.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (host.directory / "away").symlink_to(victim)
    host.away_for = {"a"}

    host.process("a").write()

    assert victim.read_text() == "precious"
    assert host.process("b").notice.read(host.now) is not None


def test_nothing_can_be_posted_where_nothing_can_be_kept(host: Host) -> None:
    host.directory.write_text("no directory")
    host.away_for = {"a"}

    host.process("a").write()

    assert host.process("b").notice.read(host.now) is None


def test_threads_that_ask_for_themselves_tell_the_others(host: Host) -> None:
    host.away_for = {"a"}
    a, b = map(host.process, "ab")

    with pytest.raises(StorageError):
        a.breaker.watch_for_silence(a.ask)
    a.write()
    b.write()

    assert host.asked == ["a"]
    assert [a.kept, b.kept] == [1, 1]


def test_an_answer_to_them_says_nothing_about_events(host: Host) -> None:
    """The time may be told while the tables are locked."""
    host.away_for = {"a"}
    a = host.process("a")
    a.write()

    a.breaker.watch_for_silence(lambda: None)

    assert a.breaker.is_open


def test_a_refusal_is_no_silence(host: Host) -> None:
    a = host.process("a")

    def refuse() -> None:
        raise Refused("not this")

    with pytest.raises(Refused):
        a.breaker.watch_for_silence(refuse)

    assert not a.breaker.is_open
