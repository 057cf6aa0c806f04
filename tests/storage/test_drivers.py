"""Parts of the drivers that are not public: a version that has them not is slower, and works."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from fullresult import plugins
from fullresult.config import Settings
from fullresult.record import SUCCESS
from fullresult.storage import StorageError, TaskQuery
from fullresult.testing import samples
from fullresult_storage_mongo.held_connections import Lines
from fullresult_storage_sql import postgresql_session
from fullresult_storage_sql.postgresql_session import Session
from tests.kit.counting import end, publish

_WARNING = "is not the one that this version was made for"


@contextmanager
def opened(url: str, *, seconds: float = 5) -> Iterator[Any]:
    settings = Settings(storage=url, storage_timeout=timedelta(seconds=seconds))
    with closing(plugins.open_storage(settings)) as storage:
        yield storage


def lacking(*_args: Any, **_kwargs: Any) -> Any:
    raise TypeError("wait() got an unexpected keyword argument 'timeout'")


def live(storage: Any) -> None:
    """Every way in which single events and results are written and read."""
    publish(storage, "1")
    publish(storage, "2")
    storage.begin_write(samples.task("3", state="PENDING"))()
    assert [end(storage, member, f"call {member}") for member in "12"] == [False, True]
    assert storage.join_chord("another", "1", 1, None)
    with pytest.raises(StorageError):
        storage.write([samples.task("\0", state="PENDING")])

    assert storage.count(TaskQuery()) == 3
    assert sorted(record.state for record in storage.get_ended(["1", "2"])) == [SUCCESS] * 2


def test_without_parts_of_psycopg_statements_go_by_its_cursors(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Session, "_finish", lacking)
    caplog.set_level(logging.WARNING, logger="fullresult_storage_sql")
    with opened(postgresql_url) as storage:
        storage.setup()
        live(storage)

    assert [record.getMessage() for record in caplog.records if _WARNING in record.msg] == [
        caplog.messages[0]
    ]


@pytest.mark.parametrize("plain", [False, True])
def test_a_psycopg_that_waits_without_end_has_a_deadline_all_the_same(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """As those before 3.3.6."""
    monkeypatch.setattr(postgresql_session, "_WAITS_IN_TIME", False)
    if plain:
        monkeypatch.setattr(Session, "_finish", lacking)
    with opened(postgresql_url, seconds=1) as storage:
        storage.setup()
        live(storage)
        began = time.monotonic()
        with pytest.raises(StorageError):
            vars(storage)["_database"].ask("SELECT pg_sleep(20)", ())

        assert time.monotonic() - began < 5


@pytest.mark.parametrize("part", ["set_conn_timeout", "command"])
def test_without_parts_of_pymongo_events_go_its_way(
    mongodb_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    caplog.set_level(logging.WARNING, logger="fullresult_storage_mongo")
    take = Lines._checked_out

    @contextmanager
    def checked_out(lines: Lines) -> Iterator[Any]:
        with take(lines) as connection:
            yield Without(connection, part)

    monkeypatch.setattr(Lines, "_checked_out", checked_out)
    with opened(mongodb_url) as storage:
        storage.setup()
        publish(storage, "1")
        publish(storage, "2")

        assert storage.count(TaskQuery()) == 2
        assert len([record for record in caplog.records if _WARNING in record.msg]) == 1


class Without:
    """A connection of PyMongo's without a part."""

    def __init__(self, connection: Any, part: str) -> None:
        self._connection, self._part = connection, part

    def __getattr__(self, name: str) -> Any:
        if name == self._part:
            raise AttributeError(name)
        return getattr(self._connection, name)
