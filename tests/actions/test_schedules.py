"""What people do with what is scheduled: look, cancel, revoke, move, release, send now.

Long because each deed is tried on a schedule in every state, and the states are made here.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, group
from celery.bin.celery import celery as celery_command
from celery.result import AsyncResult, GroupResult
from click.testing import CliRunner
from kombu.exceptions import OperationalError

from fullresult import FullResult, TaskQuery
from fullresult.actions.errors import CannotResend
from fullresult.storage import StorageError
from tests.kit import servers, workers
from tests.kit.scheduling import (
    Flaky,
    altered,
    app_on,
    claimed,
    later,
    messages,
    of_task,
    only,
    overdue,
    received,
    sweep,
    waiting,
)

MakeApp = Callable[..., Celery]
HOUR = timedelta(hours=1)
MEMORY = {"broker_url": "memory://"}


@pytest.fixture
def make(storage_url: str) -> Iterator[MakeApp]:
    """`make(broker settings, storage URL, **settings)`: an app, closed after the test."""
    with ExitStack() as stack:

        def make(broker: dict[str, Any] | str = MEMORY, **settings: Any) -> Celery:
            given = {"broker_url": broker} if isinstance(broker, str) else broker
            return stack.enter_context(app_on(given, storage_url, **settings))

        yield make


@pytest.fixture(params=workers.storages("sqlite", "postgresql"))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    """An app on each storage."""
    with workers.storage(request.param, request, tmp_path) as url, app_on(MEMORY, url) as app:
        yield app


def claim(app: Celery, *, ago: timedelta = timedelta(minutes=2)) -> None:
    """Take what was due then as a sweeper does that dies; *ago* is more than its minute."""
    full: FullResult = app.fullresult
    full.parts.schedule_storage.claim_due(
        full.settings.namespace, full.storage.now() - ago, "dead", 1000
    )


def in_an_hour(app: Celery) -> datetime:
    now: datetime = app.fullresult.storage.now()
    return now + HOUR


# --- Looking


def test_what_is_scheduled_is_listed_the_first_due_first(app: Celery) -> None:
    for minutes in (3, 1, 2):
        later(app, f"in {minutes} minutes", countdown=60 * minutes)
    overdue(app, "claimed", HOUR)
    claim(app)
    full = app.fullresult

    found = [schedule.task_id for schedule in full.scheduled()]

    assert found == ["claimed", "in 1 minutes", "in 2 minutes", "in 3 minutes"]
    assert full.count_scheduled() == 4
    assert waiting(app) == found[1:]
    assert claimed(app) == ["claimed"]
    assert full.count_scheduled(claimed=True) == 1


def test_a_schedule_says_what_and_when(app: Celery) -> None:
    eta = in_an_hour(app)

    made = later(app, "one", countdown=None, eta=eta, queue="slow")

    assert (made.task_id, made.name, made.queue) == ("one", "shop.charge", "slow")
    assert made.due == eta
    assert made.namespace == app.fullresult.settings.namespace
    assert not made.claimed
    assert made.problem is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"name": "shop.*"}, ["charge", "refund"]),
        ({"name": "shop.refund"}, ["refund"]),
        ({"queue": "mails"}, ["mail"]),
        ({"state": "SCHEDULED"}, ["charge", "refund", "mail"]),
        ({"state": "SUCCESS"}, []),
        ({"args": [7]}, ["charge", "refund", "mail"]),
        ({"kwargs": {"to": "me"}}, ["mail"]),
        ({"text": "refun"}, ["refund"]),
        ({"since": datetime(2099, 1, 1, tzinfo=timezone.utc)}, []),
        ({"name": "shop.*", "claimed": True}, []),
    ],
)
def test_tasks_are_found_by_what_their_records_say(
    app: Celery, asked: dict[str, Any], found: list[str]
) -> None:
    """Every filter of `find` there is, by keyword or as a query."""
    later(app, "charge", "shop.charge", countdown=60)
    later(app, "refund", "shop.refund", countdown=120)
    later(app, "mail", "mail.send", countdown=180, queue="mails", kwargs={"to": "me"})
    full = app.fullresult

    fields = {name: value for name, value in asked.items() if name != "claimed"}
    by_keyword = full.scheduled(**asked)
    by_query = full.scheduled(TaskQuery(**fields), claimed=asked.get("claimed"))

    assert [schedule.task_id for schedule in by_keyword] == found
    assert by_query == by_keyword
    assert full.count_scheduled(**asked) == len(found)


def test_pages_follow_one_another(app: Celery) -> None:
    for number in range(7):
        later(app, str(number), countdown=60 + number)
    full = app.fullresult
    pages, after = [], None

    while page := full.scheduled(limit=3, after=after):
        pages.append([schedule.task_id for schedule in page])
        after = page[-1].cursor

    assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    assert full.count_scheduled() == 7


def test_it_can_be_asked_what_is_due_until_a_time(app: Celery) -> None:
    later(app, "soon", countdown=60)
    later(app, "later", countdown=7200)
    until = in_an_hour(app)

    found = app.fullresult.scheduled(due_until=until)

    assert [schedule.task_id for schedule in found] == ["soon"]
    assert app.fullresult.count_scheduled(due_until=until) == 1


def test_what_is_of_other_brokers_is_listed_too(make: MakeApp) -> None:
    ours, theirs = (make(fullresult_namespace=name) for name in ("a", "b"))
    later(ours, "ours")
    later(theirs, "theirs")

    found = ours.fullresult.scheduled()

    assert {schedule.namespace for schedule in found} == {"a", "b"}


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"colour": "red"}, TypeError),
        ({"after": "nonsense"}, ValueError),
        ({"limit": -1}, ValueError),
        ({"due_until": datetime(2024, 1, 1)}, ValueError),  # noqa: DTZ001
        ({"query": TaskQuery(), "name": "x"}, TypeError),
    ],
)
def test_a_filter_that_means_nothing_is_an_error(
    make: MakeApp, asked: dict[str, Any], error: type[Exception]
) -> None:
    app = make()

    with pytest.raises(error):
        app.fullresult.scheduled(**asked)


def test_it_can_be_asked_where_nothing_is_diverted(make: MakeApp) -> None:
    app = make(fullresult_schedule_eta=False)

    assert app.fullresult.scheduled() == []
    assert app.fullresult.count_scheduled() == 0
    assert app.fullresult.get_stale_scheduled_tasks() == []


# --- In every state


def do_nothing(app: Celery, task_id: str) -> None: ...


def wait(app: Celery, task_id: str) -> None:
    later(app, task_id)


def be_claimed(app: Celery, task_id: str) -> None:
    overdue(app, task_id, HOUR)
    claim(app)


def be_sent(app: Celery, task_id: str) -> None:
    overdue(app, task_id)
    sweep(app.fullresult)
    received(app)


def be_cancelled(app: Celery, task_id: str) -> None:
    later(app, task_id)
    assert app.fullresult.cancel(task_id)


def be_published(app: Celery, task_id: str) -> None:
    app.send_task("shop.charge", task_id=task_id)
    received(app)


STATES = [do_nothing, wait, be_claimed, be_sent, be_cancelled, be_published]
STATE_OF = {
    "do_nothing": None,
    "wait": "SCHEDULED",
    "be_claimed": "SCHEDULED",
    "be_sent": "SCHEDULED_SENT",
    "be_cancelled": "REVOKED",
    "be_published": "PENDING",
}
in_each_state = pytest.mark.parametrize("come_to_that", STATES, ids=lambda f: f.__name__)


def state(app: Celery, task_id: str) -> str | None:
    record = app.fullresult.get(task_id)
    return None if record is None else record.state


@in_each_state
def test_cancelling_works_on_what_waits(app: Celery, come_to_that: Any) -> None:
    come_to_that(app, "one")
    waits = come_to_that is wait

    cancelled = app.fullresult.cancel("one")
    again = app.fullresult.cancel("one")

    assert cancelled is waits
    assert again is False
    assert state(app, "one") == ("REVOKED" if waits else STATE_OF[come_to_that.__name__])
    assert waiting(app) == []


def test_what_is_cancelled_is_finished_and_never_sent(app: Celery) -> None:
    overdue(app, "one")

    app.fullresult.cancel("one")
    swept = sweep(app.fullresult)

    record = app.fullresult.get("one")
    assert swept.claimed == 0
    assert received(app) == []
    assert (record.state, record.exception_message) == ("REVOKED", "revoked")
    assert record.exception_type == "celery.exceptions.TaskRevokedError"
    assert record.date_done is not None


@in_each_state
def test_rescheduling_works_on_what_waits(app: Celery, come_to_that: Any) -> None:
    come_to_that(app, "one")
    waits, eta = come_to_that is wait, in_an_hour(app) + HOUR

    moved = app.fullresult.reschedule("one", eta)

    assert moved is waits
    assert state(app, "one") == STATE_OF[come_to_that.__name__]
    assert [s.due for s in of_task(app, "one") if s.due == eta] == [eta] * waits


def test_what_is_rescheduled_to_now_is_sent(app: Celery) -> None:
    later(app, "one")

    app.fullresult.reschedule("one", app.fullresult.storage.now())

    assert sweep(app.fullresult).sent == 1
    assert received(app) == ["one"]


@pytest.mark.parametrize(
    ("eta", "due"),
    [
        ("2099-05-01T12:00:00", datetime(2099, 5, 1, 12, tzinfo=timezone.utc)),
        ("2099-05-01T12:00:00+02:00", datetime(2099, 5, 1, 10, tzinfo=timezone.utc)),
        (datetime(2099, 5, 1, 12), datetime(2099, 5, 1, 12, tzinfo=timezone.utc)),  # noqa: DTZ001
        (
            datetime(2099, 5, 1, 12, tzinfo=timezone(timedelta(hours=-3))),
            datetime(2099, 5, 1, 15, tzinfo=timezone.utc),
        ),
        (
            datetime(2099, 5, 1, 12, 0, 0, 1, tzinfo=timezone.utc),
            datetime(2099, 5, 1, 12, 0, 0, 1000, tzinfo=timezone.utc),
        ),
    ],
)
def test_an_eta_without_a_zone_is_utc_and_any_is_rounded_up(
    make: MakeApp, eta: Any, due: datetime
) -> None:
    app = make()
    later(app, "one")

    app.fullresult.reschedule("one", eta)

    assert only(app, "one").due == due


@pytest.mark.parametrize("eta", [5, None, "some day", HOUR])
def test_an_eta_that_is_no_time_is_an_error(make: MakeApp, eta: Any) -> None:
    app = make()
    due = later(app, "one").due

    with pytest.raises((TypeError, ValueError)):
        app.fullresult.reschedule("one", eta)

    assert only(app, "one").due == due


@in_each_state
def test_releasing_works_on_what_is_claimed(app: Celery, come_to_that: Any) -> None:
    come_to_that(app, "one")
    is_claimed = come_to_that is be_claimed

    released = app.fullresult.release("one")

    assert released is is_claimed
    assert claimed(app) == []
    assert sweep(app.fullresult).sent == is_claimed
    assert received(app) == ["one"] * is_claimed


def test_what_is_released_has_no_problem_any_more(app: Celery) -> None:
    altered(app, "bad", headers="{")
    sweep(app.fullresult)
    before = only(app, "bad").problem

    app.fullresult.release("bad")

    assert before
    assert only(app, "bad").problem is None


@in_each_state
def test_sending_now_works_on_what_waits_and_on_what_is_claimed(
    app: Celery, come_to_that: Any
) -> None:
    come_to_that(app, "one")

    if come_to_that in (wait, be_claimed):
        result = app.fullresult.resend_scheduled("one")
        assert isinstance(result, AsyncResult)
        assert result.id == "one"
        assert received(app) == ["one"]
        assert state(app, "one") == "SCHEDULED_SENT"
    else:
        with pytest.raises(LookupError, match="'one'"):
            app.fullresult.resend_scheduled("one")
        assert received(app) == []
        assert state(app, "one") == STATE_OF[come_to_that.__name__]

    assert of_task(app, "one") == []


def test_all_schedules_of_a_task_are_meant(app: Celery) -> None:
    app.send_task("shop.charge", countdown=60, task_id="one")
    app.send_task("shop.charge", countdown=90, task_id="one")

    assert app.fullresult.reschedule("one", app.fullresult.storage.now() - HOUR)
    claim(app)
    assert app.fullresult.release("one")
    assert app.fullresult.cancel("one")

    assert of_task(app, "one") == []


# --- Sending now


def test_the_message_is_the_one_that_was_scheduled(make: MakeApp, redis_url: str) -> None:
    app = make(redis_url)
    app.send_task(
        "shop.charge", (1,), {"a": [2]}, countdown=60, task_id="one", priority=3, headers={"t": "x"}
    )
    scheduled = only(app, "one")

    app.fullresult.resend_scheduled("one")

    (message,) = messages(app)
    assert message.body == scheduled.body
    assert message.headers["t"] == "x"
    assert message.headers["eta"] is None
    assert message.properties["priority"] == 3


def test_what_had_expired_is_finished_and_said(app: Celery) -> None:
    soon = datetime.now(timezone.utc) + timedelta(milliseconds=1)
    overdue(app, "one", expires=soon)

    with pytest.raises(CannotResend, match="expired"):
        app.fullresult.resend_scheduled("one")

    assert state(app, "one") == "REVOKED"
    assert of_task(app, "one") == []


def test_who_was_faster_is_left_alone(make: MakeApp) -> None:
    """Between looking and taking, a sweeper took it."""
    app = make()
    overdue(app, "one")
    flaky = Flaky.under(app)
    take_over = flaky._storage.take_over

    def too_late(*given: Any, **options: Any) -> Any:
        claim(app, ago=timedelta(0))
        return take_over(*given, **options)

    flaky._storage.take_over = too_late

    with pytest.raises(CannotResend, match="faster"):
        app.fullresult.resend_scheduled("one")

    assert claimed(app) == ["one"]
    assert received(app) == []


def test_while_the_broker_is_away_it_stays_as_it_was(make: MakeApp) -> None:
    app = make(f"redis://127.0.0.1:{servers.free_port()}")
    later(app, "waits")
    overdue(app, "claimed", HOUR)
    claim(app)

    for task_id in ("waits", "claimed"):
        with pytest.raises(CannotResend, match="stays as it was"):
            app.fullresult.resend_scheduled(task_id)

    assert waiting(app) == ["waits"]
    assert claimed(app) == ["claimed"]


def test_what_is_no_message_stays_claimed_with_its_problem(make: MakeApp) -> None:
    app = make()
    altered(app, "bad", headers="{")

    with pytest.raises(CannotResend, match="not readable"):
        app.fullresult.resend_scheduled("bad")

    assert claimed(app) == ["bad"]
    assert "not readable" in (only(app, "bad").problem or "")


def test_what_is_for_another_broker_is_not_sent(make: MakeApp) -> None:
    ours, theirs = (make(fullresult_namespace=name) for name in ("a", "b"))
    later(theirs, "theirs")

    with pytest.raises(CannotResend, match="another broker"):
        ours.fullresult.resend_scheduled("theirs")

    assert waiting(ours) == ["theirs"]


# --- What is late


def test_what_is_due_for_too_long_is_stale_claimed_or_not(app: Celery) -> None:
    overdue(app, "claimed long ago", by=3 * HOUR)
    claim(app, ago=2 * HOUR)
    overdue(app, "waits", by=2 * HOUR)
    overdue(app, "a little late", by=timedelta(minutes=5))
    later(app, "not due")
    full = app.fullresult

    by_default = [s.task_id for s in full.get_stale_scheduled_tasks()]
    by_minute = [s.task_id for s in full.get_stale_scheduled_tasks(timedelta(minutes=1))]
    first = [s.task_id for s in full.get_stale_scheduled_tasks(limit=1)]

    assert by_default == ["claimed long ago", "waits"]
    assert by_minute == ["claimed long ago", "waits", "a little late"]
    assert first == ["claimed long ago"]


def test_how_late_is_too_late_is_a_setting(make: MakeApp) -> None:
    app = make(fullresult_stale_after="1m")
    overdue(app, "late", by=timedelta(minutes=2))

    assert [s.task_id for s in app.fullresult.get_stale_scheduled_tasks()] == ["late"]
    assert app.fullresult.get_stale_scheduled_tasks(HOUR) == []


def test_a_scheduled_task_is_no_stale_task(app: Celery) -> None:
    """Until it was sent, it is not expected to move."""
    overdue(app, "late", by=timedelta(days=2))

    assert app.fullresult.get_stale_tasks(timedelta(hours=1)) == []


# --- Revoking


@pytest.fixture(params=["before", "after"])
def revoking(request: pytest.FixtureRequest, storage_url: str) -> Iterator[Celery]:
    """An app whose control was made before `FullResult`, or after it."""
    with Celery("shop", set_as_current=False) as app:
        app.conf.update(
            broker_url="memory://",
            task_default_queue="revoking",
            fullresult_storage=storage_url,
            fullresult_schedule_eta=True,
        )
        if request.param == "before":
            assert app.control
        full = FullResult(app)
        yield app
        full.close()


def test_a_revoked_task_is_cancelled_whether_or_not_a_worker_runs(revoking: Celery) -> None:
    later(revoking, "one")
    later(revoking, "other")

    revoking.control.revoke("one")

    assert state(revoking, "one") == "REVOKED"
    assert waiting(revoking) == ["other"]


def test_a_list_of_tasks_is_revoked(revoking: Celery) -> None:
    for number in range(3):
        later(revoking, str(number))

    revoking.control.revoke(["0", "2", "unknown"])

    assert waiting(revoking) == ["1"]


@pytest.mark.parametrize("options", [{}, {"terminate": True, "signal": "SIGKILL"}, {"wait": False}])
def test_a_result_revokes_its_task(revoking: Celery, options: dict[str, Any]) -> None:
    later(revoking, "one")

    revoking.AsyncResult("one").revoke(**options)

    assert state(revoking, "one") == "REVOKED"


def test_a_group_of_results_is_revoked(revoking: Celery) -> None:
    for number in range(2):
        later(revoking, str(number))
    results = [revoking.AsyncResult(str(number)) for number in range(2)]

    GroupResult("group", results, app=revoking).revoke()

    assert waiting(revoking) == []


def test_terminate_is_a_revoke(revoking: Celery) -> None:
    later(revoking, "one")

    revoking.control.terminate("one")

    assert state(revoking, "one") == "REVOKED"


def test_a_broadcast_is_a_revoke(revoking: Celery) -> None:
    """As which the command line sends it."""
    later(revoking, "one")
    later(revoking, "two")

    revoking.control.broadcast("revoke", arguments={"task_id": ["one"]})
    revoking.control.broadcast("revoke", {"task_id": "two"})

    assert waiting(revoking) == []


def test_the_command_line_revokes(revoking: Celery) -> None:
    """`celery control revoke`; no worker answers, and it is cancelled all the same."""
    later(revoking, "one")
    revoking.set_default()
    arguments = ["-A", "unused", "control", "--timeout=0.1", "revoke", "one"]

    from celery.bin import celery as module

    original = module.find_app
    module.find_app = lambda *_, **__: revoking
    try:
        CliRunner().invoke(celery_command, arguments)
    finally:
        module.find_app = original

    assert state(revoking, "one") == "REVOKED"


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({"customer": "a"}, ["of b", "of nobody"]),
        ({"customer": ["a", "b"]}, ["of nobody"]),
        ({"customer": "z"}, ["of a", "of b", "of a and b", "of nobody"]),
        ({"colour": "a"}, ["of a", "of b", "of a and b", "of nobody"]),
    ],
)
def test_what_is_stamped_is_revoked_by_its_stamps(
    revoking: Celery, headers: dict[str, Any], left: list[str]
) -> None:
    for seconds, (task_id, customer) in enumerate(
        {"of a": "a", "of b": "b", "of a and b": ["a", "b"], "of nobody": None}.items()
    ):
        signature = revoking.signature("shop.charge", options={"task_id": task_id})
        if customer:
            signature.stamp(customer=customer)
        signature.apply_async(countdown=3600 + seconds)

    revoking.control.revoke_by_stamped_headers(headers)

    assert waiting(revoking) == left


def test_what_is_claimed_is_left_to_the_workers(revoking: Celery) -> None:
    overdue(revoking, "one", HOUR)
    claim(revoking)

    revoking.control.revoke("one")

    assert claimed(revoking) == ["one"]
    assert state(revoking, "one") == "SCHEDULED"


def test_other_commands_cancel_nothing(revoking: Celery) -> None:
    later(revoking, "one")

    revoking.control.broadcast("ping", arguments={"task_id": "one"})
    revoking.control.time_limit("shop.charge", 5)
    revoking.control.broadcast("shutdown")

    assert waiting(revoking) == ["one"]


def test_while_the_broker_is_away_it_is_cancelled_all_the_same(make: MakeApp) -> None:
    app = make(f"redis://127.0.0.1:{servers.free_port()}", broker_connection_timeout=0.2)
    app.conf.broker_transport_options = {"max_retries": 0}
    later(app, "one")

    with pytest.raises(OperationalError):
        app.control.revoke("one")

    assert state(app, "one") == "REVOKED"


def test_while_the_storage_is_away_the_workers_are_told_all_the_same(
    make: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make()
    later(app, "one")
    told: list[Any] = []
    app.control.mailbox._broadcast = lambda command, *_, **__: told.append(command)
    Flaky.under(app).fail("find_schedules")

    app.control.revoke("one")

    assert told == ["revoke"]
    assert "a scheduled task may not be revoked" in caplog.text


def test_without_scheduling_the_storage_is_not_asked(make: MakeApp) -> None:
    app = make(fullresult_schedule_eta=False)
    flaky = Flaky.under(app)

    app.control.revoke("one")

    assert flaky.calls == []


def test_a_control_of_ones_own_is_still_ones_own(tmp_path: Path) -> None:
    from celery.app.control import Control

    class Mine(Control):  # type: ignore[misc]
        pass

    with Celery("shop", broker="memory://", control=Mine, set_as_current=False) as app:
        app.conf.update(
            fullresult_storage=f"sqlite:///{tmp_path}/records.db", fullresult_schedule_eta=True
        )
        full = FullResult(app)
        later(app, "one")

        app.control.revoke("one")

        assert isinstance(app.control, Mine)
        assert state(app, "one") == "REVOKED"
        full.close()


def test_an_app_can_be_pickled_as_before(make: MakeApp) -> None:
    """As multiprocessing does that spawns; what comes out is an app without us."""
    app = make()

    copy = pickle.loads(pickle.dumps(app))

    assert isinstance(copy, Celery)
    assert copy.main == "shop"
    assert copy.control is not None


# --- Groups


def test_members_of_a_group_are_scheduled_and_cancelled_one_by_one(make: MakeApp) -> None:
    app = make()
    members = [app.signature("shop.charge", (n,), options={"task_id": str(n)}) for n in range(3)]

    group(members, app=app).apply_async(countdown=3600)
    app.fullresult.cancel("1")

    assert sorted(waiting(app)) == ["0", "2"]
    (group_id,) = {app.fullresult.get(str(n)).group_id for n in range(3)}
    assert app.fullresult.count_scheduled(group_id=group_id) == 2


# --- A storage that is away


@pytest.mark.parametrize("method", ["cancel", "release", "resend_scheduled"])
def test_a_storage_that_is_away_is_an_error(make: MakeApp, method: str) -> None:
    app = make()
    later(app, "one")
    Flaky.under(app).fail("find_schedules")

    with pytest.raises(StorageError):
        getattr(app.fullresult, method)("one")
