"""The commands for what waits in the storage until it is due.

Long because it has a section for each command, all run on the same waiting tasks.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click
import pytest
from celery import Celery
from click.testing import CliRunner

from fullresult import FullResult
from fullresult.cli import typed_values
from fullresult.cli.group import fullresult
from fullresult.cli.schedule_table import show_schedules
from fullresult.cli.terminal import width
from fullresult.record import encoding
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.scheduling.schedule_events import ScheduleEvents
from tests.kit import workers
from tests.kit.commands import ids, on_a_terminal, run, sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.servers import FilesystemBroker

HOSTILE = "\x1b]0;owned\x07\x1b[2Jred\r\n\twaits\x9b31m\u202egnp\u2028\x00\ud800"
HOUR = timedelta(hours=1)
_APP = """
from celery import Celery
from fullresult import FullResult
from fullresult.record import encoding

app = Celery("proj")
app.conf.update({settings!r})
FullResult(app)
"""


@pytest.fixture
def settings(tmp_path: Path, filesystem_broker: FilesystemBroker) -> dict[str, Any]:
    return {
        **filesystem_broker.settings,
        "fullresult_storage": f"sqlite:///{tmp_path / 'memory.db'}",
        "fullresult_schedule_eta": True,
    }


@pytest.fixture
def app(settings: dict[str, Any], tmp_path: Path) -> Iterator[Celery]:
    """A recorded app whose tasks with an ETA wait in the storage."""
    app = Celery("proj", set_as_current=False)
    app.conf.update(settings)
    full = FullResult(app)
    (tmp_path / "memory.db").touch()
    yield app
    full.close()
    app.close()


@pytest.fixture
def proj(tmp_path: Path, settings: dict[str, Any]) -> Path:
    """A directory with `proj.py`, whose app has the memory and broker of `app`."""
    (tmp_path / "proj.py").write_text(_APP.format(settings=settings))
    return tmp_path


def later(app: Celery, task_id: str, name: str = "shop.charge", **options: Any) -> None:
    """Schedule a task through the app, due in an hour if nothing else is said."""
    app.send_task(name, (7,), {"card": "x"}, task_id=task_id, **{"countdown": 3600} | options)


def only(app: Celery, task_id: str) -> Schedule:
    """The one schedule of a task."""
    storage = app.fullresult.storage
    (found,) = storage.find_schedules(ScheduleQuery(task_ids=[encoding.key(task_id)]))
    assert isinstance(found, Schedule)
    return found


def overdue(app: Celery, task_id: str, by: timedelta = 2 * HOUR, **changes: Any) -> None:
    """Schedule a task that is due so long ago; *changes* are fields of its schedule."""
    full = app.fullresult
    later(app, task_id, changes.get("name", "shop.charge"))
    made = only(app, task_id)
    full.storage.withdraw(made.schedule_id)
    texts = {k: encoding.key(v) for k, v in changes.items() if k in {"name", "queue", "namespace"}}
    schedule = made._replace(
        **{"schedule_id": uuid4().hex, "due": full.storage.now() - by, **changes, **texts}
    )
    event = ScheduleEvents(full.settings).moved(schedule, schedule.due)
    full.storage.schedule(schedule, event)


def die_with(app: Celery, *, ago: timedelta = 2 * HOUR - timedelta(minutes=1)) -> None:
    """What a sweeper leaves behind that claimed what was due then, and was killed."""
    full = app.fullresult
    full.storage.claim_due(full.settings.namespace, full.storage.now() - ago, "dead", 100)


# --- scheduled


def test_scheduled_lists_the_first_due_first_with_tabs_in_a_pipe(app: Celery) -> None:
    later(app, "second", countdown=7200)
    later(app, "first", queue="urgent")
    app.send_task("now")

    result = run(app, "scheduled")

    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["first", "second"]
    _, due, name, queue, status, since, problem, namespace, call = rows[0]
    assert datetime.fromisoformat(due) == only(app, "first").due
    assert datetime.fromisoformat(since) == only(app, "first").date_scheduled
    assert (name, queue, status, problem) == ("shop.charge", "urgent", "waits", "")
    assert namespace == app.fullresult.settings.namespace
    assert call == "shop.charge(7, card='x')"


def test_scheduled_says_what_is_claimed_since_when_and_what_its_problem_is(app: Celery) -> None:
    overdue(app, "a")
    die_with(app)
    claimed = only(app, "a")
    app.fullresult.storage.mark_problem("dead", claimed.schedule_id, "the broker\nhung up")

    row = run(app, "scheduled").stdout.splitlines()[0].split("\t")

    assert row[4] == "claimed"
    assert datetime.fromisoformat(row[5]) == claimed.date_claimed
    assert row[6] == "the broker\\nhung up"


@pytest.mark.parametrize(
    "filters",
    [
        ["--name", "*charge"],
        ["--queue", "urgent"],
        ["--state", "scheduled", "--queue", "urgent"],
        ["--kwarg", "card=x", "--text", "the-one"],
        ["--arg", "7", "--name", "shop.charge"],
        ["--waiting"],
        ["--due-until", "in 90m", "--waiting"],
        ["--waiting", "--limit", "1"],
    ],
    ids=" ".join,
)
def test_every_filter_of_scheduled_narrows(app: Celery, filters: list[str]) -> None:
    overdue(app, "claimed", name="other")
    die_with(app)
    later(app, "the-one", queue="urgent")

    result = run(app, "scheduled", *filters)

    assert result.exit_code == 0, result.output
    assert ids(result) == ["the-one"]


def test_claimed_ones_can_be_asked_for(app: Celery) -> None:
    overdue(app, "claimed")
    die_with(app)
    later(app, "waits")

    assert ids(run(app, "scheduled", "--claimed")) == ["claimed"]
    assert ids(run(app, "scheduled", "--due-until", "1h ago")) == ["claimed"]


def test_the_cursor_of_scheduled_leads_through_all_pages(app: Celery) -> None:
    for number in range(5):
        later(app, str(number), countdown=3600 + number)

    found: list[str] = []
    more: list[str] = []
    for _ in range(3):
        page = json.loads(run(app, "scheduled", "--json", "--limit", "2", *more).stdout)
        found += [schedule["task_id"] for schedule in page["schedules"]]
        more = ["--after", page["next"]]

    assert found == ["0", "1", "2", "3", "4"]
    assert page["next"] is None
    assert "More follow: --after '" in run(app, "scheduled", "--limit", "2").stderr


def test_json_has_every_field_but_the_message(app: Celery) -> None:
    """The message is stored whole where the record hides a part of it."""
    app.conf.fullresult_schedule_redacted = True
    later(app, "a", argsrepr="***")

    (shown,) = json.loads(run(app, "scheduled", "--json").stdout)["schedules"]

    assert shown.keys() == {*Schedule._fields, "claimed", "outbox", "call"} - {
        "body",
        "headers",
        "how",
    }
    assert shown["claimed"] is False
    assert shown["call"] == "shop.charge(card='x')"
    assert datetime.fromisoformat(shown["due"]) == only(app, "a").due


def test_nothing_scheduled_is_no_error_and_says_where_it_looked(app: Celery) -> None:
    result = run(app, "scheduled", "--state", "SCHEDULED")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "memory.db" in result.stderr


@pytest.mark.parametrize("command", ["scheduled", "scheduled --json", "cancel --yes"])
def test_a_state_that_nothing_waits_in_and_celery_does_not_know_is_wrong_usage(
    app: Celery, command: str
) -> None:
    result = run(app, *command.split(), "--state", "SCHEDULE")

    assert result.exit_code == 2
    assert "in the state 'SCHEDULE'" in result.stderr


def test_cancel_of_what_is_not_scheduled_asks_nothing(app: Celery) -> None:
    result = run(app, "cancel", "nosuch")

    assert result.exit_code == 1
    assert "Cancel" not in result.stderr.replace("Cancelled", "")
    assert "nosuch" in result.stderr


# --- show


def test_show_tells_of_what_waits_of_a_task(app: Celery) -> None:
    overdue(app, "a")
    die_with(app)
    claimed = only(app, "a")
    app.fullresult.storage.mark_problem("dead", claimed.schedule_id, "the broker\nhung up")

    shown = run(app, "show", "a").stdout
    document = json.loads(run(app, "show", "a", "--json").stdout)

    section = shown.partition("\nSchedule\n")[2].partition("\n\n")[0].splitlines()
    labels = [line.split()[0] for line in section]
    assert labels == ["due", "since", "claimed", "problem", "queue", "namespace"]
    assert "the broker hung up" in section[3]
    assert document["schedules"][0]["schedule_id"] == claimed.schedule_id


def test_show_of_a_task_that_nothing_waits_of_has_no_schedule(app: Celery) -> None:
    app.send_task("t", task_id="a")

    assert "Schedule" not in run(app, "show", "a").stdout
    assert json.loads(run(app, "show", "a", "--json").stdout)["schedules"] == []


# --- cancel


def test_cancel_by_id_prints_what_it_cancelled(app: Celery) -> None:
    later(app, "a")
    later(app, "b")

    result = run(app, "cancel", "a", "--yes")

    assert result.exit_code == 0, result.output
    assert ids(result) == ["a"]
    assert app.fullresult.get("a").state == "REVOKED"
    assert ids(run(app, "scheduled")) == ["b"]


def test_cancel_shows_what_it_will_cancel_and_asks(app: Celery) -> None:
    later(app, "a")

    refused = run(app, "cancel", "a", answer="n\n")
    agreed = run(app, "cancel", "--name", "shop.*", answer="y\n")

    assert refused.exit_code == 1
    assert "shop.charge" in refused.stderr
    assert "Cancel 1 task for good?" in refused.stderr
    assert agreed.exit_code == 0
    assert ids(agreed)[-1] == "a"


def test_cancel_by_filter_cancels_each_match_the_first_due_first(app: Celery) -> None:
    for number in range(12):
        later(app, f"{number:02d}", countdown=3600 + number)
    later(app, "other", name="other", countdown=7200)

    result = run(app, "cancel", "--name", "shop.*", "--limit", "11", "--yes")

    assert result.exit_code == 0, result.output
    assert ids(result) == [f"{number:02d}" for number in range(11)]
    assert ids(run(app, "scheduled")) == ["11", "other"]


def test_what_cannot_be_cancelled_is_reported_and_the_rest_goes_on(app: Celery) -> None:
    overdue(app, "claimed")
    die_with(app)
    app.send_task("t", task_id="sent")
    later(app, "a")

    result = run(app, "cancel", "claimed", "sent", "nobody", "a", "--yes")

    assert result.exit_code == 1
    assert ids(result) == ["a"]
    reasons = result.stderr.splitlines()
    assert reasons[0].startswith("task 'claimed' was claimed by a sweeper at ")
    assert reasons[1] == "task 'sent' is not scheduled: it is PENDING"
    assert reasons[2] == "no task 'nobody' is recorded"
    assert reasons[3] == "Error: cancelled 1; 3 tasks could not be cancelled"


def test_cancel_by_filter_finds_nothing_and_is_content(app: Celery) -> None:
    result = run(app, "cancel", "--name", "nothing", "--yes")

    assert result.exit_code == 0
    assert "nothing is cancelled" in result.stderr


def test_reschedule_may_say_how_much_later_than_it_is_due(app: Celery) -> None:
    later(app, "a")
    due = only(app, "a").due

    result = run(app, "reschedule", "a", "--eta", "+1h30m")

    assert result.exit_code == 0, result.stderr
    assert only(app, "a").due == due + timedelta(minutes=90)
    assert "a is due at " in result.stdout
    refused = run(app, "reschedule", "a", "--eta", "+90")
    assert (refused.exit_code, only(app, "a").due) == (2, due + timedelta(minutes=90))
    far = run(app, "reschedule", "a", "--eta", "+300000d")
    assert far.exit_code == 0
    beyond = [run(app, "reschedule", "a", "--eta", "+365000d") for _ in range(8)][-1]
    assert beyond.exit_code == 1
    assert "after the year 9999" in beyond.stderr


@pytest.mark.parametrize("arguments", [[], ["--yes"], ["--limit", "3"], ["a", "--name", "t"]])
def test_cancel_wants_ids_or_filters(app: Celery, arguments: list[str]) -> None:
    assert run(app, "cancel", *arguments).exit_code == 2


# --- reschedule


def test_reschedule_by_countdown_counts_from_now(app: Celery) -> None:
    later(app, "a")
    now = app.fullresult.storage.now()

    result = run(app, "reschedule", "a", "--countdown", "1h30m")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("a is due at ")
    assert timedelta(0) <= only(app, "a").due - now - 1.5 * HOUR < timedelta(minutes=1)


@pytest.mark.parametrize("eta", ["2199-01-31T14:00+02:00", "2199-01-31T12:00Z"])
def test_reschedule_by_date(app: Celery, eta: str) -> None:
    later(app, "a")

    result = run(app, "reschedule", "a", "--eta", eta)

    assert result.exit_code == 0, result.output
    assert only(app, "a").due == datetime(2199, 1, 31, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--eta", "now", "--countdown", "1h"],
        ["--eta", "2h"],
        ["--eta", "1969-12-31"],
        ["--eta", "in 9999999w"],
        ["--eta", "soon"],
        ["--countdown", "soon"],
        ["--countdown", "99999999d"],
    ],
    ids=" ".join,
)
def test_reschedule_wants_one_date_that_is_one(app: Celery, arguments: list[str]) -> None:
    later(app, "a")
    before = only(app, "a")

    result = run(app, "reschedule", "a", *arguments)

    assert result.exit_code == 2, result.output
    assert only(app, "a") == before


def test_what_was_claimed_is_not_rescheduled(app: Celery) -> None:
    overdue(app, "a")
    die_with(app)
    before = only(app, "a")

    result = run(app, "reschedule", "a", "--eta", "in 2h")

    assert result.exit_code == 1
    assert "Error: task 'a' was claimed by a sweeper at " in result.stderr
    assert only(app, "a") == before


def test_a_moment_may_be_past_or_to_come_and_says_which() -> None:
    now = datetime.now(timezone.utc)

    ahead, ago = typed_values.moment("in 2h"), typed_values.moment("2h ago")

    assert timedelta(0) <= ahead - now - 2 * HOUR < timedelta(seconds=10)
    assert timedelta(0) <= ago - now + 2 * HOUR < timedelta(seconds=10)
    assert typed_values.moment("2026-01-31") == datetime(2026, 1, 31).astimezone()
    for neither in ("2h", "", "in", "in 2", "in 2h ago", "2026", "ago"):
        with pytest.raises(click.BadParameter):
            typed_values.moment(neither)


# --- stale-scheduled


def test_what_was_claimed_and_not_marked_sent_is_stale_scheduled(app: Celery) -> None:
    overdue(app, "a")
    die_with(app)

    result = run(app, "stale-scheduled", "--hours", "1")

    assert result.exit_code == 3
    assert ids(result) == ["a"]
    assert "1 task claimed and never marked sent" in result.stderr
    assert "resend-scheduled ID" in result.stderr
    assert "never claimed" not in result.stderr


def test_what_was_due_and_never_claimed_is_stale_scheduled(app: Celery) -> None:
    overdue(app, "a")
    overdue(app, "younger", HOUR / 2)
    later(app, "later")

    result = run(app, "stale-scheduled", "--hours", "1")

    assert result.exit_code == 3
    assert ids(result) == ["a"]
    assert "1 task due and never claimed: no sweeper is at work" in result.stderr
    assert "Start a worker" in result.stderr
    assert "No sweeper of this app was ever at work." in result.stderr


def test_what_was_claimed_just_now_is_said_to_be_on_its_way(app: Celery) -> None:
    overdue(app, "a")
    die_with(app, ago=timedelta(seconds=1))

    listed = run(app, "stale-scheduled")
    sent_again = run(app, "resend-scheduled", "--all", "--seconds", "0", "--yes")

    assert listed.exit_code == 3
    assert "1 task claimed within the last minute: about to be sent." in listed.stderr
    assert "resend-scheduled ID" not in listed.stderr
    assert "Nothing is overdue" in sent_again.stderr
    assert only(app, "a").claim == "dead"


def test_overdue_ones_of_another_broker_are_stale_scheduled_too(app: Celery) -> None:
    overdue(app, "theirs", namespace="amqp://elsewhere/staging")

    result = run(app, "stale-scheduled", "--hours", "1")

    assert result.exit_code == 3
    assert ids(result) == ["theirs"]
    assert "1 task for another broker" in result.stderr
    assert "fullresult_namespace" in result.stderr


def test_nothing_overdue_says_so_and_when_a_sweeper_was_at_work(app: Celery) -> None:
    later(app, "a")
    full = app.fullresult
    full.storage.note_sweep(full.settings.namespace, full.storage.now() - timedelta(minutes=3))

    result = run(app, "stale-scheduled", "--older-than", "5m")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "Nothing is overdue: all that was due 5 m 00 s ago is sent." in result.stderr
    assert "A sweeper of this app was last at work 3 m 0" in result.stderr


def test_stale_scheduled_as_json_says_all_of_it(app: Celery) -> None:
    overdue(app, "a")
    die_with(app)
    overdue(app, "b", 3 * HOUR / 2)
    full = app.fullresult
    at = full.storage.now()
    full.storage.note_sweep(full.settings.namespace, at)

    result = run(app, "stale-scheduled", "--hours", "1", "--json")
    first = run(app, "stale-scheduled", "--hours", "1", "--json", "--limit", "1")

    assert result.exit_code == 3
    shown = json.loads(result.stdout)
    assert [(s["task_id"], s["claimed"]) for s in shown["schedules"]] == [("a", True), ("b", False)]
    assert shown["more"] is False
    assert shown["namespace"] == full.settings.namespace
    assert datetime.fromisoformat(shown["last_sweep"]) == at
    assert json.loads(first.stdout)["more"] is True


def test_too_long_is_an_hour_if_nothing_is_said(app: Celery) -> None:
    overdue(app, "a", HOUR / 2)

    assert run(app, "stale-scheduled").exit_code == 0
    assert run(app, "stale-scheduled", "--minutes", "20").exit_code == 3
    assert run(app, "stale-scheduled", "--days", "99999999").exit_code == 2


# --- resend-scheduled, release


def test_resend_scheduled_sends_now_under_its_own_id(app: Celery) -> None:
    overdue(app, "a")
    die_with(app)
    later(app, "b")

    result = run(app, "resend-scheduled", "a", "b", "--yes")

    assert result.exit_code == 0, result.output
    assert ids(result) == ["a", "b"]
    assert sent(app) == ["a", "b"]
    assert app.fullresult.get("a").state == "SCHEDULED_SENT"
    assert run(app, "scheduled").stdout == ""


def test_resend_scheduled_shows_what_it_will_send_and_asks(app: Celery) -> None:
    overdue(app, "a")
    die_with(app)

    refused = run(app, "resend-scheduled", "a", answer="n\n")
    agreed = run(app, "resend-scheduled", "a", answer="y\n")

    assert refused.exit_code == 1
    assert "shop.charge" in refused.stderr
    assert "claimed" in refused.stderr
    assert "Send 1 task? What was sent already runs twice." in refused.stderr
    assert agreed.exit_code == 0
    assert sent(app) == ["a"]


def test_all_stale_ones_are_sent_but_none_that_may_be_on_its_way(app: Celery) -> None:
    """Not a claim of this minute, though it was due for hours; nor another broker's."""
    overdue(app, "stale")
    die_with(app)
    overdue(app, "waits")
    overdue(app, "just claimed", 4 * HOUR)
    full = app.fullresult
    full.storage.claim_due(full.settings.namespace, full.storage.now(), "alive", 1)
    overdue(app, "theirs", namespace="amqp://elsewhere/staging")

    result = run(app, "resend-scheduled", "--all", "--hours", "1", "--yes")

    assert result.exit_code == 0, result.output
    assert ids(result) == ["stale", "waits"]
    assert sent(app) == ["stale", "waits"]
    assert sorted(ids(run(app, "scheduled"))) == ["just claimed", "theirs"]


def test_what_cannot_be_sent_now_is_reported(app: Celery) -> None:
    later(app, "a")
    app.send_task("t", task_id="sent")

    result = run(app, "resend-scheduled", "sent", "nobody", "a", "--yes")

    assert result.exit_code == 1
    assert ids(result) == ["a"]
    assert "sent" in result.stderr.splitlines()[0]
    assert "nobody" in result.stderr.splitlines()[1]
    assert "Error: sent 1; 2 tasks could not be sent" in result.stderr


def test_a_broker_that_does_not_answer_ends_resend_scheduled(tmp_path: Path) -> None:
    app = Celery("proj", broker="amqp://127.0.0.1:1", set_as_current=False)
    app.conf.update(
        fullresult_storage=f"sqlite:///{tmp_path / 'memory.db'}", fullresult_schedule_eta=True
    )
    full = FullResult(app)
    for number in range(5):
        overdue(app, str(number))

    result = run(app, "resend-scheduled", "--all", "--yes")

    assert result.exit_code == 1
    assert result.stderr.count("refused") == 3
    assert "the broker does not answer; sent 0, and gave up" in result.stderr
    assert full.count_scheduled() == 5
    full.close()
    app.close()


def test_release_gives_back_what_was_claimed(app: Celery) -> None:
    overdue(app, "a")
    die_with(app)
    later(app, "b")

    result = run(app, "release", "a", "b", "nobody", "--yes")

    assert result.exit_code == 1
    assert ids(result) == ["a"]
    assert "task 'b' is not claimed: it waits for a sweeper" in result.stderr
    assert "no task 'nobody' is recorded" in result.stderr
    assert "Error: released 1; 2 tasks could not be released" in result.stderr
    assert not only(app, "a").claimed


def test_release_all_releases_what_was_claimed_for_too_long(app: Celery) -> None:
    overdue(app, "stale")
    die_with(app)
    overdue(app, "waits")
    overdue(app, "just claimed", 4 * HOUR)
    full = app.fullresult
    full.storage.claim_due(full.settings.namespace, full.storage.now(), "alive", 1)

    refused = run(app, "release", "--all", "--hours", "1", answer="n\n")
    result = run(app, "release", "--all", "--hours", "1", answer="y\n")
    again = run(app, "release", "--all", "--hours", "1", "--yes")

    assert refused.exit_code == 1
    assert "Release 1 task? What was sent already runs twice." in refused.stderr
    assert result.exit_code == 0, result.output
    assert ids(result)[-1] == "stale"
    assert only(app, "just claimed").claim == "alive"
    assert again.exit_code == 0
    assert "Nothing is overdue and claimed for 1 h 00 m;" in again.stderr


@pytest.mark.parametrize("command", ["resend-scheduled", "release"])
@pytest.mark.parametrize(
    "arguments", [[], ["--yes"], ["a", "--all"], ["--hours", "1"], ["a", "--limit", "1"]]
)
def test_mending_wants_ids_or_all(app: Celery, command: str, arguments: list[str]) -> None:
    assert run(app, command, *arguments).exit_code == 2


# --- sweep


def test_sweep_sends_what_is_due_and_no_more(app: Celery) -> None:
    overdue(app, "a")
    overdue(app, "b")
    later(app, "later")

    result = run(app, "sweep")

    assert result.exit_code == 0, result.output
    assert result.stdout == "Sent 2 tasks.\n"
    assert result.stderr == ""
    assert sent(app) == ["a", "b"]
    assert ids(run(app, "scheduled")) == ["later"]


def test_sweep_reports_what_had_expired_and_what_is_no_message(app: Celery) -> None:
    overdue(app, "a")
    headers = json.loads(only(app, "a").headers)
    past = {**headers, "id": "late", "expires": "2001-01-01T00:00:00+00:00"}
    overdue(app, "late", headers=json.dumps(past))
    overdue(app, HOSTILE, headers="[]")

    result = run(app, "sweep", "--once")

    assert result.exit_code == 1
    assert "sent 1 task, 1 had expired, 1 could not be (see `stale-scheduled`)" in result.stderr
    assert {c for c in result.output if not c.isprintable()} <= {"\n"}
    assert sent(app) == ["a"]
    assert run(app, "stale-scheduled", "--seconds", "0").exit_code == 3


def test_sweep_says_that_the_broker_is_down_and_claims_nothing(tmp_path: Path) -> None:
    app = Celery("proj", broker="amqp://127.0.0.1:1", set_as_current=False)
    app.conf.update(
        fullresult_storage=f"sqlite:///{tmp_path / 'memory.db'}", fullresult_schedule_eta=True
    )
    full = FullResult(app)
    overdue(app, "a")

    result = run(app, "sweep")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the broker does not take messages: ")
    assert not only(app, "a").claimed
    full.close()
    app.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_through_celery_a_loop_sends_what_becomes_due_until_it_is_told_to_stop(
    app: Celery, proj: Path, number: signal.Signals
) -> None:
    overdue(app, "a")
    sweeper = _celery(proj, "-A", "proj", "fullresult", "sweep", "--loop")
    try:
        _until(lambda: app.fullresult.get("a").state == "SCHEDULED_SENT")
        later(app, "soon", countdown=0.2)
        _until(lambda: app.fullresult.get("soon").state == "SCHEDULED_SENT")

        sweeper.send_signal(number)
        output, errors = sweeper.communicate(timeout=30)
    finally:
        sweeper.kill()

    assert sweeper.returncode == 0, errors
    assert output == "Sent 2 tasks.\n"
    assert errors == "Sweeping; Ctrl-C ends it.\n"
    assert sent(app) == ["a", "soon"]


def test_through_celery_a_sweep_that_is_stopped_leaves_nothing_claimed(
    app: Celery, proj: Path
) -> None:
    for number in range(300):
        overdue(app, str(number))
    full = app.fullresult

    sweeper = _celery(proj, "-A", "proj", "fullresult", "sweep")
    try:
        _until(lambda: full.count_scheduled() < 300)
        sweeper.send_signal(signal.SIGTERM)
        output, errors = sweeper.communicate(timeout=30)
    finally:
        sweeper.kill()

    waiting = full.count_scheduled(claimed=False)
    said = "and was stopped before all that is due was" if waiting else "Sent 300 tasks."
    assert said in output + errors
    assert full.count_scheduled(claimed=True) == 0
    assert len(sent(app)) == 300 - waiting


def test_on_a_terminal_a_sweep_counts(app: Celery, proj: Path) -> None:
    for number in range(3):
        overdue(app, str(number))

    said = on_a_terminal(proj, "-A", "proj", "fullresult", "sweep")

    assert "\r3 sent\r\n" in said
    assert said.endswith("Sent 3 tasks.\r\n")


# --- Hostile text


@pytest.mark.parametrize(
    "command",
    [
        ["scheduled"],
        ["scheduled", "--json"],
        ["show", "a"],
        ["stale-scheduled"],
        ["stale-scheduled", "--json"],
        ["cancel", "--text", "a"],
        ["cancel", "a", HOSTILE, "--yes"],
        ["reschedule", HOSTILE, "--eta", "now"],
        ["resend-scheduled", "--all"],
        ["resend-scheduled", HOSTILE, "x" + HOSTILE, "--yes"],
        ["release", "--all"],
        ["release", HOSTILE, "x" + HOSTILE, "--yes"],
    ],
    ids=" ".join,
)
def test_nothing_a_task_says_reaches_the_terminal_as_a_command(
    app: Celery, command: list[str]
) -> None:
    """Names, ids, queues, problems and namespaces are escaped."""
    for task_id in ("a", HOSTILE):
        overdue(app, task_id, name=f"shop.{HOSTILE}", queue=HOSTILE)
    overdue(app, f"claimed {HOSTILE}", 3 * HOUR, name=HOSTILE)
    die_with(app, ago=2.5 * HOUR)
    claimed = only(app, f"claimed {HOSTILE}")
    app.fullresult.storage.mark_problem("dead", claimed.schedule_id, encoding.clean(HOSTILE))
    overdue(app, f"theirs {HOSTILE}", namespace=HOSTILE)

    result = run(app, *command)

    assert result.exit_code in {0, 1, 3}, result.output
    assert result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert {c for c in result.output if not c.isprintable()} <= set("\n\t")


def test_a_table_is_as_wide_as_its_terminal_whatever_is_in_it(
    app: Celery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, text in enumerate(("x" * 5000, "日本語" * 100, "a" + "\u0301" * 5000, HOSTILE)):
        overdue(app, f"id{number}", name=text, queue=text, namespace=text)
    monkeypatch.setenv("COLUMNS", "100")
    full = app.fullresult

    show_schedules(full, full.scheduled(), table=True)

    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 5
    assert rows[0].split()[:3] == ["DUE", "ID", "STATUS"]
    assert max(map(width, rows)) <= 100


# --- Everywhere


@pytest.mark.parametrize("storage_kind", workers.storages("postgresql"), indirect=True)
def test_the_commands_work_on_every_storage(
    storage_url: str, filesystem_broker: FilesystemBroker
) -> None:
    app = Celery("proj", set_as_current=False)
    app.conf.update(
        {
            **filesystem_broker.settings,
            "fullresult_storage": storage_url,
            "fullresult_schedule_eta": True,
        }
    )
    full = FullResult(app)
    later(app, "a")
    later(app, "b", queue="urgent")
    overdue(app, "stale")
    die_with(app)

    listed = run(app, "scheduled", "--waiting", "--kwarg", "card=x", "--queue", "urgent")
    stale = run(app, "stale-scheduled")
    moved = run(app, "reschedule", "a", "--eta", "now")
    cancelled = run(app, "cancel", "--queue", "urgent", "--yes")
    released = run(app, "release", "--all", "--yes")
    swept = run(app, "sweep")

    assert ids(listed) == ["b"]
    assert ids(stale) == ["stale"]
    assert moved.exit_code == 0, moved.output
    assert ids(cancelled) == ["b"]
    assert ids(released) == ["stale"]
    assert swept.stdout == "Sent 2 tasks.\n"
    assert sent(app) == ["a", "stale"]
    full.close()
    app.close()


@pytest.mark.parametrize(
    "command",
    [
        "scheduled",
        "cancel",
        "reschedule",
        "stale-scheduled",
        "resend-scheduled",
        "release",
        "sweep",
    ],
)
def test_the_help_of_every_command_has_examples(command: str) -> None:
    result = CliRunner().invoke(fullresult, [command, "--help"])

    assert result.exit_code == 0
    assert f"\n  celery -A proj fullresult {command}" in result.output


@pytest.mark.parametrize(
    "command",
    [
        ["scheduled"],
        ["cancel", "a", "--yes"],
        ["reschedule", "a", "--eta", "now"],
        ["stale-scheduled"],
        ["resend-scheduled", "--all"],
        ["release", "a", "--yes"],
        ["sweep"],
    ],
    ids=" ".join,
)
def test_a_storage_that_cannot_be_used_is_one_sentence(command: list[str]) -> None:
    app = Celery("proj", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = "sqlite:////no/such/directory/x.db"
    FullResult(app)

    result = run(app, *command)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "/no/such/directory/x.db" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def _until(holds: Any) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def _celery(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "celery", *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_sweep_is_told_once_or_loop_and_not_both(app: Celery) -> None:
    refused = run(app, "sweep", "--once", "--loop")

    assert refused.exit_code == 2
    assert "give --once or --loop, not both" in refused.stderr
