"""The door to a PostgreSQL server, at which the processes of a host ask for room one at a time."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from fullresult.storage import InLine, NoRoom
from fullresult_storage_sql import postgresql_door
from fullresult_storage_sql.postgresql import PostgreSQL
from tests.kit import servers


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "spools"


@pytest.fixture
def open_one(small_server: str, home: Path) -> Iterator[Callable[[], PostgreSQL]]:
    """Opens the server's database once more, as another process of the host would."""
    with ExitStack() as stack:

        def open_it() -> PostgreSQL:
            patience = timedelta(seconds=20)
            database = PostgreSQL(small_server, timeout=patience, pool_size=1, home=home)
            return stack.enter_context(closing(database))

        yield open_it


def asks(database: PostgreSQL) -> bool:
    """True if there was a connection for it."""
    try:
        database.ask("SELECT 1", [])
    except NoRoom:
        return False
    return True


@contextmanager
def held(home: Path, since: float) -> Iterator[None]:
    """The door is another's, since then."""
    (place,) = home.glob("room-*")
    with place.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"%17.6f %6d\n" % (since, 0))
        file.flush()
        yield


def test_a_crowd_that_comes_all_at_once_leaves_room_for_others(
    small_server: str, open_one: Callable[[], PostgreSQL], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_door, "_IN_LINE", 3)
    crowd = [open_one() for _ in range(3 * servers.FEW)]
    others: list[bool] = []

    with ThreadPoolExecutor(len(crowd)) as pool:
        asking = [pool.submit(asks, database) for database in crowd]
        while not all(each.done() for each in asking):
            with psycopg.connect(small_server) as another:
                others.append(another.execute("SELECT true").fetchone() == (True,))

    assert others
    assert sum(each.result() for each in asking) >= servers.FEW // 2


def test_who_stands_in_line_too_long_has_asked_nobody(
    home: Path, open_one: Callable[[], PostgreSQL], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_door, "_IN_LINE", 0.002)
    assert asks(open_one())

    with held(home, time.time()), pytest.raises(InLine, match="other processes of this host"):
        open_one().ask("SELECT 1", [])

    assert asks(open_one())


@pytest.mark.parametrize("seconds", [-3600, 3600], ids=["stopped", "clock-went-back"])
def test_a_process_that_stopped_at_the_door_keeps_nobody_out(
    home: Path, open_one: Callable[[], PostgreSQL], seconds: float
) -> None:
    assert asks(open_one())

    with held(home, time.time() + seconds):
        assert asks(open_one())


def test_where_there_is_plenty_nobody_stands_in_line(
    home: Path, open_one: Callable[[], PostgreSQL], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_door, "_KNOWN", 60)
    first, second = open_one(), open_one()
    asks(first)
    (place,) = home.glob("room-*")

    left = int(place.read_text().split()[1])
    asks(second)

    assert 0 < left <= servers.FEW // 4
    assert int(place.read_text().split()[1]) == left - 1


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_where_there_can_be_no_door_all_may_ask(
    home: Path, tmp_path: Path, open_one: Callable[[], PostgreSQL], kind: str
) -> None:
    assert asks(open_one())
    (place,) = home.glob("room-*")
    place.unlink()
    other = tmp_path / "other"
    other.write_text("another's")
    if kind == "file":
        home.rmdir()
        home.write_text("no directory")
    elif kind == "link":
        place.symlink_to(other)
    else:
        place.mkdir()

    assert asks(open_one())
    assert other.read_text() == "another's"


def test_where_nothing_can_be_locked_all_may_ask(
    open_one: Callable[[], PostgreSQL], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems of networks have no locks."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)

    assert asks(open_one())


def test_what_is_in_the_file_is_not_trusted(home: Path, open_one: Callable[[], PostgreSQL]) -> None:
    assert asks(open_one())
    (place,) = home.glob("room-*")

    for text in (
        b"",
        b"\xff\x00",
        b"nan nan",
        b"inf 9",
        b"1e400 99999999999999999999999",
        b"x" * 999,
    ):
        place.write_bytes(text)
        assert asks(open_one())


def test_the_door_is_the_servers_whichever_its_database_and_user(tmp_path: Path) -> None:
    def file_of(url: str) -> set[Path]:
        home = tmp_path / url.replace("/", "")
        database = PostgreSQL(url, timeout=timedelta(seconds=0.2), pool_size=1, home=home)
        with pytest.raises(Exception, match="connection"):
            database.ask("SELECT 1", [])
        return {path.relative_to(home) for path in home.iterdir()}

    one = file_of("postgresql://ada:secret@127.0.0.1:1/shop")

    assert len(one) == 1
    assert one == file_of("postgresql://bob@127.0.0.1:1/other?application_name=x")
    assert one != file_of("postgresql://ada:secret@127.0.0.1:2/shop")
