"""Where tests of result backends run: on Celery's own, to see that the tests are right, and ours.

    class TestStates(Contract):
        def test_something(self, app: Celery) -> None:

runs on every kind of backend. `app` has an empty one of the class, `place` says of which kind and
makes more apps on it. Where Celery's own differ, redis is the model of ours: native joins, chords
that are counted and not polled for, callbacks on messages.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery import Celery
from celery._state import _get_current_app, _set_current_app
from celery.app.task import Context

from fullresult import FullResult
from tests.kit import servers, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

OURS = ("fullresult-sqlite", "fullresult-postgresql", "fullresult-mongodb")
# Older ones of Celery's own have faults that are mended by now.
CELERYS = ("redis", "database-sqlite") if celery.VERSION[:2] >= (5, 7) else ()
OFTEN = ("fullresult-sqlite",)
"""What every run has, and with real workers redis as a witness; the others are a campaign."""
RARELY = (*CELERYS, "database-postgresql", "fullresult-postgresql", "fullresult-mongodb")
PATIENCE = workers.PATIENCE


def kinds(*often: str, rarely: tuple[str, ...] = ()) -> list[Any]:
    """Parameters for a fixture: *often* always, *rarely* in campaigns."""
    return [*often, *(pytest.param(kind, marks=pytest.mark.campaign) for kind in rarely)]


WITH_WORKERS = kinds(*CELERYS[:1], "fullresult-sqlite", rarely=RARELY[len(CELERYS[:1]) :])


def since(*version: int) -> pytest.MarkDecorator:
    """Skips a test of what is in Celery itself, and not in a backend, where it is too old."""
    wanted = ".".join(map(str, version))
    return pytest.mark.skipif(celery.VERSION[:3] < version, reason=f"Celery {wanted} has it")


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Place:
    """An empty result backend, and apps on it."""

    kind: str
    settings: dict[str, Any]
    """The Celery settings that choose it."""

    @property
    def ours(self) -> bool:
        return self.kind.startswith("fullresult")

    @property
    def native(self) -> bool:
        """Whether it joins many results at once, and counts the members of chords."""
        return not self.kind.startswith("database")

    @contextmanager
    def app(self, **settings: Any) -> Iterator[Celery]:
        """An app on this backend, with an empty broker that nobody reads."""
        app = Celery("contract", set_as_current=False)
        app.conf.update({"broker_url": "memory://", **self.settings, **settings})
        with ExitStack() as stack:
            stack.callback(workers._close, app)
            if self.ours:
                full = FullResult(app)
                stack.callback(full.close)
                full.setup()
            yield app


@contextmanager
def place_of(kind: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[Place]:
    """An empty backend of *kind*."""
    family, _, storage = kind.partition("-")
    if family == "redis":
        with servers.redis_database(request.getfixturevalue("redis_server")) as url:
            yield Place(kind, {"result_backend": url})
        return
    with workers.storage(storage or family, request, directory) as url:
        if family == "mongodb":
            yield Place(kind, {"result_backend": url})
        elif family == "fullresult":
            yield Place(kind, {"result_backend": "fullresult://", "fullresult_storage": url})
        else:
            engine = url.replace("postgresql://", "postgresql+psycopg://")
            yield Place(kind, {"result_backend": f"db+{engine}"})


@contextmanager
def current(app: Celery) -> Iterator[None]:
    """*app* is Celery's current app, as what pickle restores is of that."""
    before = _get_current_app()
    _set_current_app(app)
    try:
        yield
    finally:
        _set_current_app(before)


@contextmanager
def _broker_of(family: str, request: pytest.FixtureRequest) -> Iterator[str]:
    lend = servers.rabbitmq_vhost if family else servers.redis_database
    with lend(request.getfixturevalue(f"{family or 'redis'}_server")) as url:
        yield url


@contextmanager
def scene_on(
    kind: str, request: pytest.FixtureRequest, directory: Path, **settings: Any
) -> Iterator[workers.Scene]:
    """An app that keeps results in a backend of *kind*, for workers; all is recorded, too.

    Its broker is Redis, or RabbitMQ if *kind* is so: "redis on rabbitmq".
    """
    kind, _, family = kind.partition(" on ")
    with (
        _broker_of(family, request) as broker,
        place_of(kind, request, directory / "results") as place,
        workers.scene(
            broker,
            place.settings.get("fullresult_storage", f"sqlite:///{directory}/records.db"),
            directory,
            module="tests.apps.scenario_backend_app",
            **{**place.settings, **settings},
        ) as scene,
    ):
        yield scene


class Contract:
    """Tests of its subclasses run on every kind of backend."""

    @pytest.fixture(scope="class", params=kinds(*OFTEN, rarely=RARELY))
    @classmethod
    def place(
        cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Place]:
        directory = tmp_path_factory.mktemp("backend")
        with place_of(request.param, request, directory) as place:
            yield place

    @pytest.fixture
    def app(self, place: Place) -> Iterator[Celery]:
        with place.app() as app:
            yield app


class NativeContract(Contract):
    """Tests of what Celery's database backend does not do, and redis does."""

    @pytest.fixture(
        scope="class",
        params=kinds(
            *CELERYS[:1],
            "fullresult-sqlite",
            rarely=("fullresult-postgresql", "fullresult-mongodb"),
        ),
    )
    @classmethod
    def place(
        cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Place]:
        directory = tmp_path_factory.mktemp("backend")
        with place_of(request.param, request, directory) as place:
            yield place


def nothing() -> None:
    """A task's function: Celery makes none of lambdas."""


def echo(value: Any) -> Any:
    return value


def request_of(task_id: str, *, children: Iterable[Any] = (), **known: Any) -> Context:
    """What a worker knows of a task that it runs."""
    return Context(
        {
            "id": task_id,
            "task": "contract.task",
            "args": [],
            "kwargs": {},
            "retries": 0,
            "hostname": "w1@test",
            "delivery_info": {"routing_key": "celery"},
            "_children": list(children),
            **known,
        }
    )


def succeed(app: Celery, value: Any = None, task_id: str | None = None, **request: Any) -> str:
    """Store the success of a task; its id."""
    task_id = task_id or new_id()
    app.backend.mark_as_done(task_id, value, request=request_of(task_id, **request))
    return task_id


def fail(app: Celery, error: BaseException, task_id: str | None = None, **request: Any) -> str:
    """Store the failure of a task; its id."""
    task_id = task_id or new_id()
    told = f"Traceback (most recent call last):\n{type(error).__name__}"
    app.backend.mark_as_failure(
        task_id, error, traceback=told, request=request_of(task_id, **request)
    )
    return task_id


@contextmanager
def soon(act: Callable[[], object], seconds: float = 0.1) -> Iterator[None]:
    """Do *act* in another thread, that many seconds after the block began."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    timer = threading.Timer(seconds, run)
    timer.start()
    try:
        yield
    finally:
        timer.join(PATIENCE)
    if failures:
        raise failures[0]


@dataclass
class Watch:
    """How long a block took."""

    seconds: float = 0.0


@contextmanager
def stopwatch() -> Iterator[Watch]:
    watch, start = Watch(), time.monotonic()
    try:
        yield watch
    finally:
        watch.seconds = time.monotonic() - start
