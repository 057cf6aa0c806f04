"""The outbox on MongoDB: commits make themselves known, and an open transaction stops nobody."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pytest

from fullresult import FullResult
from fullresult.scheduling.commits import Commits
from fullresult.storage import StorageError
from tests.kit import scheduling, servers
from tests.kit.outbox import KINDS, Caller, publish, shop
from tests.kit.scheduling import until

IN_MEMORY: dict[str, Any] = {"broker_url": "memory://", "broker_transport_options": {}}
by_pymongo = KINDS["pymongo"][1]


def place(full: FullResult, caller: Caller) -> None:
    caller.begin()
    with full.outbox(caller.connection):
        publish(full)
    caller.commit()


def test_setup_and_sweepers_pass_by_a_transaction_that_was_left_open(mongodb_url: str) -> None:
    """As a publisher leaves one that is killed: the server keeps it for a minute."""
    with (
        shop(mongodb_url, **IN_MEMORY) as full,
        by_pymongo(mongodb_url) as dead,
        by_pymongo(mongodb_url) as caller,
    ):
        dead.begin()
        dead.insert(1)
        with full.outbox(dead.connection):
            publish(full, task_id="dead")
        began = time.monotonic()
        full.setup()
        with shop(mongodb_url, **IN_MEMORY) as other:
            place(other, caller)
            swept = scheduling.sweep(other)
        took = time.monotonic() - began
        dead.rollback()

    assert swept.sent == 1
    assert took < 30  # a transaction lives for 60 seconds


def test_a_listener_hears_of_commits_and_connects_anew(mongodb_url: str) -> None:
    with (
        shop(mongodb_url, fullresult_namespace="ours") as full,
        shop(mongodb_url, fullresult_namespace="theirs") as other,
        by_pymongo(mongodb_url) as caller,
        closing(full.storage.listener("ours")) as listener,  # type: ignore[attr-defined]
    ):
        connected, quiet = listener.wait(0.1), listener.wait(0.1)
        place(other, caller)
        heard_other = any(listener.wait(0.1) for _ in range(5))
        place(full, caller)
        heard_own = any(listener.wait(0.5) for _ in range(20))
        listener.close()
        again = listener.wait(0.1)

    assert (connected, quiet, heard_other, heard_own, again) == (True, False, False, True, True)


@pytest.mark.parametrize(
    ("option", "settings"),
    [("", {"fullresult_storage_timeout": 3}), ("timeoutMS=3000", {}), ("socketTimeoutMS=3000", {})],
)
def test_a_listener_is_answered_before_a_short_timeout(
    mongodb_url: str, option: str, settings: dict[str, Any]
) -> None:
    """Else each wait would break its connection, or raise."""
    with (
        shop(f"{mongodb_url}&{option}".rstrip("&"), **settings) as full,
        closing(full.storage.listener("any")) as listener,  # type: ignore[attr-defined]
    ):
        listener.wait(5)
        began = time.monotonic()
        heard = listener.wait(5)
        took = time.monotonic() - began

    assert not heard
    assert 0.9 < took < 2.9


def test_a_server_without_transactions_has_no_listener(mongodb_single_server: str) -> None:
    with (
        servers.mongodb_database(mongodb_single_server) as url,
        shop(url, fullresult_outbox_poll="50ms") as full,
    ):
        commits = Commits(full.settings, full.storage, lambda: None)
        commits.listen()

        assert commits.pause == 0.05


class Failing:
    """An outbox whose listener cannot connect, until it can."""

    works = False

    def identity(self) -> tuple[str, ...]:
        return ("failing",)

    def writer(self, connection: object) -> None:
        """It takes nothing."""

    def listener(self, namespace: str) -> Failing:  # noqa: ARG002
        return self

    def wait(self, seconds: float) -> bool:
        if not self.works:
            raise StorageError("not authorized to open a change stream")
        time.sleep(min(seconds, 0.01))
        return False

    def close(self) -> None:
        """It has nothing to close."""


def test_commits_are_looked_for_while_their_listener_cannot_connect(mongodb_url: str) -> None:
    with shop(mongodb_url, fullresult_outbox_poll="50ms") as full:
        failing = Failing()
        commits = Commits(full.settings, failing, lambda: None)
        commits.listen()
        until(lambda: commits.pause == 0.05)
        failing.works = True
        until(lambda: commits.pause is None)
        commits.stop()
