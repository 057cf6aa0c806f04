"""A sweeper hears of commits into the outbox, and sends what it finds."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from kombu.transport import memory

from fullresult import FullResult
from fullresult.scheduling.commits import Commits
from fullresult.scheduling.upkeep import Upkeep
from fullresult.storage import StorageError
from tests.kit import scheduling, workers
from tests.kit.outbox import KINDS, Caller, publish, shop, stored
from tests.kit.scheduling import received, running, until
from tests.kit.wire import listening

IN_MEMORY: dict[str, Any] = {"broker_url": "memory://", "broker_transport_options": {}}
HEARD = [("psycopg", "notify"), ("sqlite3", "notify"), ("psycopg", "poll"), ("pymongo", "notify")]
"""Kinds of connections, and how commits are noticed; MongoDB is polled."""


@contextmanager
def made(
    kind: str, request: pytest.FixtureRequest, directory: Path, **settings: Any
) -> Iterator[tuple[FullResult, Caller]]:
    storage, connect = KINDS[kind]
    with (
        workers.storage(storage, request, directory) as url,
        shop(url, **IN_MEMORY, **settings) as full,
        connect(url) as caller,
    ):
        yield full, caller


@pytest.mark.parametrize(("kind", "wake"), HEARD)
def test_what_is_committed_is_sent_long_before_a_sweeper_would_look(
    kind: str, wake: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Its pause is a minute, and the test's patience 20 seconds."""
    settings = {"fullresult_sweep_interval": "1m", "fullresult_outbox_wake": wake}
    with made(kind, request, tmp_path, **settings) as (full, caller), running(full.app) as sweeper:
        until(lambda: full.parts.schedule_storage.last_sweep(full.settings.namespace))
        for number in range(3):
            caller.begin()
            with full.outbox(caller.connection):
                publish(full, task_id=str(number))
            caller.commit()
            until(lambda sent=number + 1: sweeper.swept.sent == sent)  # type: ignore[misc]

        assert received(full.app, "celery") == ["0", "1", "2"]


def test_nothing_is_sent_of_a_transaction_that_is_open_or_rolled_back(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with made("psycopg", request, tmp_path) as (full, caller):
        caller.begin()
        with full.outbox(caller.connection):
            publish(full)
        first = scheduling.sweep(full)
        caller.rollback()
        second = scheduling.sweep(full)

    assert first.claimed == second.claimed == 0


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_is_committed_beside_an_open_transaction_is_sent_whatever_becomes_of_that(
    end: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """One was begun while the sweeper rested, and one while it looked by itself."""
    with (
        made("psycopg", request, tmp_path, fullresult_sweep_interval="1m") as (full, caller),
        running(full.app) as sweeper,
        psycopg.connect(full.settings.storage) as first,
        psycopg.connect(full.settings.storage) as second,
        full.outbox(caller.connection, autocommit=True),
    ):
        commits = sweeper._rest._commits
        until(lambda: commits._rests)
        with full.outbox(first):
            publish(full, task_id="first")
        publish(full, task_id="a")
        until(lambda: sweeper.swept.sent == 1)
        with full.outbox(second):
            publish(full, task_id="second")
        publish(full, task_id="b")
        until(lambda: sweeper.swept.sent == 2)
        getattr(first, end)()
        until(lambda: sweeper.swept.sent == 2 + (end == "commit"))
        time.sleep(0.5)  # it would rest now, if the second one let it
        rests = commits._rests
        publish(full, task_id="c")
        until(lambda: sweeper.swept.sent == 3 + (end == "commit"))
        getattr(second, end)()
        until(lambda: commits._rests)

    late = ["first", "second"] if end == "commit" else []
    assert sorted(received(full.app, "celery")) == ["a", "b", "c", *late]
    assert not rests


def test_while_a_sweeper_looks_by_itself_no_transaction_gives_a_notice(postgresql_url: str) -> None:
    """Nor is one given to nobody."""
    with (
        shop(postgresql_url) as full,
        psycopg.connect(postgresql_url) as own,
        psycopg.connect(postgresql_url, autocommit=True) as ear,
        closing(full.storage.listener(full.settings.namespace)) as listener,  # type: ignore[attr-defined]
    ):
        ear.execute("LISTEN fullresult")

        def notices() -> int:
            for _ in range(3):
                with full.outbox(own):
                    publish(full)
                own.commit()
            own.execute("NOTIFY fullresult, 'end'")
            own.commit()
            payloads = (notice.payload for notice in ear.notifies(timeout=20))
            return len([*takewhile(lambda payload: payload != "end", payloads)])

        nobody = notices()
        assert listener.rest()
        resting = notices()
        assert listener.wait(1)
        listener.wait(0)
        awake = notices()

    assert (nobody, resting, awake) == (0, 3, 0)


def test_while_another_transaction_is_open_a_sweeper_asks_less_and_less_often_to_rest(
    postgresql_url: str,
) -> None:
    """At first after 20 ms, then twice as long each time, up to half a second."""
    clock = 1000.0
    with (
        listening(postgresql_url) as (wire, through),
        shop(through) as full,
        psycopg.connect(postgresql_url) as own,
        closing(full.storage.listener(full.settings.namespace)) as listener,  # type: ignore[attr-defined]
    ):
        commits = Commits(full.settings, full.storage, lambda: None, lambda: clock)

        def refusals(looks: int) -> int:
            nonlocal clock
            before = len(wire.statements)
            for _ in range(looks):
                assert not commits._may_rest(listener)
                clock += 0.02
            later = [statement.text for statement in wire.statements[before:]]
            return sum("pg_try_advisory_lock(" in text for text in later)

        with full.outbox(own):
            publish(full)
        first_second, next_minute = refusals(50), refusals(3000)
        own.commit()
        clock += 0.5
        rests = commits._may_rest(listener)

    assert 1 <= first_second <= 8
    assert 1 <= next_minute <= 121
    assert rests


def test_where_commits_are_looked_for_publishers_need_the_right_to_no_function(
    postgresql_url: str,
) -> None:
    with (
        shop(postgresql_url, fullresult_outbox_wake="poll") as full,
        psycopg.connect(postgresql_url) as admin,
        psycopg.connect(postgresql_url) as own,
    ):
        role = f"restricted_{uuid4().hex}"
        admin.execute(f"CREATE ROLE {role}")
        admin.execute(f"GRANT INSERT ON fullresult_schedule, fullresult_task TO {role}")
        admin.execute(f"GRANT SELECT ON fullresult_schema TO {role}")
        for function in ("pg_notify(text, text)", "pg_try_advisory_xact_lock_shared(bigint)"):
            admin.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        admin.commit()
        try:
            own.execute(f"SET ROLE {role}")
            with full.outbox(own):
                task_id = publish(full)
            own.commit()
        finally:
            own.execute("RESET ROLE")
            own.execute(f"DROP OWNED BY {role}")
            own.execute(f"DROP ROLE {role}")
            own.commit()

        assert stored(full) == [task_id]


def test_a_listener_hears_of_its_own_namespace_and_connects_anew(postgresql_url: str) -> None:
    with (
        shop(postgresql_url, fullresult_namespace="ours") as full,
        shop(postgresql_url, fullresult_namespace="theirs") as other,
        psycopg.connect(postgresql_url) as connection,
        closing(full.storage.listener("ours")) as listener,  # type: ignore[attr-defined]
    ):

        def commit(app: FullResult) -> bool:
            with app.outbox(connection):
                publish(app)
            connection.commit()
            return bool(listener.wait(1))

        connected, rests = listener.wait(0), listener.rest()
        quiet = listener.wait(0)
        heard_other, heard_own = commit(other), commit(full)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND mode = 'ExclusiveLock' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with pytest.raises(StorageError):
            # The first wait may only read the server's farewell.
            _ = [listener.wait(1) for _ in range(10)]
        again = listener.wait(0)

    assert (connected, rests, again) == (True, True, True)
    assert (quiet, heard_other, heard_own) == (False, False, True)


def test_behind_a_proxy_that_lends_sessions_commits_are_looked_for(pooled_url: str) -> None:
    with shop(f"{pooled_url}?prepare=off", fullresult_outbox_poll="50ms") as full:
        commits = Commits(full.settings, full.storage, lambda: None)
        commits.listen()

        assert commits.pause == 0.05


class Deaf:
    """An outbox that cannot be listened to, for a reason that nobody thought of."""

    def identity(self) -> tuple[str, ...]:
        return ("deaf",)

    def writer(self, connection: object) -> None:
        """It takes nothing."""

    def listener(self, namespace: str) -> Deaf:  # noqa: ARG002
        return self

    def wait(self, seconds: float) -> bool:
        raise ValueError(seconds)

    def close(self) -> None:
        """It has nothing to close."""


def test_commits_are_looked_for_when_their_listener_fails(tmp_path: Path) -> None:
    with shop(f"sqlite:///{tmp_path}/a.db", fullresult_outbox_poll="50ms") as full:
        commits = Commits(full.settings, Deaf(), lambda: None)
        commits.listen()
        until(lambda: commits.pause == 0.05)
        commits.stop()


def test_commits_are_looked_for_while_no_thread_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with shop(f"sqlite:///{tmp_path}/a.db", fullresult_outbox_poll="50ms") as full:
        commits = Commits(full.settings, full.storage, lambda: None)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            commits.listen()
        refused = commits.pause
        commits.stop()
        commits.listen()
        until(lambda: commits.pause is None)  # it hears at once of what was there before
        commits.stop()

    assert refused == 0.05


def test_a_listener_may_be_the_last_of_very_many_open_files(postgresql_url: str) -> None:
    """`select` takes no socket whose number is above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with shop(postgresql_url) as full, ExitStack() as files:
        for _ in range(1100):
            files.enter_context(Path(os.devnull).open())
        listener = full.storage.listener("any")  # type: ignore[attr-defined]
        files.callback(listener.close)
        heard = listener.wait(0), listener.wait(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert heard == (True, False)


def test_where_nothing_is_in_an_outbox_nothing_is_heard_or_looked_for(tmp_path: Path) -> None:
    with shop(
        f"sqlite:///{tmp_path}/a.db", fullresult_outbox=False, fullresult_schedule_eta=True
    ) as full:
        commits = Commits(full.settings, full.storage, lambda: None)
        commits.listen()
        commits.came()

        assert commits.pause is None


def test_a_task_that_is_to_be_sent_at_least_once_is_given_back_after_a_minute(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with made("sqlite3", request, tmp_path) as (full, caller):
        caller.begin()
        with full.outbox(caller.connection, at_least_once=True):
            publish(full, task_id="again")
        with full.outbox(caller.connection):
            publish(full, task_id="once")
        caller.commit()
        storage = full.parts.schedule_storage
        claimed = storage.now() - timedelta(minutes=2)
        due = storage.now() + timedelta(seconds=1)
        assert len(storage.claim_due(full.settings.namespace, due, "dead", 10)) == 2
        for schedule in full.scheduled():
            storage.release([schedule.schedule_id])
            storage.take_over(schedule.schedule_id, "dead", claimed, instead_of=None)

        Upkeep(full.settings, storage).do(lambda: None)

        assert scheduling.waiting(full.app) == ["again"]
        assert scheduling.claimed(full.app) == ["once"]
        assert stored(full) == ["again", "once"]


@pytest.mark.slow
def test_a_worker_that_diverts_nothing_sends_what_is_in_the_outbox(
    request: pytest.FixtureRequest,
) -> None:
    with workers.running("postgresql", request, fullresult_outbox=True) as scene:
        with psycopg.connect(scene.settings["fullresult_storage"]) as connection:
            with scene.full.outbox(connection):
                task_id = scene.send("add", 1, 2)
            connection.commit()

        record = scene.final(task_id, "SUCCESS")
    assert record.result == 3


@pytest.fixture(autouse=True)
def empty_queues() -> Iterator[None]:
    yield
    memory.Channel.queues.clear()
