"""Asking a socket without waiting, with what each platform has for it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from fullresult.storage.sockets import is_readable


@pytest.fixture(params=["poll", "select"])
def ends(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[socket.socket]]:
    """Two sockets, connected."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll")
    ends = socket.socketpair()
    yield list(ends)
    for end in ends:
        end.close()


def test_a_socket_on_which_nothing_came_is_not_readable(ends: list[socket.socket]) -> None:
    assert not is_readable(ends[0])
    assert not is_readable(ends[0].fileno())


def test_a_socket_on_which_something_came_is(ends: list[socket.socket]) -> None:
    ends[1].send(b"!")

    assert is_readable(ends[0])
    assert is_readable(ends[0].fileno())


def test_so_is_one_whose_other_end_hung_up(ends: list[socket.socket]) -> None:
    ends[1].close()

    assert is_readable(ends[0])
