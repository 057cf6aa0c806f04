"""The entries of beat's plan: told with how each last went, and run by hand.

Long because the plans, beats and apps of its sections are the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, signals
from celery.beat import BeatLazyFunc, ScheduleEntry, Scheduler
from celery.schedules import BaseSchedule, crontab, schedule

from fullresult import FullResult
from fullresult.insight.periodic import PeriodicTask, SchedulerError, schedule_text
from fullresult.recording.beat_entries import watch
from tests.kit.commands import run
from tests.kit.servers import FilesystemBroker

ELSEWHERE: dict[str, dict[str, Any]] = {}
"""What `ElsewhereScheduler` finds where it keeps its entries."""


class ElsewhereScheduler(Scheduler):  # type: ignore[misc]
    """One that keeps its entries in a place of its own, as a database scheduler does."""

    @property
    def schedule(self) -> dict[str, ScheduleEntry]:
        return {name: self._maybe_entry(name, dict(entry)) for name, entry in ELSEWHERE.items()}


class BrokenScheduler(Scheduler):  # type: ignore[misc]
    """One that cannot get at its entries."""

    @property
    def schedule(self) -> dict[str, ScheduleEntry]:
        raise ConnectionError("the database is away")


class Tides(BaseSchedule):  # type: ignore[misc]
    """A schedule of somebody's own."""

    def __repr__(self) -> str:
        return "<tides: high>"


@pytest.fixture
def app(tmp_path: Path, filesystem_broker: FilesystemBroker) -> Iterator[Celery]:
    """A recorded app with a broker, an empty memory and no periodic tasks."""
    app = Celery("proj", set_as_current=False)
    app.conf.update(filesystem_broker.settings)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'memory.db'}"
    app.conf.result_expires = None  # no entry of Celery's own
    app.conf.beat_schedule_filename = str(tmp_path / "schedule-of-beat")
    full = FullResult(app)
    yield app
    full.close()
    app.close()


def _plan(app: Celery, **entries: Any) -> None:
    app.conf.beat_schedule = entries


def _entry(app: Celery, name: str) -> PeriodicTask:
    entries: list[PeriodicTask] = app.fullresult.periodic()
    (found,) = [entry for entry in entries if entry.name == name]
    return found


def _beat(app: Celery) -> Scheduler:
    """A scheduler as beat has it, with all of the plan due now."""
    scheduler = Scheduler(app)
    watch(scheduler)
    return scheduler


# --- what is listed


def test_an_entry_of_the_configuration(app: Celery) -> None:
    options = {"queue": "mail", "expires": 60}
    _plan(
        app,
        morning={
            "task": "shop.report",
            "schedule": crontab(hour=7, minute=30),
            "args": (1, "x"),
            "kwargs": {"full": True},
            "options": options,
        },
    )

    found = _entry(app, "morning")

    assert (found.task, found.schedule, found.enabled) == ("shop.report", "30 7 * * *", True)
    assert (found.args, found.kwargs, found.options) == ((1, "x"), {"full": True}, options)
    assert (found.last_run, found.last_run_by) == (None, None)


def test_entries_come_in_the_order_of_their_names(app: Celery) -> None:
    entry = {"task": "shop.report", "schedule": 60}
    _plan(app, b=entry, c=entry, a=entry)

    assert [found.name for found in app.fullresult.periodic()] == ["a", "b", "c"]


def test_periodic_tasks_that_are_added_when_the_app_is_configured(app: Celery) -> None:
    @app.task(name="shop.clean")  # type: ignore[untyped-decorator]
    def clean() -> None: ...

    @app.on_after_configure.connect(weak=False)  # type: ignore[untyped-decorator]
    def add(sender: Celery, **_: Any) -> None:
        sender.add_periodic_task(30, clean.s(), name="cleaning")

    @app.on_after_finalize.connect(weak=False)  # type: ignore[untyped-decorator]
    def add_more(sender: Celery, **_: Any) -> None:
        sender.add_periodic_task(60, clean.s(), name="more cleaning")

    names = [found.name for found in app.fullresult.periodic()]

    assert names == ["cleaning", "more cleaning"]


def test_our_own_entries_are_listed(app: Celery) -> None:
    app.conf.fullresult_retention = timedelta(days=30)
    app.conf.fullresult_schedule_eta = True
    app.conf.fullresult_sweeper = "beat"

    names = [found.name for found in app.fullresult.periodic()]

    assert names == ["fullresult.purge", "fullresult.sweep"]


def test_celerys_own_entry_is_listed(app: Celery) -> None:
    app.conf.result_expires = 3600

    (found,) = app.fullresult.periodic()

    assert (found.name, found.schedule) == ("celery.backend_cleanup", "0 4 * * *")


def test_the_file_of_the_persistent_scheduler_is_left_alone(app: Celery, tmp_path: Path) -> None:
    """It is beat's, which may be at work."""
    _plan(app, often={"task": "shop.report", "schedule": 1})

    app.fullresult.periodic()

    assert not list(tmp_path.glob("schedule-of-beat*"))


def test_entries_that_a_scheduler_keeps_elsewhere(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ELSEWHERE, "kept", {"task": "shop.kept", "schedule": schedule(90)})
    app.conf.beat_scheduler = f"{__name__}:ElsewhereScheduler"
    _plan(app, configured={"task": "shop.report", "schedule": 60})

    found = {entry.name: entry.task for entry in app.fullresult.periodic()}

    assert found == {"kept": "shop.kept", "configured": "shop.report"}


def test_a_scheduler_that_only_beats_command_line_names(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ELSEWHERE, "kept", {"task": "shop.kept", "schedule": schedule(90)})

    found = app.fullresult.periodic(scheduler=f"{__name__}:ElsewhereScheduler")

    assert [entry.name for entry in found] == ["kept"]


@pytest.mark.parametrize("scheduler", [f"{__name__}:BrokenScheduler", "no.such:Scheduler"])
def test_a_scheduler_that_cannot_be_read_is_named(app: Celery, scheduler: str) -> None:
    app.conf.beat_scheduler = scheduler

    with pytest.raises(SchedulerError, match=f"beat_scheduler = '{scheduler}' cannot be read"):
        app.fullresult.periodic()


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (crontab(), "* * * * *"),
        (crontab(minute="*/5", day_of_week="mon-fri"), "*/5 * * * mon-fri"),
        (crontab(minute={30, 0}, hour=[7]), "0,30 7 * * *"),
        (schedule(30), "every 30 seconds"),
        (schedule(0.5), "every 0.5 seconds"),
        (schedule(timedelta(hours=2)), "every 2 hours"),
        (Tides(), "tides: high"),
    ],
    ids=repr,
)
def test_a_schedule_in_words(plan: Any, text: str) -> None:
    assert schedule_text(plan) == text


def test_what_is_redacted_in_records_is_in_the_plan_as_well(app: Celery) -> None:
    """And sent all the same."""
    app.conf.fullresult_redact = ["shop.*:password"]
    kwargs = {"user": "ada", "password": "secret"}
    _plan(app, a={"task": "shop.report", "schedule": 60, "kwargs": kwargs})

    found = _entry(app, "a")

    assert found.kwargs["user"] == "ada"
    assert "secret" not in str(found)
    sent: list[Any] = []
    with _watching(sent):
        app.fullresult.trigger("a")
    assert sent == [kwargs]


@contextmanager
def _watching(sent: list[Any]) -> Iterator[None]:
    """Notes the keyword arguments of each message on its way."""

    def note(body: Any, **_: Any) -> None:
        sent.append(body[1])

    signals.before_task_publish.connect(note)
    try:
        yield
    finally:
        signals.before_task_publish.disconnect(note)


# --- the last run


def test_the_last_run_is_of_the_entry_and_not_of_its_twin(app: Celery) -> None:
    """Two entries may send the same task; each message names its entry."""
    _plan(
        app,
        big={"task": "shop.report", "schedule": 60, "args": ("big",)},
        small={"task": "shop.report", "schedule": 60, "args": ("small",)},
    )
    beat = _beat(app)

    beat.apply_async(beat.schedule["big"])
    beat.apply_async(beat.schedule["small"])

    for name in ("big", "small"):
        found = _entry(app, name)
        assert found.last_run is not None
        assert (found.last_run.args, found.last_run_by) == ([name], "entry")
        assert found.last_run.periodic
        assert not found.last_run.triggered


def test_beats_own_entry_stays_as_it_is(app: Celery) -> None:
    """What the headers of a message say is not for the next one."""
    headers = {"tenant": "acme"}
    entry = {"task": "shop.report", "schedule": 60, "options": {"headers": headers}}
    _plan(app, a=entry, b=entry)
    beat = _beat(app)

    beat.apply_async(beat.schedule["a"])
    beat.apply_async(beat.schedule["b"])

    sent = app.fullresult.find()
    assert sorted(str(record.periodic_entry) for record in sent) == ["a", "b"]
    assert [record.headers["tenant"] for record in sent] == ["acme", "acme"]
    assert "periodic_task_name" not in headers


def test_what_is_published_while_beat_sends_is_not_of_the_entry(app: Celery) -> None:
    def lazy() -> int:
        app.send_task("shop.other", task_id="meanwhile")
        return 7

    entry = {"task": "shop.report", "schedule": 60, "args": (BeatLazyFunc(lazy),)}
    _plan(app, lazy=entry)
    beat = _beat(app)

    beat.apply_async(beat.schedule["lazy"])

    other = app.fullresult.get("meanwhile")
    assert other is not None
    assert (other.periodic, other.periodic_entry) == (False, None)
    assert _entry(app, "lazy").last_run_by == "entry"


def test_a_record_that_names_no_entry_counts_by_its_task(app: Celery) -> None:
    """Such as one of a beat whose app was not recorded yet, or of no beat at all."""
    _plan(app, reports={"task": "shop.report", "schedule": 60})
    app.send_task("shop.report", task_id="by code")

    found = _entry(app, "reports")

    assert found.last_run is not None
    assert (found.last_run.task_id, found.last_run_by) == ("by code", "task")


def test_the_last_run_of_a_rare_entry_stands_behind_those_of_a_frequent_one(app: Celery) -> None:
    _plan(
        app,
        daily={"task": "shop.report", "schedule": crontab(hour=3, minute=0)},
        never={"task": "shop.other", "schedule": 60},
        often={"task": "shop.report", "schedule": 60},
    )
    beat = _beat(app)
    beat.apply_async(beat.schedule["daily"])
    for _ in range(150):
        beat.apply_async(beat.schedule["often"])

    found = {entry.name: entry.last_run_by for entry in app.fullresult.periodic()}

    assert found == {"daily": "entry", "never": None, "often": "entry"}


def test_its_last_runs_are_told_the_newest_first_and_not_those_of_its_twin(app: Celery) -> None:
    _plan(
        app,
        big={"task": "shop.report", "schedule": 60, "args": ("big",)},
        small={"task": "shop.report", "schedule": 60, "args": ("small",)},
    )
    beat = _beat(app)
    sent = []
    for _ in range(12):
        sent.append(str(beat.apply_async(beat.schedule["big"]).id))
        time.sleep(0.002)  # SQLite keeps milliseconds.
    only = str(beat.apply_async(beat.schedule["small"]).id)

    big, small = _entry(app, "big").runs, _entry(app, "small").runs

    assert [run.task_id for run in big] == sent[:1:-1]
    assert [(run.task_id, run.state) for run in small] == [(only, "PENDING")]


def test_a_crontab_is_told_in_words_too(app: Celery) -> None:
    plan = crontab(hour=5, minute=0, day_of_month=1)
    _plan(
        app,
        monthly={"task": "shop.report", "schedule": plan},
        often={"task": "shop.report", "schedule": 60},
    )

    assert _entry(app, "monthly").words == "at 05:00 on day 1 of the month (UTC)"
    assert _entry(app, "often").words is None


def test_a_name_with_wildcards_means_itself(app: Celery) -> None:
    _plan(app, odd={"task": "shop.*[x]?", "schedule": 60})
    app.send_task("shop.report")
    app.send_task("shop.*[x]?", task_id="odd")

    last = _entry(app, "odd").last_run

    assert last is not None
    assert last.task_id == "odd"


def test_when_an_entry_is_due_next(app: Celery) -> None:
    """An interval counts from the last run that beat sent; before that, nobody knows."""
    _plan(
        app,
        often={"task": "shop.often", "schedule": 60},
        hourly={"task": "shop.hourly", "schedule": crontab(minute=0)},
    )
    before = _entry(app, "often").next_due
    beat = _beat(app)

    beat.apply_async(beat.schedule["often"])
    app.fullresult.trigger("often")
    app.fullresult.resend(app.fullresult.find(name="shop.often")[-1])

    often, hourly, now = _entry(app, "often"), _entry(app, "hourly"), datetime.now(timezone.utc)
    (sent,) = app.fullresult.find(name="shop.often", order="oldest", limit=1)
    assert before is None
    assert often.next_due is not None
    assert abs(often.next_due - sent.date_created - timedelta(minutes=1)) < timedelta(seconds=1)
    assert hourly.next_due is not None
    assert now < hourly.next_due <= now + timedelta(hours=1, seconds=1)
    assert abs(hourly.next_due - hourly.next_due.replace(minute=0, second=0)) < timedelta(seconds=1)


# --- run by hand


def test_a_triggered_task_is_sent_as_beat_would(app: Celery) -> None:
    _plan(
        app,
        morning={
            "task": "shop.report",
            "schedule": 60,
            "args": (1,),
            "kwargs": {"full": True},
            "options": {"queue": "mail", "priority": 3, "headers": {"tenant": "acme"}},
        },
    )

    task_id = app.fullresult.trigger("morning").id

    record = app.fullresult.get(task_id)
    assert record is not None
    assert (record.name, record.args, record.kwargs) == ("shop.report", [1], {"full": True})
    assert (record.queue, record.priority) == ("mail", 3)
    assert record.headers["tenant"] == "acme"
    assert (record.periodic_entry, record.triggered, record.periodic) == ("morning", True, False)
    assert _entry(app, "morning").last_run == record


def test_options_of_the_task_itself_hold_for_what_is_triggered(app: Celery) -> None:
    """As for beat: a task that this process knows is sent by its own `apply_async`."""

    @app.task(name="shop.report", time_limit=33)  # type: ignore[untyped-decorator]
    def report() -> None: ...

    _plan(app, morning={"task": "shop.report", "schedule": 60})

    record = app.fullresult.get(app.fullresult.trigger("morning").id)

    assert record is not None
    assert record.headers["timelimit"] == [33, None]


def test_arguments_that_are_made_when_it_is_sent(app: Celery) -> None:
    numbers = iter([7, 8])

    def number() -> int:
        return next(numbers)

    lazy = BeatLazyFunc(number)
    entry = {"task": "shop.report", "schedule": 60, "args": (lazy,), "kwargs": {"n": lazy}}
    _plan(app, lazy=entry)

    record = app.fullresult.get(app.fullresult.trigger("lazy").id)

    assert record is not None
    assert (record.args, record.kwargs) == ([7], {"n": 8})
    shown = str(_entry(app, "lazy").args[0])
    assert shown.startswith("<made by test_")
    assert shown.endswith("number when it is sent>")


def test_triggering_leaves_the_entry_as_it_was(app: Celery) -> None:
    headers = {"tenant": "acme"}
    options = {"headers": headers}
    _plan(app, a={"task": "shop.report", "schedule": 60, "options": options})

    app.fullresult.trigger("a")

    assert (options, headers) == ({"headers": {"tenant": "acme"}}, {"tenant": "acme"})


def test_triggering_what_is_not_there_tells_what_is(app: Celery) -> None:
    _plan(app, morning={"task": "shop.report", "schedule": 60})

    with pytest.raises(LookupError, match=r"no periodic task is called 'evening'.*'morning'"):
        app.fullresult.trigger("evening")


# --- django-celery-beat

_DJANGO = """
import json, sys
import django
from django.conf import settings
settings.configure(
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {database!r}}}}},
    INSTALLED_APPS=["django_celery_beat"], USE_TZ={aware}, TIME_ZONE="America/Sao_Paulo",
    DJANGO_CELERY_BEAT_TZ_AWARE={aware},
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from celery import Celery
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler
from fullresult import FullResult
from fullresult.cli.group import fullresult
from fullresult.recording.beat_entries import watch

every = IntervalSchedule.objects.create(every=10, period="minutes")
nightly = CrontabSchedule.objects.create(hour="3", minute="0")
noon = CrontabSchedule.objects.create(hour="15", minute="0")
make = PeriodicTask.objects.create
make(name="often", task="shop.often", interval=every, args='[1]', kwargs='{{"a": 2}}', queue="q")
make(name="nightly", task="shop.nightly", crontab=nightly)
make(name="at noon", task="shop.nightly", crontab=noon)
make(name="paused", task="shop.paused", interval=every, enabled=False)
from datetime import timedelta
from django.utils.timezone import now
make(name="tomorrow", task="shop.x", interval=every, start_time=now() + timedelta(days=1))
make(name="begun", task="shop.x", interval=every, start_time=now() - timedelta(days=1))
make(name="expired", task="shop.x", interval=every, expires=now() - timedelta(days=1))

app = Celery("proj")
app.conf.update({settings!r})
app.conf.beat_scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
full = FullResult(app)
before = {{e.name: [e.schedule, e.enabled, list(e.args), e.kwargs] for e in full.periodic()}}
beat = DatabaseScheduler(app=app)
watch(beat)
beat.apply_async(beat.schedule["often"])
triggered = full.trigger("paused")
after = {{e.name: e for e in full.periodic()}}
from datetime import datetime, timezone
now_utc = datetime.now(timezone.utc)
json.dump({{
    "before": before,
    "last": [after["often"].last_run.args, after["often"].last_run.periodic],
    "triggered": after["paused"].last_run.task_id == triggered.id,
    "due": {{
        name: entry.next_due and round((entry.next_due - now_utc).total_seconds() / 3600)
        for name, entry in after.items() if entry.task in ("shop.x", "shop.often")
    }},
    "still disabled": not PeriodicTask.objects.get(name="paused").enabled,
}}, sys.stdout)
"""


@pytest.mark.parametrize("aware", [True, False])
def test_a_database_scheduler_of_django(
    tmp_path: Path, filesystem_broker: FilesystemBroker, aware: bool
) -> None:
    """All its entries, also what it leaves out of its own schedule: disabled, or due much later."""
    pytest.importorskip("django_celery_beat")
    settings = {
        **filesystem_broker.settings,
        "fullresult_storage": f"sqlite:///{tmp_path / 'memory.db'}",
    }
    script = _DJANGO.format(database=str(tmp_path / "django.db"), settings=settings, aware=aware)

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    listed = found.pop("before")
    listed.pop("celery.backend_cleanup", None)
    assert listed == {
        "often": ["every 10 minutes", True, [1], {"a": 2}],
        "nightly": ["0 3 * * *", True, [], {}],
        "at noon": ["0 15 * * *", True, [], {}],
        "paused": ["every 10 minutes", False, [], {}],
        **{each: ["every 10 minutes", True, [], {}] for each in ("tomorrow", "begun", "expired")},
    }
    # Without time zones nobody can tell, but for what is recorded: `often` was sent.
    assert found.pop("due") == (
        {"often": 0, "tomorrow": 24, "begun": -24, "expired": None}
        if aware
        else {"often": 0, "tomorrow": None, "begun": None, "expired": None}
    )
    assert found == {
        "last": [[1], True],
        "triggered": True,
        "still disabled": True,
    }


# --- on the command line


def test_periodic_lists_entries_with_tabs_in_a_pipe(app: Celery) -> None:
    _plan(app, **{"every\tday": {"task": "shop.report", "schedule": crontab(hour=7)}})
    task_id = app.fullresult.trigger("every\tday").id

    result = run(app, "periodic")

    name, task, text, enabled, due, last, state, created, by = result.stdout[:-1].split("\t")
    assert (name, task, text, enabled) == ("every\\tday", "shop.report", "* 7 * * *", "yes")
    assert (last, state, by) == (task_id, "PENDING", "entry")
    assert datetime.fromisoformat(created) < datetime.fromisoformat(due)


def test_periodic_prints_json_with_every_field(app: Celery) -> None:
    lazy = BeatLazyFunc(lambda: 7)
    _plan(app, a={"task": "shop.report", "schedule": 60, "kwargs": {"n": lazy}})
    app.fullresult.trigger("a")

    (found,) = json.loads(run(app, "periodic", "--json").stdout)

    assert set(found) == set(vars(_entry(app, "a"))) - {"looked"}
    assert found["last_run"]["kwargs"] == {"n": 7}
    assert found["kwargs"]["n"].endswith("when it is sent>")


def test_periodic_says_where_nothing_is(app: Celery) -> None:
    result = run(app, "periodic")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "beat_schedule is empty" in result.stderr


def test_trigger_prints_the_id_of_what_it_sent(app: Celery) -> None:
    _plan(app, morning={"task": "shop.report", "schedule": 60, "args": (1,)})

    result = run(app, "trigger", "morning")

    record = app.fullresult.get(result.stdout.strip())
    assert record is not None
    assert (record.args, record.triggered) == ([1], True)


def test_trigger_of_an_unknown_name_lists_the_known_ones(app: Celery) -> None:
    _plan(app, morning={"task": "shop.report", "schedule": 60})

    result = run(app, "trigger", "evening")

    assert result.exit_code == 1
    assert result.stderr == ("Error: no periodic task is called 'evening'; there are: 'morning'\n")


@pytest.mark.parametrize("command", [["periodic"], ["trigger", "a"]])
def test_a_command_says_in_one_sentence_that_a_scheduler_cannot_be_read(
    app: Celery, command: list[str]
) -> None:
    result = run(app, *command, "--scheduler", f"{__name__}:BrokenScheduler")

    assert result.exit_code == 1
    assert result.stderr.endswith("cannot be read: the database is away\n")
