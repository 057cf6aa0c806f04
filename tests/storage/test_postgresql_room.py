"""A crowd of processes on a PostgreSQL server with few connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest

from fullresult.storage import NoRoom, Storage
from fullresult.testing import open_storage, samples
from fullresult_storage_sql import postgresql_room
from tests.kit import servers
from tests.kit.workers import until


@pytest.fixture
def url(small_server: str) -> Iterator[str]:
    with servers.postgresql_database(small_server) as url, closing(open_storage(url)) as storage:
        storage.setup()
        yield url


@pytest.fixture
def crowd(url: str) -> Iterator[list[Storage]]:
    """More storages than there are connections, each as if it were a process."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(open_storage(url))) for _ in range(2 * servers.FEW)]


def write(storage: Storage, task_id: str = "a") -> bool:
    """True if there was a connection for it."""
    try:
        storage.write([samples.task(task_id)])
    except NoRoom:
        return False
    return True


def in_use(url: str) -> int:
    """The connections of the server without that of this question. Fails if there is none."""
    with psycopg.connect(url) as session:
        row = session.execute(
            "SELECT count(*) - 1 FROM pg_stat_activity WHERE datid IS NOT NULL"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_crowd_leaves_room_for_others(url: str, crowd: list[Storage]) -> None:
    written = [write(storage) for storage in crowd]

    used = in_use(url)
    assert written[:12] == [True] * 12
    assert not all(written)
    assert used < servers.FEW - 3


def test_who_found_no_room_writes_when_others_are_idle(url: str, crowd: list[Storage]) -> None:
    """Though none of them ends, or does anything more."""
    late = [storage for storage in crowd if not write(storage)]

    written = [until(lambda each=storage: write(each)) for storage in late]  # type: ignore[misc]

    assert late
    assert all(written)
    assert in_use(url) < servers.FEW - 3


def test_who_writes_all_the_time_makes_room_now_and_then(
    crowd: list[Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_room, "_LASTS", 0.05)
    busy = [storage for storage in crowd[:-1] if write(storage)]
    late = crowd[-1]

    def has_its_turn() -> bool:
        for storage in busy:
            write(storage)
        return write(late)

    assert until(has_its_turn)


def test_where_there_is_room_a_connection_stays(url: str) -> None:
    with closing(open_storage(url)) as storage:
        write(storage)
        before = pids(url)
        time.sleep(1.2)  # an idle second, and some more

        assert write(storage)
        assert pids(url) == before


def pids(url: str) -> set[int]:
    with psycopg.connect(url) as session:
        rows = session.execute(
            "SELECT pid FROM pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid()"
        )
        return {int(pid) for (pid,) in rows}


def test_a_server_that_does_not_say_how_full_it_is_is_not_crowded(
    url: str, crowd: list[Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_room, "_ROOM", "SELECT $1::text, no_such_column")

    assert write(crowd[0])
    assert in_use(url) < servers.FEW


def test_others_that_take_all_leave_us_what_there_is(url: str) -> None:
    """Where the crowd is not ours, nothing is gained by leaving room."""
    with ExitStack() as stack:
        for _ in range(servers.FEW - 4):
            stack.enter_context(psycopg.connect(url))
        storage = stack.enter_context(closing(open_storage(url)))

        assert write(storage)


def test_a_server_that_is_full_says_so_by_its_own_error(url: str) -> None:
    with ExitStack() as stack:
        for _ in range(servers.FEW):
            try:
                stack.enter_context(psycopg.connect(url))
            except psycopg.OperationalError:
                break
        storage = stack.enter_context(closing(open_storage(url)))

        with pytest.raises(NoRoom, match=r"connection slots|too many clients"):
            storage.now()
