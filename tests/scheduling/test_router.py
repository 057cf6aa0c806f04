"""The router: which tasks with an ETA wait in the storage, and how a plugin decides it instead.

Long because its routers that are wrong in one way each serve all sections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

from fullresult import FullResult
from fullresult.config import Settings
from fullresult.config.router import EtaRouter, Outgoing, Router
from fullresult.hookspecs import hookimpl
from fullresult.recording import this_worker
from tests.kit.scheduling import app_on, only, waiting
from tests.kit.scripts import run_script

MakeApp = Callable[..., Celery]


@dataclass
class Noting:
    """Diverts what *wanted* says, and notes what it was asked."""

    wanted: Callable[[Outgoing], bool] = lambda _: True
    asked: list[Outgoing] = field(default_factory=list)

    def diverts(self, outgoing: Outgoing) -> bool:
        self.asked.append(outgoing)
        return self.wanted(outgoing)


class Plugin:
    """Answers with a router of its own, or with None."""

    def __init__(self, router: Router | None) -> None:
        self.router = router
        self.settings: list[Settings] = []

    @hookimpl
    def fullresult_router(self, settings: Settings) -> Router | None:
        self.settings.append(settings)
        return self.router


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeApp]:
    """`make(router or None, **settings)`: an app whose router comes from a plugin."""
    with ExitStack() as stack:

        def make(router: Router | None = None, **settings: Any) -> Celery:
            url = f"sqlite:///{tmp_path}/records.db"
            app = stack.enter_context(app_on({"broker_url": "memory://"}, url, **settings))
            if router:
                FullResult(app, plugins=[Plugin(router)])
            return app

        yield make


def in_an_hour() -> datetime:
    return datetime.now(timezone.utc) + timedelta(hours=1)


# --- The one there is


def test_what_is_due_later_than_the_shortest_delay_is_diverted() -> None:
    router = EtaRouter(timedelta(seconds=10))

    answers = [
        router.diverts(Outgoing("shop.charge", timedelta(seconds=seconds), lambda: None))
        for seconds in (-5, 0, 10, 10.001, 3600)
    ]

    assert answers == [False, False, False, True, True]


def test_by_default_whatever_is_not_yet_due_is_diverted() -> None:
    router = EtaRouter()

    assert router.diverts(Outgoing("shop.charge", timedelta(microseconds=1), lambda: None))
    assert not router.diverts(Outgoing("shop.charge", timedelta(0), lambda: None))


def test_the_shortest_delay_is_a_setting(make: MakeApp) -> None:
    app = make(fullresult_schedule_min_delay="1m")

    app.send_task("shop.charge", countdown=30, task_id="soon")
    app.send_task("shop.charge", countdown=90, task_id="later")

    assert waiting(app) == ["later"]


# --- Another one


def test_a_plugin_decides_instead(make: MakeApp) -> None:
    """By name, delay, or queue."""
    router = Noting(
        lambda task: (
            task.name != "shop.ping" and task.delay > timedelta(minutes=5) and task.queue != "fast"
        )
    )
    app = make(router, fullresult_schedule_min_delay=0)

    app.send_task("shop.charge", countdown=3600, task_id="stored")
    app.send_task("shop.ping", countdown=3600, task_id="by name")
    app.send_task("shop.charge", countdown=60, task_id="by delay")
    app.send_task("shop.charge", countdown=3600, queue="fast", task_id="by queue")

    assert waiting(app) == ["stored"]
    states = {record.task_id: record.state for record in app.fullresult.find()}
    assert states == {
        "stored": "SCHEDULED",
        "by name": "PENDING",
        "by delay": "PENDING",
        "by queue": "PENDING",
    }


def test_a_plugin_may_divert_what_is_due_already(make: MakeApp) -> None:
    app = make(Noting())
    past = datetime.now(timezone.utc) - timedelta(minutes=1)

    app.send_task("shop.charge", eta=past, task_id="past")

    assert waiting(app) == ["past"]


def test_a_router_is_not_asked_of_what_has_no_eta(make: MakeApp) -> None:
    router = Noting()
    app = make(router)

    app.send_task("shop.charge")
    app.send_task("shop.charge", countdown=0)

    assert router.asked == []


def test_it_is_told_how_long_there_is(make: MakeApp) -> None:
    router = Noting()
    app = make(router)

    app.send_task("shop.charge", countdown=90)
    app.send_task("shop.charge", eta=in_an_hour())
    app.send_task("shop.charge", eta=in_an_hour().isoformat())

    first, second, third = (outgoing.delay for outgoing in router.asked)
    assert first == timedelta(seconds=90)
    assert timedelta(minutes=59) < second < timedelta(minutes=61)
    assert timedelta(minutes=59) < third < timedelta(minutes=61)


def test_a_plugin_gets_the_settings_once(make: MakeApp) -> None:
    app, plugin = make(fullresult_schedule_min_delay=7), Plugin(Noting())
    full = FullResult(app, plugins=[plugin])

    app.send_task("shop.charge", countdown=90)
    app.send_task("shop.charge", countdown=90)

    assert plugin.settings == [full.settings]
    assert full.settings.schedule_min_delay == timedelta(seconds=7)


def test_a_plugin_that_answers_none_leaves_it_to_the_next_and_to_the_default(
    make: MakeApp,
) -> None:
    app, none, noting = make(), Plugin(None), Noting()
    FullResult(app, plugins=[Plugin(noting), none])
    other = make()
    FullResult(other, plugins=[none])

    app.send_task("shop.charge", countdown=90)
    other.send_task("shop.charge", countdown=90, task_id="other")

    assert len(noting.asked) == 1
    assert "other" in waiting(other)


def test_the_same_plugin_may_be_given_twice(make: MakeApp) -> None:
    """As an app is installed twice by a module that is imported under two names."""
    app, plugin = make(), Plugin(Noting(lambda _: False))
    FullResult(app, plugins=[plugin])
    FullResult(app, plugins=[plugin])

    app.send_task("shop.charge", countdown=90)

    assert waiting(app) == []


def test_a_plugin_may_be_a_module(make: MakeApp) -> None:
    router = Noting(lambda _: False)

    @hookimpl
    def fullresult_router(settings: Settings) -> Router:  # noqa: ARG001
        return router

    app = make()
    FullResult(app, plugins=[SimpleNamespace(fullresult_router=fullresult_router)])

    app.send_task("shop.charge", countdown=90)

    assert len(router.asked) == 1


# --- Mistakes


def test_a_misspelt_hook_is_named(make: MakeApp) -> None:
    class Misspelt:
        @hookimpl
        def fullresult_ruoter(self, settings: Settings) -> None: ...

    app = make()

    with pytest.raises(pluggy.PluginValidationError, match="fullresult_ruoter"):
        FullResult(app, plugins=[Misspelt()])


def test_a_router_without_the_method_is_a_mistake_that_is_named(make: MakeApp) -> None:
    app = make(SimpleNamespace())

    with pytest.raises(ImproperlyConfigured, match=r"fullresult_router .* diverts"):
        app.send_task("shop.charge", countdown=90)


def test_what_a_router_raises_reaches_who_publishes_and_nothing_is_kept(make: MakeApp) -> None:
    def broken(task: Outgoing) -> bool:
        raise ZeroDivisionError(f"no rule for {task.name}")

    app = make(Noting(broken))

    with pytest.raises(ZeroDivisionError, match=r"no rule for shop\.charge"):
        app.send_task("shop.charge", countdown=90, task_id="one")
    app.send_task("shop.charge", task_id="without an ETA")

    assert app.fullresult.get("one") is None
    assert app.fullresult.get("without an ETA").state == "PENDING"


def test_in_a_worker_a_router_that_raises_leaves_the_task_to_the_broker(
    make: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the error would make a failure of the task that publishes."""

    def broken(task: Outgoing) -> bool:
        raise ZeroDivisionError(f"no rule for {task.name}")

    app = make(Noting(broken))
    monkeypatch.setattr(this_worker, "is_worker", lambda: True)

    app.send_task("shop.charge", task_id="one", countdown=60)

    assert app.fullresult.get("one").state == "PENDING"
    assert app.fullresult.scheduled() == []


def test_what_a_plugin_raises_reaches_who_publishes(make: MakeApp) -> None:
    class Broken:
        @hookimpl
        def fullresult_router(self, settings: Settings) -> Router:
            raise RuntimeError(f"no router for {settings.storage.partition(':')[0]}")

    app = make()
    FullResult(app, plugins=[Broken()])

    with pytest.raises(RuntimeError, match="no router for sqlite"):
        app.send_task("shop.charge", countdown=90)


# --- The queue


ROUTED: dict[str, dict[str, Any]] = {
    "the default": {},
    "by name": {"name": "shop.report"},
    "by a pattern": {"name": "mail.send"},
    "by a queue": {"queue": "other"},
    "by a queue object": {"queue": Queue("other")},
    "by a queue of the configuration": {"queue": "letters"},
    "by an exchange": {"exchange": "elsewhere", "routing_key": "x"},
    "by an exchange object": {"exchange": Exchange("elsewhere"), "routing_key": "x"},
    "by a routing key": {"routing_key": "x"},
    "by the default exchange": {"exchange": "", "routing_key": "other"},
    "by its arguments": {"name": "shop.sorted", "args": ["vip"]},
    "by its keyword arguments": {"name": "shop.sorted", "kwargs": {"kind": "vip"}},
    "by its options": {"name": "shop.sorted", "priority": 9},
    "against its route": {"name": "shop.report", "queue": "other"},
}


def by_arguments(
    name: str, args: Any, kwargs: Any, options: dict[str, Any], **_: Any
) -> dict[str, Any] | None:
    if name != "shop.sorted":
        return None
    vip = "vip" in (*(args or ()), *(kwargs or {}).values()) or options.get("priority") == 9
    return {"queue": "vip" if vip else "others"}


@pytest.mark.parametrize("call", ROUTED.values(), ids=ROUTED)
def test_the_queue_is_the_one_that_celery_sends_it_to(make: MakeApp, call: dict[str, Any]) -> None:
    router = Noting()
    app = make(
        router,
        task_routes=(
            {"shop.report": {"queue": "reports"}, "mail.*": {"queue": "letters"}},
            by_arguments,
        ),
        task_queues=[Queue("letters", Exchange("post", type="topic"), routing_key="post.#")],
        task_create_missing_queues=True,
    )
    call = dict(call)

    app.send_task(call.pop("name", "shop.charge"), countdown=90, task_id="one", **call)

    assert router.asked[0].queue == only(app, "one").queue


def test_the_queue_of_a_task_that_is_called(make: MakeApp) -> None:
    router = Noting()
    app = make(router, task_routes={"shop.routed": "reports"})

    def body() -> None: ...

    plain = app.task(name="shop.plain")(body)
    routed = app.task(name="shop.routed")(body)

    for number, task in enumerate((plain, routed)):
        task.apply_async(countdown=90, task_id=str(number))
        task.s().apply_async(countdown=90, task_id=f"signature of {number}")
    plain.s().set(queue="own", countdown=90).delay()

    queues = [outgoing.queue for outgoing in router.asked]
    default = app.conf.task_default_queue
    assert queues == [default, default, "reports", "reports", "own"]


def test_a_queue_that_may_not_be_made_is_celerys_error(make: MakeApp) -> None:
    from celery.exceptions import QueueNotFound

    app = make(
        Noting(lambda task: bool(task.queue)),
        task_queues=[Queue("known")],
        task_create_missing_queues=False,
    )

    with pytest.raises(QueueNotFound):
        app.send_task("shop.charge", countdown=90, queue="unknown")


# --- Entry points


SCRIPT = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from celery import Celery
    from fullresult import FullResult
    app = Celery("shop", broker="memory://")
    app.conf.update(fullresult_storage=sys.argv[2], fullresult_schedule_eta=True)
    full = FullResult(app)
    try:
        app.send_task("shop.charge", countdown=90)
        app.send_task("shop.keep", countdown=90)
        print([schedule.name for schedule in full.scheduled()])
    except Exception as error:
        print(type(error).__name__, error)
"""


def installed(directory: Path, code: str | None) -> None:
    """A distribution with an entry point for *code*; without any, its module is missing."""
    info = directory / "picky_router-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: picky-router\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fullresult]\npicky = picky_router\n")
    if code is not None:
        (directory / "picky_router.py").write_text(code)


PICKY = """
from fullresult.hookspecs import hookimpl

class Picky:
    def diverts(self, outgoing):
        return outgoing.name == "shop.keep"

@hookimpl
def fullresult_router(settings):
    return Picky()
"""


def test_an_installed_distribution_may_bring_a_router(tmp_path: Path) -> None:
    installed(tmp_path, PICKY)

    printed = run_script(SCRIPT, tmp_path, f"sqlite:///{tmp_path}/r.db", directory=tmp_path)

    assert printed == "['shop.keep']"


def test_one_that_cannot_be_imported_is_an_error_that_names_it(tmp_path: Path) -> None:
    installed(tmp_path, None)

    printed = run_script(SCRIPT, tmp_path, f"sqlite:///{tmp_path}/r.db", directory=tmp_path)

    assert printed == "ModuleNotFoundError No module named 'picky_router'"


def test_what_an_app_is_given_comes_before_what_is_installed(tmp_path: Path) -> None:
    installed(tmp_path, PICKY)
    script = SCRIPT.replace(
        "full = FullResult(app)",
        """
    from fullresult.hookspecs import hookimpl
    class None_:
        def diverts(self, outgoing): return False
    class Plugin:
        @hookimpl
        def fullresult_router(self, settings): return None_()
    full = FullResult(app, plugins=[Plugin()])
    """.strip(),
    )

    printed = run_script(script, tmp_path, f"sqlite:///{tmp_path}/r.db", directory=tmp_path)

    assert printed == "[]"
