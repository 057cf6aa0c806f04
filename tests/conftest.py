"""Fixtures: real servers, started once per session, and a fresh corner of one for each test."""

from __future__ import annotations

import logging
import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest
from celery import _state
from kombu.transport import memory

from fullresult.outage import flusher
from tests.kit import servers, workers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

T = TypeVar("T")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that none is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Tests log odd text, which xdist could not send."""
    return _sendable((yield))


def _sendable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_sendable(key): _sendable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_sendable, value))
    return value


@pytest.fixture(autouse=True)
def tasks_of_the_test() -> Iterator[None]:
    """Takes back what a test registers with every app there will be: shared tasks."""
    registered = set(_state._on_app_finalizers)
    yield
    _state._on_app_finalizers.intersection_update(registered)


@pytest.fixture(autouse=True)
def messages_of_the_test() -> Iterator[None]:
    """Takes back what a test leaves on the broker in memory, which all apps share."""
    yield
    memory.Channel.queues.clear()


@pytest.fixture(autouse=True)
def log_of_the_test() -> Iterator[None]:
    """Takes back what a worker in this process makes of the root logger."""
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    yield
    root.setLevel(level)
    for handler in [*root.handlers]:
        if handler not in handlers:
            root.removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def state_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No spool in a directory of the user's, also of workers that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
        yield


@pytest.fixture(autouse=True)
def state_of_the_test(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Spools of its own, and none whose thread outlives the test."""
    state = tmp_path_factory.getbasetemp() / f"state-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    yield
    flusher.finish_all(0.5)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    with _needed(servers.postgresql()) as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """A new, empty database."""
    with servers.postgresql_database(postgresql_server) as url:
        yield url


@pytest.fixture(scope="module")
def small_server() -> Iterator[str]:
    """A PostgreSQL server with `servers.FEW` connections."""
    if os.environ.get("FULLRESULT_TEST_POSTGRESQL_URL"):
        pytest.skip("the connections of a server that is not ours")
    with _needed(servers.postgresql(connections=servers.FEW)) as url:
        yield url


@pytest.fixture(scope="session")
def pgbouncer(postgresql_server: str) -> Iterator[str]:
    with _needed(servers.pgbouncer(postgresql_server)) as url:
        yield url


@pytest.fixture
def pooled_url(postgresql_url: str, pgbouncer: str) -> str:
    """The database by way of PgBouncer, which has one session for it."""
    return pgbouncer + postgresql_url[postgresql_url.rindex("/") :]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    with _needed(servers.redis()) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """An empty database of a Valkey server."""
    with servers.redis_database(redis_server) as url:
        yield url


@pytest.fixture(scope="session")
def mongodb_server() -> Iterator[str]:
    with _needed(servers.mongodb()) as url:
        yield url


@pytest.fixture(scope="session")
def mongodb_single_server() -> Iterator[str]:
    with _needed(servers.mongodb_single_server()) as url:
        yield url


@pytest.fixture
def mongodb_url(mongodb_server: str) -> Iterator[str]:
    """A new database of a replica set of one."""
    with servers.mongodb_database(mongodb_server) as url:
        yield url


@pytest.fixture(scope="module", params=workers.storages("sqlite"))
def storage_kind(request: pytest.FixtureRequest) -> str:
    """SQLite and, in campaigns, any other storage: one of `workers.STORAGES`."""
    return str(request.param)


@pytest.fixture
def storage_url(storage_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new storage of that kind."""
    with workers.storage(storage_kind, request, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[servers.RabbitMQ]:
    with _needed(servers.rabbitmq()) as server:
        yield server


@pytest.fixture
def rabbitmq_url(rabbitmq_server: servers.RabbitMQ) -> Iterator[str]:
    """A new virtual host."""
    with servers.rabbitmq_vhost(rabbitmq_server) as url:
        yield url


@pytest.fixture
def filesystem_broker() -> Iterator[servers.FilesystemBroker]:
    with servers.filesystem_broker() as broker:
        yield broker


@contextmanager
def _needed(server: AbstractContextManager[T]) -> Iterator[T]:
    try:
        running = server.__enter__()
    except servers.ServerUnavailableError as error:
        missing(str(error))
    try:
        yield running
    finally:
        server.__exit__(None, None, None)


def missing(reason: str) -> NoReturn:
    """Skip on a laptop; fail where the servers were promised."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason)
    pytest.skip(reason)
