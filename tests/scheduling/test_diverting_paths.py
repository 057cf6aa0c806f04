"""Which publishes wait in the storage: every path there is, every way to say when, and the rest.

Long because each path to a publish is tried with each way to say when.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import VERSION, Celery, _state, chain, chord, group, shared_task, signals
from celery.utils.time import maybe_iso8601, maybe_make_aware

from fullresult import FullResult
from fullresult.config.router import Outgoing
from fullresult.hookspecs import hookimpl
from fullresult.record.dates import to_utc
from tests.kit import scheduling, servers, workers
from tests.kit.workers import ROOT, SETTINGS, Scene

MODULE = "tests.apps.scenario_diverting_app"
HOUR = 3600
LATER: dict[str, Any] = {"countdown": HOUR}


@pytest.fixture(scope="module", params=["redis", "database"])
def running(
    request: pytest.FixtureRequest, storage_kind: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A worker on a result backend that ends chords itself, and on one that polls for their end."""
    results = tmp_path_factory.mktemp("results") / "results.db"
    settings: dict[str, Any] = {"fullresult_schedule_eta": True}
    if request.param == "database":
        settings["result_backend"] = f"db+sqlite:///{results}"
        settings["result_chord_retry_interval"] = 0.2
    with workers.running(storage_kind, request, module=MODULE, concurrency=2, **settings) as scene:
        yield scene
        assert "held with eta" not in without_unlocking(scene.workers[0].read_log())


def without_unlocking(log: str) -> str:
    return "\n".join(line for line in log.splitlines() if "celery.chord_unlock" not in line)


def known() -> str:
    return f"known-{uuid.uuid4()}"


# --- Every path

PATHS: dict[str, Callable[[Scene], set[str]]] = {}
"""Each publishes, or has a worker publish, tasks that are to wait an hour; returns their ids."""


def path(publish: Callable[[Scene], set[str]]) -> Callable[[Scene], set[str]]:
    PATHS[publish.__name__] = publish
    return publish


def since_5_7(publish: Callable[[Scene], set[str]]) -> Callable[[Scene], set[str]]:
    """`retry_on_worker_lost` came with Celery 5.7."""
    return path(publish) if VERSION >= (5, 7) else publish


@path
def apply_async(scene: Scene) -> set[str]:
    return {scene.task("add").apply_async((1, 2), **LATER).id}


@path
def send_task(scene: Scene) -> set[str]:
    """By the name of a task that this program does not have."""
    return {scene.app.send_task("elsewhere.work", (1,), **LATER).id}


@path
def send_task_by_position(scene: Scene) -> set[str]:
    eta = datetime.now(timezone.utc) + timedelta(hours=1)
    task_id = known()
    scene.app.send_task("elsewhere.work", (1,), {}, None, eta, task_id)
    return {task_id}


@path
def signature(scene: Scene) -> set[str]:
    return {scene.task("add").s(1, 2).set(**LATER).apply_async().id}


@path
def signature_delayed(scene: Scene) -> set[str]:
    """By `delay`, which takes no options: the signature has them."""
    return {scene.task("add").s(1, 2).set(**LATER).delay().id}


@path
def signature_by_name(scene: Scene) -> set[str]:
    return {scene.app.signature("elsewhere.work", (1,)).apply_async(**LATER).id}


@path
def group_members(scene: Scene) -> set[str]:
    members = group(scene.task("add").s(n, n) for n in range(2)).apply_async(**LATER)
    return {each.id for each in members.results}


@path
def group_with_steps(scene: Scene) -> set[str]:
    """`skew` gives each member a countdown of its own."""
    members = group(scene.task("add").s(n, n) for n in range(2)).skew(HOUR, HOUR * 3, HOUR)
    return {each.id for each in members.apply_async().results}


@path
def chain_member(scene: Scene) -> set[str]:
    add = scene.task("add")
    return {chain(add.s(1, 2), add.s(3).set(**LATER)).apply_async().id}


@path
def chord_header(scene: Scene) -> set[str]:
    add = scene.task("add")
    result = chord(add.s(n, n).set(**LATER) for n in range(2))(scene.task("tsum").s())
    ids = {each.id for each in result.parent.results}
    # Before `chord_unlock` polls for an hour.
    assert workers.until(lambda: ids <= waiting(scene.full))
    scene.app.backend.store_result(result.id, None, "SUCCESS")
    return ids


@path
def chord_body(scene: Scene) -> set[str]:
    add = scene.task("add")
    return {chord([add.s(1, 1), add.s(2, 2)])(scene.task("tsum").s().set(**LATER)).id}


@path
def retry(scene: Scene) -> set[str]:
    return {scene.send("retry_later", HOUR)}


@path
def autoretry(scene: Scene) -> set[str]:
    return {scene.send("autoretried_in_an_hour")}


@path
def replacement(scene: Scene) -> set[str]:
    return {scene.send("replaced_in", 1, HOUR)}


@since_5_7
def retry_of_a_lost_worker(scene: Scene) -> set[str]:
    """Published by the worker's main process."""
    return {scene.send("killed_and_retried_later")}


@path
def link(scene: Scene) -> set[str]:
    link = scene.task("add").s(1).set(task_id=known(), **LATER)
    scene.send("add", 1, 2, link=link)
    return {link.options["task_id"]}


@path
def errback(scene: Scene) -> set[str]:
    errback = scene.task("errback_published").s().set(task_id=known(), **LATER)
    scene.send("fail", "broken", link_error=errback)
    return {errback.options["task_id"]}


@path
def errback_of_a_hard_limit(scene: Scene) -> set[str]:
    """Published by the worker's main process, twice."""
    errback = scene.task("errback_published").s().set(task_id=known(), **LATER)
    scene.send("wait_for", str(scene.directory / "never"), time_limit=1, link_error=errback)
    return {errback.options["task_id"]}


@path
def starmap(scene: Scene) -> set[str]:
    return {scene.task("add").starmap([(1, 2)]).apply_async(**LATER).id}


@path
def chunks(scene: Scene) -> set[str]:
    result = scene.task("add").chunks([(n, n) for n in range(4)], 2).apply_async(**LATER)
    return {each.id for each in result.results}


@path
def in_a_task(scene: Scene) -> set[str]:
    return {str(scene.full.app.AsyncResult(scene.send("parent_of_waiting", HOUR)).get(timeout=30))}


@path
def celery_call(scene: Scene) -> set[str]:
    """The command line."""
    words = ["call", "scenario.add", "--args", "[1, 2]", "--countdown", str(HOUR)]
    said = subprocess.run(
        [sys.executable, "-m", "celery", "-A", MODULE, *words],
        cwd=ROOT,
        env={**os.environ, SETTINGS: json.dumps(scene.settings)},
        capture_output=True,
        text=True,
        check=True,
    )
    return {said.stdout.strip().splitlines()[-1]}


@pytest.mark.parametrize("name", PATHS)
def test_what_is_to_wait_waits_in_the_storage(running: Scene, name: str) -> None:
    """Under its own id, whole; and nothing of it is in the broker or in a worker."""
    ids = PATHS[name](running)

    assert workers.until(lambda: ids <= waiting(running.full)), running.logs()
    for task_id in ids:
        record = running.eventually(task_id, workers.has_state("SCHEDULED"))
        schedule = scheduling.of_task(running.app, task_id)[0]
        message = schedule.message
        assert message.headers["id"] == message.how["correlation_id"] == task_id
        assert message.headers["task"] == schedule.name
        assert schedule.name == record.name or name == "replacement"
        assert message.headers["eta"] is None
        assert timedelta(hours=0.9) < schedule.due - schedule.date_scheduled < timedelta(hours=3.1)
        assert record.eta is None or record.retries or record.eta == schedule.due


@pytest.mark.parametrize("sweeper", ["worker", "beat"])
def test_what_beat_sends_to_wait(
    redis_url: str, storage_url: str, tmp_path: Path, sweeper: str
) -> None:
    """A task it knows by `apply_async`, another by `send_task`; its own sweeps never."""
    options = {"countdown": HOUR}
    schedule = {
        "known": {"task": "scenario.add", "schedule": 0.3, "args": [1, 2], "options": options},
        "unknown": {"task": "elsewhere.work", "schedule": 0.3, "args": [], "options": options},
    }
    with (
        workers.scene(
            redis_url,
            storage_url,
            tmp_path,
            module=MODULE,
            beat_schedule=schedule,
            fullresult_schedule_eta=True,
            fullresult_sweeper=sweeper,
        ) as scene,
        beat(scene),
    ):
        both = {"scenario.add", "elsewhere.work"}

        assert workers.until(lambda: {each.name for each in scene.full.scheduled()} == both)


@contextmanager
def beat(scene: Scene) -> Iterator[None]:
    files = [f"--schedule={scene.directory}/schedule", f"--pidfile={scene.directory}/beat.pid"]
    with (scene.directory / "beat.log").open("wb") as log:
        process = subprocess.Popen(
            servers._launch([sys.executable, "-m", "celery", "-A", MODULE, "beat", *files], ""),
            cwd=ROOT,
            env={**os.environ, SETTINGS: json.dumps(scene.settings)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


# --- One app, without a worker


@contextmanager
def app_of(storage: str, *plugins: object, **settings: Any) -> Iterator[Celery]:
    app = Celery("paths", broker="memory://", set_as_current=False)
    ours = {"fullresult_storage": storage, "fullresult_schedule_eta": True}
    app.conf.update({"task_default_queue": f"queue-{uuid.uuid4()}", **ours, **settings})
    with closing(FullResult(app, plugins)) as full, closing(app):
        full.setup()
        yield app


@pytest.fixture
def app(storage_url: str) -> Iterator[Celery]:
    with app_of(storage_url) as app:
        yield app


def waiting(full: FullResult) -> set[str]:
    return {schedule.task_id for schedule in full.scheduled(limit=None)}


def test_a_shared_task_waits_in_the_storage_of_the_current_app(app: Celery) -> None:
    @shared_task(name="paths.shared")  # type: ignore[untyped-decorator]
    def shared() -> None: ...

    before = _state._get_current_app()
    app.set_current()
    try:
        task_id = shared.apply_async(countdown=HOUR).id
    finally:
        _state._set_current_app(before)

    assert waiting(app.fullresult) == {task_id}


def test_what_another_library_puts_into_the_headers_is_stored(app: Celery) -> None:
    """In the publisher, whose trace it is: Celery's signals are sent once, when it is stored."""
    told: list[str] = []

    def trace(headers: dict[str, Any], **_: Any) -> None:
        headers["trace"] = "00-ab"
        told.append("before")

    def after(**_: Any) -> None:
        told.append("after")

    signals.before_task_publish.connect(trace)
    signals.after_task_publish.connect(after)
    try:
        app.send_task("paths.work", task_id="traced", countdown=HOUR)
    finally:
        signals.before_task_publish.disconnect(trace)
        signals.after_task_publish.disconnect(after)

    assert scheduling.only(app, "traced").message.headers["trace"] == "00-ab"
    assert told == ["before", "after"]


def test_the_event_that_a_task_was_sent_is_not_sent_with_what_waits(app: Celery) -> None:
    app.conf.task_send_sent_event = True

    app.send_task("paths.work", task_id="one", countdown=HOUR)

    assert waiting(app.fullresult) == {"one"}


def test_a_task_that_nobody_records_waits_all_the_same(storage_url: str) -> None:
    """`fullresult_track_publish` is about records."""
    with app_of(storage_url, fullresult_track_publish=False) as app:
        app.send_task("paths.work", task_id="one", countdown=HOUR)

        assert waiting(app.fullresult) == {"one"}
        assert scheduling.received(app) == []


def test_the_same_id_may_wait_twice(app: Celery) -> None:
    """A caller may use an id again, a redelivered attempt retry again: they are two messages."""
    for _ in range(2):
        app.send_task("paths.work", task_id="one", countdown=HOUR)

    assert len(scheduling.of_task(app, "one")) == 2


# --- What never waits in the storage


@pytest.mark.parametrize("name", ["celery.chord_unlock", "celery.backend_cleanup", "fullresult.x"])
def test_celerys_own_polling_and_our_own_tasks_go_to_the_broker(app: Celery, name: str) -> None:
    app.send_task(name, task_id="one", countdown=HOUR)

    assert waiting(app.fullresult) == set()
    assert etas(app) == [True]


def test_protocol_1_goes_to_the_broker(storage_url: str) -> None:
    """Its messages have no headers to keep an id in."""
    with app_of(storage_url, task_protocol=1) as app:
        app.send_task("paths.work", task_id="one", countdown=HOUR)

        (message,) = scheduling.messages(app)
        assert message.payload["id"] == "one"
        assert message.payload["eta"] is not None
        assert waiting(app.fullresult) == set()


def test_an_eager_task_runs_at_once(storage_url: str) -> None:
    with app_of(storage_url, task_always_eager=True) as app:
        result = app.task(name="paths.eager")(answer).apply_async(countdown=HOUR)

        assert result.get() == 42
        assert waiting(app.fullresult) == set()


def answer() -> int:
    return 42


@pytest.mark.parametrize("eta", ["countdown", "eta"])
@pytest.mark.parametrize(("seconds", "waits"), [(59, False), (61, True)])
def test_what_is_due_soon_goes_to_the_broker_with_its_eta(
    storage_url: str, eta: str, seconds: int, waits: bool
) -> None:
    when = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    how: dict[str, Any] = {"countdown": seconds} if eta == "countdown" else {"eta": when}
    with app_of(storage_url, fullresult_schedule_min_delay=60) as app:
        app.send_task("paths.work", task_id="one", **how)

        assert waiting(app.fullresult) == ({"one"} if waits else set())
        assert etas(app) == ([] if waits else [True])


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"countdown": 0},
        {"countdown": None, "eta": None},
        {"countdown": -5},
        {"countdown": -5.5},
        {"eta": datetime(2020, 1, 2, tzinfo=timezone.utc)},
        {"eta": datetime(2020, 1, 2)},  # noqa: DTZ001
        {"eta": "2020-01-02T00:00:00Z"},
        {"eta": ""},
    ],
    ids=str,
)
def test_what_is_due_already_goes_to_the_broker(app: Celery, how: dict[str, Any]) -> None:
    app.send_task("paths.work", task_id="one", **how)

    assert waiting(app.fullresult) == set()
    assert len(scheduling.received(app)) == 1


def test_without_fullresult_schedule_eta_nothing_waits_here(storage_url: str) -> None:
    with app_of(storage_url, fullresult_schedule_eta=False) as app:
        app.send_task("paths.work", task_id="one", countdown=HOUR)

        assert waiting(app.fullresult) == set()
        assert etas(app) == [True]


def etas(app: Celery) -> list[bool]:
    """Of each message in the queue, whether it has an ETA."""
    return [message.headers["eta"] is not None for message in scheduling.messages(app)]


# --- The router


class ByQueue:
    """A plugin whose router asks for the queue, the name and the delay."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, float]] = []

    @hookimpl
    def fullresult_router(self) -> ByQueue:
        return self

    def diverts(self, outgoing: Outgoing) -> bool:
        delay = round(outgoing.delay.total_seconds())
        self.asked.append((outgoing.name, outgoing.queue, delay))
        return outgoing.queue == "patient"


def test_a_router_decides_by_queue(storage_url: str) -> None:
    """It is told the queue that Celery routes to, however that is said."""
    router = ByQueue()
    routes = {"paths.routed": {"queue": "patient"}}
    with app_of(storage_url, router, task_routes=routes, task_default_queue="quick") as app:
        send = app.send_task
        send("paths.plain", task_id="default", countdown=HOUR)
        send("paths.plain", task_id="given", queue="patient", countdown=HOUR)
        send("paths.routed", task_id="routed", countdown=HOUR)
        send("paths.plain", task_id="at once")

    assert router.asked == [
        ("paths.plain", "quick", HOUR),
        ("paths.plain", "patient", HOUR),
        ("paths.routed", "patient", HOUR),
    ]
    assert waiting(app.fullresult) == {"given", "routed"}


# --- When

TOKYO = timezone(timedelta(hours=9))
SUMMER = datetime(2040, 7, 1, 12, 30, 15, 123456)  # noqa: DTZ001
WHENS: list[Any] = [
    SUMMER,
    SUMMER.replace(tzinfo=timezone.utc),
    SUMMER.replace(tzinfo=TOKYO),
    "2040-07-01T12:30:15.123456",
    "2040-07-01T12:30:15",
    "2040-07-01T12:30:15Z",
    "2040-07-01T12:30:15.5Z",
    "2040-07-01T12:30:15+09:00",
    "2040-07-01 12:30:15",
    "2040-07-01",
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(-timedelta(hours=5))),
    datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001
]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("when", WHENS, ids=str)
def test_an_eta_means_what_it_means_to_celery(storage_url: str, when: Any, zone: str) -> None:
    """One without a zone is UTC, whatever the app's: so a worker reads the message."""
    with app_of(storage_url, timezone=zone) as app:
        app.send_task("paths.work", task_id="one", eta=when)

        assert scheduling.only(app, "one").due == to_utc(as_a_worker_reads(when))


def as_a_worker_reads(when: datetime | str) -> datetime:
    """The time of an ETA that went by a message of stock Celery to `celery.worker.request`."""
    app = Celery("stock", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = f"queue-{uuid.uuid4()}"
    with closing(app):
        app.send_task("paths.work", eta=when)
        (message,) = scheduling.messages(app)
    read: datetime = maybe_make_aware(maybe_iso8601(message.headers["eta"]), timezone.utc)
    return read


def test_a_countdown_counts_before_an_eta(app: Celery) -> None:
    app.send_task("paths.work", task_id="one", countdown=HOUR, eta=SUMMER)

    schedule = scheduling.only(app, "one")
    wait = schedule.due - schedule.date_scheduled
    assert abs(wait - timedelta(seconds=HOUR)) < timedelta(minutes=1)


@pytest.mark.parametrize("countdown", [0.25, 0.0004, 1e6])
def test_a_countdown_is_never_shorter_than_it_was(app: Celery, countdown: float) -> None:
    """By the storage's clock, rounded up to the millisecond."""
    before = app.fullresult.storage.now()

    app.send_task("paths.work", task_id="one", countdown=countdown)

    assert scheduling.only(app, "one").due >= before + timedelta(seconds=countdown)


BAD: list[dict[str, Any]] = [
    {"countdown": "5"},
    {"countdown": [1]},
    {"countdown": timedelta(seconds=5)},
    {"countdown": float("nan")},
    {"countdown": float("inf")},
    {"countdown": 1e12},
    {"countdown": 1e300},
    {"countdown": 10**400},
    {"eta": 5},
    {"eta": object()},
    {"eta": "tomorrow"},
    {"eta": date(2040, 7, 1)},
    {"eta": timedelta(seconds=5)},
    {"eta": [1]},
]


@pytest.mark.parametrize("how", BAD, ids=lambda how: str(how)[:24])
def test_what_is_no_time_is_refused_as_celery_refuses_it(app: Celery, how: dict[str, Any]) -> None:
    """Or taken, where Celery takes it, and then it goes to the broker."""
    stock = Celery("stock", broker="memory://", set_as_current=False)
    stock.conf.task_default_queue = f"queue-{uuid.uuid4()}"

    told = [what_happens(each, how) for each in (stock, app)]

    stock.close()
    assert told[0] == told[1]
    assert waiting(app.fullresult) == set()


def what_happens(app: Celery, how: dict[str, Any]) -> Any:
    try:
        app.send_task("paths.work", task_id="one", **how)
    except Exception as error:  # noqa: BLE001  (whatever Celery raises)
        return type(error), str(error)
    (message,) = scheduling.messages(app)
    return message.headers["eta"]


# --- What may not be stored whole


@pytest.mark.parametrize("redacted", [False, True])
@pytest.mark.parametrize(
    ("how", "settings", "why"),
    [
        ({"argsrepr": "(hidden)"}, {}, "hidden by a repr of their own"),
        ({"kwargsrepr": "{}"}, {}, "hidden by a repr of their own"),
        ({}, {"fullresult_ignore": ["paths.*"]}, "fullresult_ignore names it"),
        ({"args": ("x" * 2000,)}, {"fullresult_max_body": 1000}, "larger than fullresult_max_body"),
        ({"link": True}, {}, "a link of it has its arguments hidden"),
    ],
    ids=["args", "kwargs", "ignored", "large", "link"],
)
def test_what_is_not_recorded_whole_is_stored_only_if_that_is_wanted(
    storage_url: str,
    caplog: pytest.LogCaptureFixture,
    how: dict[str, Any],
    settings: dict[str, Any],
    why: str,
    redacted: bool,
) -> None:
    """Else it goes to the broker, with one warning for each name; the record hides it anyway."""
    settings = {**settings, "fullresult_schedule_redacted": redacted}
    with app_of(storage_url, **settings) as app:
        how = {"args": ("secret",), **how}
        if "link" in how:
            how["link"] = app.signature("paths.link", ("secret",), argsrepr="(hidden)")
        ids = [app.send_task("paths.work", countdown=HOUR, **how).id for _ in range(3)]
        ids.append(app.send_task("paths.other", countdown=HOUR, **how).id)

        full: FullResult = app.fullresult
        assert waiting(full) == (set(ids) if redacted else set())
        assert etas(app) == ([] if redacted else [True] * 4)
        said = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
        assert len(said) == (0 if redacted else 2)
        assert all(why in line for line in said)
        for task_id in ids:
            record = full.get(task_id)
            if why.startswith("fullresult_ignore") and not redacted:
                assert record is None
            else:
                assert record is not None
                assert record.message is not None
                assert record.message.body is None or "larger" not in why
                assert record.args != ["secret"] or "kwargsrepr" in how or "link" in how
                if why.startswith("fullresult_ignore"):
                    assert "secret" not in repr(record.message)


def test_what_was_stored_though_it_is_hidden_is_sent_whole(storage_url: str) -> None:
    with app_of(storage_url, fullresult_schedule_redacted=True) as app:
        app.send_task("paths.work", ("secret",), task_id="one", argsrepr="(hidden)", countdown=HOUR)

        app.fullresult.resend_scheduled("one")

        (message,) = scheduling.messages(app)
        record = app.fullresult.get("one")
        assert message.payload[0] == ["secret"]
        assert message.headers["argsrepr"] == "(hidden)"
        assert record.state == "SCHEDULED_SENT"
        assert "secret" not in repr(record.message)


def test_headers_that_json_cannot_hold_go_to_the_broker(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    app.send_task("paths.work", task_id="one", headers={"odd": {1, 2}}, countdown=HOUR)

    assert waiting(app.fullresult) == set()
    (line,) = (each.getMessage() for each in caplog.records if each.name.startswith("fullresult"))
    assert "its headers cannot be stored" in line
