"""How long records are kept: the setting, when a record expires, and who deletes it then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from celery.exceptions import Ignore, ImproperlyConfigured
from click.testing import CliRunner

from fullresult import FullResult, TaskRecord
from fullresult.cli.group import fullresult
from fullresult.config import Settings
from fullresult.config.retention import Retention
from fullresult.record import Outcome
from fullresult.scheduling.own_entries import PURGE, SWEEP
from fullresult.storage import ResultStorage, purging
from tests.kit.scheduling import app_on, later

DAY = timedelta(days=1)
NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.fixture
def app(storage_url: str) -> Iterator[Celery]:
    rules = {"FAILURE": "90d", "shop.kept": None, "shop.*": "2d"}
    with app_on({"broker_url": "memory://"}, storage_url, fullresult_retention=rules) as app:
        for name in ("shop.fine", "shop.kept", "other"):
            app.task(work, name=name)
        app.task(fail, name="shop.broken")
        yield app


def work() -> int:
    return 1


def fail() -> None:
    raise ValueError


def run(app: Celery, name: str) -> TaskRecord:
    """The record of a task that ran in this process."""
    record = app.fullresult.get(app.tasks[name].apply().id)
    assert record is not None
    return record  # type: ignore[no-any-return]


def expiry(record: TaskRecord | None) -> datetime | None:
    assert record is not None
    assert record.outcome is not None
    return record.outcome.expire_at


def expired(record: TaskRecord, by: timedelta = DAY) -> TaskRecord:
    """The same task, its time over for so long."""
    assert record.outcome is not None
    when = datetime.now(timezone.utc).replace(microsecond=0) - by
    stamp = record.outcome.stamp + "z"
    return TaskRecord(
        record.task_id,
        record.date_created,
        record.date_updated,
        outcome=record.outcome._replace(stamp=stamp, expire_at=when),
    )


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ("30d", (("*", 30 * DAY),)),
        (timedelta(days=2), (("*", 2 * DAY),)),
        (3600, (("*", timedelta(hours=1)),)),
        ({"FAILURE": "90d", "shop.*": None}, (("FAILURE", 90 * DAY), ("shop.*", None))),
    ],
)
def test_it_is_a_length_of_time_or_some_by_state_or_name(given: Any, rules: Any) -> None:
    with Celery("shop", set_as_current=False) as app:
        app.conf.fullresult_retention = given

        assert Settings.of(app).retention == Retention(rules)


@pytest.mark.parametrize("given", ["soon", 0, -1, {"FAILURE": "soon"}, {7: "1d"}, {"": "1d"}, True])
def test_what_makes_no_sense_is_refused_by_name(given: Any) -> None:
    with Celery("shop", set_as_current=False) as app:
        app.conf.fullresult_retention = given

        with pytest.raises(ImproperlyConfigured, match="fullresult_retention"):
            Settings.of(app)


def test_results_that_expire_are_records_that_expire() -> None:
    """Celery's own default of a day is nobody's wish."""
    with Celery("shop", set_as_current=False, backend="fullresult://") as app:
        assert Settings.of(app).retention is None
        app.conf.result_expires = 7 * DAY

        assert Settings.of(app).retention == Retention((("*", 7 * DAY),))


def test_results_kept_elsewhere_say_nothing_of_records() -> None:
    with Celery("shop", set_as_current=False, backend="cache+memory://") as app:
        app.conf.result_expires = 7 * DAY

        assert Settings.of(app).retention is None


def test_the_first_rule_that_fits_counts(app: Celery) -> None:
    kept = {name: run(app, f"shop.{name}") for name in ("fine", "kept", "broken")}

    assert {
        name: expiry(record) and expiry(record) - record.date_done  # type: ignore[operator]
        for name, record in kept.items()
    } == {"fine": 2 * DAY, "kept": None, "broken": 90 * DAY}
    assert expiry(run(app, "other")) is None


def test_only_what_has_ended_expires(app: Celery) -> None:
    app.send_task("shop.fine", task_id="sent")

    assert expiry(app.fullresult.get("sent")) is None


def test_what_was_ignored_cancelled_or_not_sent_has_ended(app: Celery) -> None:
    def give_up() -> None:
        raise Ignore

    app.task(give_up, name="shop.ignoring")
    later(app, "cancelled", name="shop.fine")
    app.fullresult.cancel("cancelled")

    assert expiry(run(app, "shop.ignoring"))
    assert expiry(app.fullresult.get("cancelled"))


@pytest.mark.parametrize("state", ["PENDING", "UNSENT", "STARTED", "RETRY"])
def test_a_task_that_went_missing_expires_by_a_rule_for_its_state(state: str, app: Celery) -> None:
    app.conf.fullresult_retention = {state: "1h", "*": "1d"}
    with recorded_again(app) as full:
        record = went_missing(full, state)

    assert record.state == state
    assert record.outcome is not None
    assert expiry(record) == record.outcome.stale_from + DAY / 24


@pytest.mark.parametrize("state", ["PENDING", "UNSENT", "STARTED", "RETRY"])
def test_a_task_that_went_missing_is_kept_where_no_rule_names_its_state(
    state: str, app: Celery
) -> None:
    app.conf.fullresult_retention = {"FAILURE": "1h", "*": "1d"}
    with recorded_again(app) as full:
        assert expiry(went_missing(full, state)) is None


def test_a_task_that_moves_on_expires_no_more(app: Celery) -> None:
    app.conf.fullresult_retention = {"PENDING": "1s"}
    with recorded_again(app) as full:
        full.app.send_task("shop.fine", task_id="a")
        with_date = expiry(full.get("a"))
        request = Context({"id": "a", "task": "shop.fine", "args": [], "kwargs": {}})
        full.recorder.started("a", "shop.fine", request)

        assert with_date is not None
        assert expiry(full.get("a")) is None
        assert full.storage.delete_expired(NOW + 9 * DAY, 10) == 0


def went_missing(full: FullResult, state: str) -> TaskRecord:
    """A task that got as far as *state*, and no further."""
    request = Context({"id": "a", "task": "shop.fine", "args": [], "kwargs": {}, "hostname": "w"})
    if state == "UNSENT":
        full.recorder.unsent({"id": "a", "task": "shop.fine"}, OSError("no broker"))
    elif state == "PENDING":
        full.app.send_task("shop.fine", task_id="a")
    else:
        full.recorder.started("a", "shop.fine", request)
    if state == "RETRY":
        full.recorder.retried(request, OSError("again"), None)
    record = full.get("a")
    assert record is not None
    return record


@contextmanager
def recorded_again(app: Celery) -> Iterator[FullResult]:
    """An app like *app*, with what its configuration says now."""
    other = Celery("shop", set_as_current=False, broker="memory://")
    for key in ("fullresult_storage", "fullresult_retention"):
        other.conf[key] = app.conf[key]
    other.task(work, name="shop.fine")
    with closing(FullResult(other)) as full:
        yield full
    other.close()


def test_a_scheduled_task_never_expires(app: Celery) -> None:
    later(app, "later", name="shop.fine")

    assert expiry(app.fullresult.get("later")) is None


def test_a_length_of_time_beyond_all_dates_is_for_good() -> None:
    outcome = Outcome(
        *("s", "SUCCESS", False, 0, None, None, NOW, NOW),
        *(None, None, None, None, None, None, None, None),
    )

    kept = Retention((("*", timedelta(days=3_000_000)),)).of(outcome, "any")

    assert kept.expire_at is not None
    assert kept.expire_at.year == 9999


def test_purging_deletes_what_expired_and_nothing_else(app: Celery) -> None:
    full: FullResult = app.fullresult
    old, young = run(app, "shop.fine"), run(app, "shop.fine")
    full.storage.write([expired(old)])
    told: list[int] = []

    assert full.purge(told.append) == 1

    assert full.get(old.task_id) is None
    assert full.get(young.task_id) is not None
    assert sum(told) == 1
    assert full.purge() == 0


def test_purging_deletes_all_groups_and_chords_that_expired(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many: they are not counted among the records."""
    monkeypatch.setattr(purging, "BATCH", 3)
    results: ResultStorage = app.fullresult.storage
    names = [f"{number}" for number in range(10)]
    for name in names:
        results.save_group(name, b"", NOW - 400 * DAY)
        results.join_chord(name, "member", 2, NOW - 400 * DAY)

    assert app.fullresult.purge() == 0

    assert [results.restore_group(name) for name in names] == [None] * 10
    assert [results.get_members(name) for name in names] == [[]] * 10


def test_a_task_that_goes_on_does_not_expire(app: Celery) -> None:
    """A message that is delivered again begins another run of what had ended."""
    full: FullResult = app.fullresult
    record = run(app, "shop.broken")
    full.storage.write([expired(record)])
    assert record.outcome is not None
    again = record.outcome._replace(
        stamp=f"000000001{'4' * 30}", state="STARTED", open=True, date_done=None, expire_at=None
    )
    full.storage.write(
        [TaskRecord(record.task_id, record.date_created, record.date_updated, outcome=again)]
    )

    assert full.purge() == 0

    assert full.get(record.task_id) is not None


def test_the_command_says_how_many(app: Celery) -> None:
    full: FullResult = app.fullresult
    full.storage.write([expired(run(app, "shop.fine"))])

    result = CliRunner().invoke(fullresult, ["purge"], obj=_Context(app))

    assert (result.exit_code, result.stdout) == (0, "Deleted 1 record.\n")


class _Context:
    """What Celery's commands are given."""

    def __init__(self, app: Celery) -> None:
        self.app = app


def test_the_task_does_the_same(app: Celery) -> None:
    app.fullresult.storage.write([expired(run(app, "shop.fine"))])

    assert app.tasks[PURGE].apply().get() == 1


def test_beat_sends_the_task_where_something_is_to_expire(app: Celery) -> None:
    scheduler = _beat(app)

    assert scheduler.schedule[PURGE].schedule.run_every == timedelta(hours=1)
    assert SWEEP not in scheduler.schedule


def test_beat_has_nothing_to_do_where_all_is_kept(storage_url: str) -> None:
    with app_on({"broker_url": "memory://"}, storage_url) as app:
        assert PURGE not in _beat(app).schedule


def _beat(app: Celery) -> Any:
    """A scheduler whose beat has begun."""
    from celery import signals
    from celery.beat import Scheduler, Service

    service = Service(app)
    service.scheduler = Scheduler(app, lazy=True)
    signals.beat_init.send(sender=service)
    return service.scheduler
