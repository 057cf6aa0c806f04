"""The servers of the other tests: they answer, and each test has a corner of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import kombu
import psycopg
import pymongo
import pytest
import redis

from tests import conftest
from tests.kit import servers

ROOT = Path(__file__).parents[2]


def test_postgresql_lends_an_empty_database(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE things (id int)")
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")

        assert row.fetchone() == (1,)


def test_postgresql_drops_a_database_someone_still_uses(postgresql_server: str) -> None:
    with servers.postgresql_database(postgresql_server) as url:
        left_open = psycopg.connect(url)

    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()


def test_redis_lends_an_empty_database(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.set("key", "value")


def test_two_redis_databases_are_two(redis_server: str, redis_url: str) -> None:
    with servers.redis_database(redis_server) as other:
        assert other != redis_url


def test_mongodb_is_a_replica_set(mongodb_url: str) -> None:
    with pymongo.MongoClient[dict[str, object]](mongodb_url) as client:
        client.get_default_database()["things"].insert_one({"a": 1})
        with client.start_session() as session, session.start_transaction():
            assert client.get_default_database()["things"].count_documents({}, session=session) == 1


def test_rabbitmq_carries_a_message(rabbitmq_url: str) -> None:
    assert _round_trip(kombu.Connection(rabbitmq_url)) == {"a": 1}


def test_a_folder_carries_a_message(filesystem_broker: servers.FilesystemBroker) -> None:
    connection = kombu.Connection(
        filesystem_broker.url, transport_options=filesystem_broker.transport_options
    )

    assert _round_trip(connection) == {"a": 1}


def _round_trip(connection: kombu.Connection) -> object:
    with connection, connection.SimpleQueue("things") as queue:
        queue.put({"a": 1})
        message = queue.get(timeout=10)
        message.ack()
        return message.payload


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_server_skips_on_a_laptop_and_fails_in_ci(
    ci: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    command = [sys.executable, "-c", "raise SystemExit('no such library')"]
    server = servers._running(command, ready=lambda: False, directory=tmp_path)

    with pytest.raises(outcome, match="no such library"), conftest._needed(server):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_servers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """Even SIGKILL leaves no server behind."""
    script = """
        import os, signal
        from tests.kit import servers
        with servers.redis() as url:
            print(url, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """

    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env={**os.environ, "FULLRESULT_TEST_REDIS_URL": "", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    with (
        redis.Redis.from_url(killed.stdout.strip()) as client,
        pytest.raises(redis.ConnectionError),
    ):
        _ping_until_gone(client)


def _ping_until_gone(client: redis.Redis) -> None:
    for _ in range(10_000):
        client.ping()
