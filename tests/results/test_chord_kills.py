"""Chords whose workers are killed, whose members come twice, whose storage goes away.

The body runs once, whatever shape the header has.

Long because each kind of trouble is tried with the same shapes.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import celery
import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError

from fullresult.results import bodies
from tests.kit import servers, workers
from tests.kit.scheduling import through_proxy
from tests.kit.workers import PATIENCE, Scene
from tests.results.test_backend_canvas import Tasks

pytestmark = pytest.mark.slow

QUICK = {
    "result_backend": "fullresult://",
    "result_chord_join_timeout": 0.5,
    "broker_connection_timeout": 1,
    "task_publish_retry_policy": {"max_retries": 0},
}
"""The shortest times after which a body counts as not sent."""
LATE: dict[str, Any] = {"task_acks_late": True, "task_reject_on_worker_lost": True}
Shape = Callable[[Any, Any], Any]
SHAPES: dict[str, tuple[Shape, Any]] = {
    "plain": (lambda t, body: chord(t.doubles(1, 2), body), [2, 4]),
    "tail": (
        lambda t, body: chord([chain(t.double(1), group(t.double(), t.double()))], body),
        [[4, 4]],
    ),
    "nested": (
        lambda t, body: chord([chord(t.doubles(1, 2), t.total()), t.double(4)], body),
        [6, 8],
    ),
    "group body": (
        lambda t, body: chord(
            [chord(t.doubles(1, 2), group(t.tell.si(2), t.tell.si(4))), t.double(4)], body
        ),
        [[2, 4], 8],
    ),
    "generator": (lambda t, body: chord((t.double(n) for n in range(4)), body), [0, 2, 4, 6]),
    "added": (lambda t, body: chord([t.add_to_chord(1), t.add_to_chord(1)], body), [1, 1, 2, 2]),
    "chord added": (
        lambda t, body: chord([t.add_chord_to_chord(3), t.double(1)], body),
        [2, 3, 6],
    ),
}
GROWING = ("added", "chord added")
"""Those to which a member adds."""
ONCE = dict.fromkeys(SHAPES, 1)


@contextmanager
def on(
    request: pytest.FixtureRequest,
    directory: Path,
    kind: str,
    broker: str | None = None,
    **settings: Any,
) -> Iterator[Scene]:
    module = "tests.apps.chord_kills_app"
    with (
        servers.redis_database(request.getfixturevalue("redis_server")) as redis,
        workers.storage(kind, request, directory) as url,
        workers.scene(broker or redis, url, directory, module=module, **QUICK, **settings) as scene,
    ):
        yield scene


def lines(path: Path) -> Counter[str]:
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def apply_all(scene: Scene, noted: Path) -> dict[str, Any]:
    """Publish a chord of each shape, whose body leaves its name in *noted*."""
    t = Tasks(scene)
    return {
        name: build(t, t.note_result(str(noted), name)).apply_async()
        for name, (build, _) in SHAPES.items()
    }


def frozen(t: Any, noted: Path) -> Any:
    """A chord that may be applied again; each run leaves its name in *noted*."""
    twice = chord(t.doubles(3, 4), t.note_result(str(noted), "frozen"))
    twice.freeze()
    return twice


def run_twice(chord: Any, first: Any = None) -> list[Any]:
    """The results of two runs of a frozen *chord*, of which the *first* may have begun."""
    results = []
    for _ in range(2):
        result = first or chord.apply_async()
        results.append(result.get(timeout=PATIENCE))
        result.forget()
        first = None
    return results


def run_on(chord: Any, noted: Path) -> None:
    """Two runs of a frozen *chord*, whose body keeps the record of the first."""
    for run in (1, 2):
        chord.apply_async()
        assert workers.until(lambda run=run: lines(noted)["frozen"] >= run)  # type: ignore[misc]


def failing(t: Any, noted: Path) -> Any:
    """A chord with a member that fails; its errback leaves its name in *noted*."""
    body = t.total().on_error(t.leave_note.si(str(noted), "failed"))
    return chord([t.spoil(1), t.double(1)], body)


def outcome(result: Any) -> Any:
    value = result.get(timeout=PATIENCE)
    # What was added has the place of who added it, and no order beside it.
    return sorted(value) if all(isinstance(each, int) for each in value) else value


@pytest.mark.parametrize("kind", workers.storages("postgresql"))
@pytest.mark.parametrize(
    "where", [pytest.param("counted", marks=pytest.mark.campaign), "joined", "sent"]
)
@pytest.mark.parametrize(
    "acknowledged", [pytest.param("early", marks=pytest.mark.campaign), "late"]
)
def test_a_worker_that_is_killed_while_it_joins(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, where: str, acknowledged: str
) -> None:
    noted, kills = tmp_path / "noted", tmp_path / "kills"
    kills.mkdir()
    env = {"FULLRESULT_TEST_KILLS": str(kills), "FULLRESULT_TEST_KILL_AT": where}
    late: dict[str, Any] = LATE if acknowledged == "late" else {}
    with (
        on(request, tmp_path / "scene", kind, **late) as scene,
        scene.worker(concurrency=2, env=env),
    ):
        started = apply_all(scene, noted)
        t = Tasks(scene)
        failed = failing(t, noted).apply_async()

        found = {name: outcome(result) for name, result in started.items()}
        twice = frozen(t, noted)
        run_on(twice, noted)
        # If the one that failed was the last, its process was lost after that, and says so.
        with pytest.raises(ChordError, match=r"spoilt 1|WorkerLostError"):
            failed.get(timeout=PATIENCE, follow_parents=False)
        killed = len([*kills.iterdir()])
        time.sleep(1.5 * bodies.lease(scene.app))

    assert found == {name: expected for name, (_, expected) in SHAPES.items()}, scene.logs()
    assert lines(noted) == {**ONCE, "frozen": 2, "failed": 1}, scene.logs()
    assert (kills / twice.body.options["task_id"]).exists()
    # Those in headers of others, too.
    assert killed >= len(SHAPES) + 1 + (where == "counted")


@pytest.mark.parametrize(
    "acknowledged", ["late", pytest.param("early", marks=pytest.mark.campaign)]
)
def test_a_child_that_is_killed_between_the_end_of_a_member_and_its_count(
    request: pytest.FixtureRequest, tmp_path: Path, acknowledged: str
) -> None:
    """On MongoDB these are two commands. From Celery 5.7 on, nobody runs such a task again."""
    noted, kills = tmp_path / "noted", tmp_path / "kills"
    kills.mkdir()
    env = {"FULLRESULT_TEST_KILLS": str(kills), "FULLRESULT_TEST_KILL_AT": "written"}
    late: dict[str, Any] = LATE if acknowledged == "late" else {}
    with (
        on(request, tmp_path / "scene", "mongodb", **late) as scene,
        scene.worker(concurrency=2, env=env),
    ):
        started = apply_all(scene, noted)
        t = Tasks(scene)

        found = {name: outcome(result) for name, result in started.items()}
        twice = frozen(t, noted)
        run_on(twice, noted)
        time.sleep(1.5 * bodies.lease(scene.app))

    expected = {name: value for name, (_, value) in SHAPES.items()}
    if late and celery.VERSION < (5, 7):  # those who run again add again
        for name in GROWING:
            assert {*found.pop(name)} == {*expected.pop(name)}
    assert found == expected, scene.logs()
    assert lines(noted) == {**ONCE, "frozen": 2}, scene.logs()
    assert (kills / twice.body.options["task_id"]).exists()
    # Those in headers of others, too.
    assert len([*kills.iterdir()]) >= len(SHAPES) + 1
    assert ("and was not counted" in scene.logs()) or celery.VERSION < (5, 7)


LINES = 6000
"""About as many lines of Python as the last member of a chord takes to end, and to send a body."""


@pytest.mark.campaign
@pytest.mark.parametrize("kind", workers.STORAGES)
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_worker_that_is_killed_at_any_line(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, broker: str
) -> None:
    """Two hundred chords, whose members or senders are killed once, each at another line.

    Bodies have a queue and a worker of their own: one that was sent and not recorded has to begin
    before a mender takes it for not sent.
    """
    noted, kills = tmp_path / "noted", tmp_path / "kills"
    kills.mkdir()
    env = {"FULLRESULT_TEST_KILLS": str(kills), "FULLRESULT_TEST_KILL_AT": str(LINES)}
    lend = servers.redis_database if broker == "redis" else servers.rabbitmq_vhost
    with (
        lend(request.getfixturevalue(f"{broker}_server")) as url,
        on(request, tmp_path / "scene", kind, url, fullresult_storage_timeout=60, **LATE) as scene,
        scene.worker(concurrency=2, env=env),
        scene.worker(concurrency=2, env=env),
        scene.worker("--queues=bodies"),
    ):
        t = Tasks(scene)

        def body(text: str) -> Any:
            return t.note_result(str(noted), text).set(queue="bodies")

        headers = (
            lambda: t.doubles(1, 2),
            lambda: [chain(t.double(1), group(t.double(), t.double()))],
            lambda: (t.double(n) for n in range(3)),
        )
        started = [chord(headers[n % 3](), body(f"{n}")).apply_async() for n in range(150)]
        for n in range(150, 200):
            four = group(body(f"{n} {task}") for task in range(4))
            started.append(chord(t.doubles(1, 2), four).apply_async())
        for result in started:
            result.get(timeout=6 * PATIENCE)
        time.sleep(1.5 * bodies.lease(scene.app))

    expected = {f"{n}" for n in range(150)}
    expected |= {f"{n} {task}" for n in range(150, 200) for task in range(4)}
    assert lines(noted) == dict.fromkeys(expected, 1), scene.logs()
    assert len([*kills.iterdir()]) > 150


@pytest.mark.parametrize("kind", workers.storages("postgresql"))
def test_members_that_are_delivered_twice(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Each message of a member is sent again, while the chord runs and when it is over."""
    noted = tmp_path / "noted"
    with on(request, tmp_path / "scene", kind) as scene:
        t = Tasks(scene)
        started, failed = apply_all(scene, noted), failing(t, noted).apply_async()
        twice = frozen(t, noted)
        first = twice.apply_async()
        # Twice each: they are delivered three times.
        copies = [*messages(scene), *messages(scene)]
        publish(scene, copies)
        with scene.worker(concurrency=2):
            found = {name: outcome(result) for name, result in started.items()}
            with pytest.raises(ChordError, match="spoilt 1"):
                failed.get(timeout=PATIENCE, follow_parents=False)
            runs = run_twice(twice, first)
            scene.settle()
            early = lines(noted)
            publish(scene, copies[: len(copies) // 2])
            scene.settle()
            scene.settle()

    # Those who come again add again, or find that it is too late.
    assert [{*found.pop(name)} for name in GROWING] == [{1, 2}, {2, 3, 6}]
    expected = {name: value for name, (_, value) in SHAPES.items() if name not in GROWING}
    assert found == expected, scene.logs()
    assert runs == [[6, 8], [6, 8]]
    assert early == lines(noted) == {**ONCE, "frozen": 2, "failed": 1}


@pytest.mark.campaign
@pytest.mark.parametrize("kind", workers.STORAGES)
@pytest.mark.parametrize("where", ["counted", "joined", "sent"])
@pytest.mark.parametrize("acknowledged", ["early", "late"])
def test_members_come_twice_while_those_who_join_are_killed(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, where: str, acknowledged: str
) -> None:
    """Two workers, and each message of a member three times."""
    noted, kills = tmp_path / "noted", tmp_path / "kills"
    kills.mkdir()
    env = {"FULLRESULT_TEST_KILLS": str(kills), "FULLRESULT_TEST_KILL_AT": where}
    late: dict[str, Any] = LATE if acknowledged == "late" else {}
    with on(request, tmp_path / "scene", kind, **late) as scene:
        started = apply_all(scene, noted)
        publish(scene, [*messages(scene)] * 2)
        with scene.worker(concurrency=2, env=env), scene.worker(concurrency=2, env=env):
            found = {name: outcome(result) for name, result in started.items()}
            twice = frozen(Tasks(scene), noted)
            run_on(twice, noted)
            scene.settle()
            time.sleep(1.5 * bodies.lease(scene.app))

    for name in GROWING:  # those who come again add again, or find that it is too late
        found.pop(name)
    expected = {name: value for name, (_, value) in SHAPES.items() if name not in GROWING}
    assert found == expected, scene.logs()
    assert lines(noted) == {**ONCE, "frozen": 2}, scene.logs()
    assert len([*kills.iterdir()]) >= len(SHAPES)


def messages(scene: Scene) -> list[Any]:
    """All that waits in the queue; it stays there."""
    with scene.app.connection_for_read() as connection:
        queue = scene.app.amqp.queues["celery"](connection.default_channel)
        found = []
        while (message := queue.get(no_ack=True)) is not None:
            found.append(message)
    publish(scene, found)
    return found


def publish(scene: Scene, copies: list[Any]) -> None:
    with scene.app.producer_or_acquire() as producer:
        for message in copies:
            kept = {"content_type", "content_encoding"}
            producer.publish(
                message.body,
                routing_key="celery",
                headers=message.headers,
                **{name: getattr(message, name) for name in kept},
                correlation_id=message.properties["correlation_id"],
            )


@pytest.mark.parametrize("kind", workers.storages("postgresql"))
@pytest.mark.parametrize("again", [pytest.param(False, marks=pytest.mark.campaign), True])
def test_a_storage_that_is_away_for_ten_seconds_in_the_middle(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, again: bool
) -> None:
    """To add a member takes a storage that answers, or `result_backend_always_retry`."""
    noted, go = tmp_path / "noted", tmp_path / "go"
    shapes = {name: shape for name, shape in SHAPES.items() if again or name not in GROWING}
    with (
        servers.redis_database(request.getfixturevalue("redis_server")) as broker,
        workers.storage(kind, request, tmp_path) as url,
        that_goes_away(url) as (away_url, away),
        workers.scene(broker, url, tmp_path, module="tests.apps.chord_kills_app", **QUICK) as scene,
        scene.worker(
            concurrency=2,
            settings={
                "fullresult_storage": away_url,
                "fullresult_storage_timeout": 1,
                "result_backend_always_retry": again,
            },
        ),
    ):
        t = Waiting(Tasks(scene), go)
        results = {
            name: build(t, t.note_result(str(noted), name)).apply_async()
            for name, (build, _) in shapes.items()
        }
        twice = frozen(t, noted)
        first, failed = twice.apply_async(), failing(t, noted).apply_async()
        with away():
            go.touch()
            time.sleep(10)
            early = lines(noted)

        found = {name: outcome(result) for name, result in results.items()}
        runs = run_twice(twice, first)
        with pytest.raises(ChordError, match="spoilt 1"):
            failed.get(timeout=PATIENCE, follow_parents=False)
        time.sleep(1.5 * bodies.lease(scene.app))

    assert not early
    assert found == {name: expected for name, (_, expected) in shapes.items()}, scene.logs()
    assert runs == [[6, 8], [6, 8]]
    assert lines(noted) == {**dict.fromkeys(shapes, 1), "frozen": 2, "failed": 1}, scene.logs()


Away = Callable[[], AbstractContextManager[None]]


@contextmanager
def that_goes_away(url: str) -> Iterator[tuple[str, Away]]:
    """The URL of the same storage, and a context in which nobody can write to it by that URL."""
    if url.startswith("sqlite"):
        yield url, lambda: _locked(url.removeprefix("sqlite:///"))
        return
    with through_proxy(url) as (network, away_url):

        @contextmanager
        def away() -> Iterator[None]:
            network.refuse()
            yield
            network.accept()

        yield away_url, away


@contextmanager
def _locked(file: str) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None, timeout=PATIENCE)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        yield


class Waiting:
    """Signatures of tasks, the first of which wait until there is a file."""

    def __init__(self, t: Tasks, go: Path) -> None:
        self._t, self._go = t, go

    def __getattr__(self, name: str) -> Any:
        return getattr(self._t, name)

    def doubles(self, *numbers: int) -> list[Any]:
        return [self.double(n) for n in numbers]

    def double(self, *numbers: int) -> Any:
        if not numbers:
            return self._t.double()
        return self._t.double_when_there(*numbers, str(self._go))


def test_a_whole_worker_that_is_killed_leaves_its_chords_to_another(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    noted, kills = tmp_path / "noted", tmp_path / "kills"
    kills.mkdir()
    env = {"FULLRESULT_TEST_KILLS": str(kills), "FULLRESULT_TEST_KILL_AT": "counted"}
    with on(request, tmp_path / "scene", "postgresql") as scene:
        with scene.worker(concurrency=1, env=env) as first:
            t = Tasks(scene)
            result = chord(t.doubles(1, 2), t.note_result(str(noted), "x")).apply_async()
            assert workers.until(lambda: [*kills.iterdir()])
            os.kill(first.pid, signal.SIGKILL)
        with scene.worker(concurrency=1):
            assert result.get(timeout=PATIENCE) == [2, 4]

    assert lines(noted) == {"x": 1}
