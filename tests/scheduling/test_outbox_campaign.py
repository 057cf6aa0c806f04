"""The outbox against SIGKILL, and against a model of what a transaction keeps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fullresult import FullResult
from tests.campaigns import outbox
from tests.kit import workers
from tests.kit.outbox import KINDS, SqlCaller, publish, shop, stored


@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("psycopg", 5),
        ("sqlite3", 5),
        # MongoDB keeps what a killed one left open for a minute.
        *(
            pytest.param(kind, 1000, marks=pytest.mark.campaign)
            for kind in ("psycopg", "sqlite3", "pymongo")
        ),
    ],
)
def test_a_killed_publisher_has_published_what_it_committed_and_nothing_else(
    kind: str, kills: int, redis_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with workers.storage(KINDS[kind][0], request, tmp_path) as url:
        found = outbox.campaign(kind, url, redis_url, kills=kills, seed=kills)

    assert found.is_right, found


@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["psycopg", "sqlite3", "pymongo"])
def test_what_a_killed_sweeper_had_claimed_is_sent_once_or_listed(
    kind: str, redis_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with workers.storage(KINDS[kind][0], request, tmp_path) as url:
        found = outbox.campaign(kind, url, redis_url, kills=100, seed=100, kill_sweepers=True)

    assert found.is_right, found


# --- Any interleaving

OPERATIONS = ("publish", "publish", "savepoint", "rollback to", "release", "commit", "rollback")
_numbers = itertools.count()


@pytest.fixture(scope="module", params=["psycopg", "sqlite3"])
def open_shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FullResult, SqlCaller]]:
    storage, connect = KINDS[request.param]
    with (
        workers.storage(storage, request, tmp_path_factory.mktemp("outbox")) as url,
        shop(url) as full,
        connect(url) as caller,
    ):
        assert isinstance(caller, SqlCaller)
        yield full, caller


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=st.lists(st.sampled_from(OPERATIONS), max_size=20))
def test_any_interleaving_keeps_what_a_transaction_keeps(
    open_shop: tuple[FullResult, SqlCaller], operations: list[str]
) -> None:
    full, caller = open_shop
    before = set(stored(full))
    caller.begin()
    kept: list[str] = []
    levels: list[list[str]] = [[]]
    """The tasks of the transaction, and of each savepoint in it."""
    for operation in operations:
        if operation == "publish":
            with full.outbox(caller.connection):
                levels[-1].append(publish(full, task_id=f"task-{next(_numbers)}"))
        elif operation == "savepoint":
            levels.append([])
            caller.execute(f"SAVEPOINT s{len(levels)}")
        elif operation in {"commit", "rollback"}:
            (caller.commit if operation == "commit" else caller.rollback)()
            kept += [each for level in levels for each in level] * (operation == "commit")
            levels = [[]]
            caller.begin()
        elif len(levels) > 1 and operation == "rollback to":
            caller.execute(f"ROLLBACK TO SAVEPOINT s{len(levels)}")
            levels[-1] = []
        elif len(levels) > 1:
            caller.execute(f"RELEASE SAVEPOINT s{len(levels)}")
            released = levels.pop()
            levels[-1] += released
    caller.rollback()

    assert [each for each in stored(full) if each not in before] == kept
    assert all(full.get(each) for each in kept)
