"""`replay` on the command line: what it shows before, what it refuses, what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import click
import pytest
from celery import Celery

from fullresult.actions.replays import MANY, Stop
from fullresult.cli.commands import replay as command
from fullresult.cli.replay_preview import rate
from fullresult.record.replay import ACTIVE
from tests.kit import browsing
from tests.kit.commands import ids, run
from tests.kit.heartbeats import confirming


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop(f"sqlite:///{tmp_path / 'records.db'}") as app:
        yield app


def begin(app: Celery, *options: str) -> str:
    result = run(app, "replay", "create", "--state", "FAILURE", "--yes", *options)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def test_create_shows_what_would_be_sent_asks_and_prints_the_id(app: Celery) -> None:
    browsing.failed(app, 12)
    full = app.fullresult
    full.resend(full.find(limit=1)[0])

    no = run(app, "replay", "create", "--state", "FAILURE", answer="n\n")
    yes = run(app, "replay", "create", "--state", "FAILURE", "--rate", "60/m", answer="y\n")

    assert no.exit_code == 1
    assert "About to send again 11 tasks:" in no.stderr
    assert "11 shop.charge to queue-" in no.stderr
    every = run(app, "replay", "create", "--state", "FAILURE", "--all", "--dry-run")
    assert "About to send again 12 tasks:" in every.stderr
    assert "Left out: 1 sent again already" in every.stderr
    assert "At 20/s that takes 0:00:01." in no.stderr
    assert "No sweeper was at work within the last minute" in no.stderr
    (replay,) = full.replays.list()
    assert (yes.exit_code, yes.stdout.splitlines()[-1]) == (0, replay.replay_id)
    assert (replay.rate, replay.state) == (1.0, "RUNNING")


def test_the_options_are_those_of_the_replay(app: Celery) -> None:
    browsing.failed(app, 1)

    replay_id = begin(
        app,
        *("--canary", "3", "--canary-wait", "90s", "--stop-if", ">5% of 50"),
        *("--label", "after the outage", "--to-queue", "slow", "--name", "shop.*"),
    )

    found = app.fullresult.replays.get(replay_id)
    assert (found.state, found.canary, found.canary_wait) == ("CANARY", 3, 90.0)
    assert (found.ratio, found.minimum) == (0.05, 50)
    assert (found.name, found.queue) == ("after the outage", "slow")
    assert found.tasks.name == "shop.*"
    assert found.date_created - timedelta(minutes=1) < found.tasks.until <= found.date_created


def test_a_dry_run_begins_nothing(app: Celery) -> None:
    browsing.failed(app, 2)

    shown = run(app, "replay", "create", "--state", "FAILURE", "--dry-run", "--json")

    found = json.loads(shown.stdout)
    assert (found["count"], found["left_out"], found["swept"]) == (2, {}, False)
    assert found["kinds"][0]["count"] == 2
    assert app.fullresult.replays.list() == []


def test_a_replay_is_listed_shown_paused_resumed_and_cancelled(app: Celery) -> None:
    browsing.failed(app, 3)
    replay_id = begin(app, "--label", "\x1b[2Jred")

    listed = run(app, "replay", "list")
    assert ids(listed) == [replay_id]
    assert "\x1b" not in listed.stdout
    assert listed.stdout.split("\t")[1] == "RUNNING"
    assert json.loads(run(app, "replay", "list", "--json").stdout)[0]["rate"] == 20.0

    paused = run(app, "replay", "pause", replay_id)
    assert f"{replay_id} (\\x1b[2Jred) is PAUSED: paused by" in paused.stdout
    again = run(app, "replay", "pause", replay_id)
    assert (again.exit_code, again.stderr.startswith("Error: replay")) == (1, True)

    assert run(app, "replay", "resume", replay_id).exit_code == 0
    shown = json.loads(run(app, "replay", "show", replay_id, "--json").stdout)
    assert (shown["state"], shown["progress"]["taken"]) == ("RUNNING", 0)
    assert (
        datetime.fromisoformat(shown["query"]["until"])
        == app.fullresult.replays.get(replay_id).tasks.until
    )

    cancelled = run(app, "replay", "cancel", replay_id)
    assert cancelled.stderr == "Cancelled 0 tasks that had not been sent.\n"
    followed = run(app, "replay", "show", replay_id, "--follow")
    assert "is CANCELLED" in followed.stdout


def test_undo_asks_and_prints_what_ran(app: Celery) -> None:
    browsing.failed(app, 2)
    replay_id = begin(app, "--rate", "1000/s")
    full = app.fullresult
    sweeper = full.parts.new_sweeper()
    while full.replays.get(replay_id).state in ACTIVE:
        sweeper.sweep()
    sweeper.close()
    ran = str(browsing.sent(app)[0]["id"])
    browsing.ran(app, ran, "shop.charge")

    assert run(app, "replay", "undo", replay_id, answer="n\n").exit_code == 1
    nobody = run(app, "replay", "undo", replay_id, "--yes")
    with confirming(app):
        undone = run(app, "replay", "undo", replay_id, "--yes")

    assert (nobody.exit_code, nobody.stdout) == (1, f"{ran}\n")
    assert "1 task may still run: no worker is alive; undo it again" in nobody.stderr
    assert undone.stdout == f"{ran}\n"
    assert undone.stderr == "Cancelled 0, revoked 1, ran 1:\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "say which tasks"),
        (["--state", "FAILURE", "--rate", "20"], "write 20/s, 300/m or 100/h"),
        (["--state", "FAILURE", "--rate", "0/s", "--yes"], "rate must be more than 0"),
        (["--state", "FAILURE", "--rate", "0/s"], "rate must be more than 0"),
        (["--state", "FAILURE", "--rate", "0.001/h", "--yes"], "one a day or more"),
        (["--state", "FAILURE", "--rate", "9999/s", "--yes"], "at most 1000/s"),
        (["--state", "FAILURE", "--stop-if", "5"], "write '>5% of 50'"),
        (["--state", "FAILURE", "--stop-if", ">500%"], "a part from 0 to 1"),
        (["--state", "FAILURE", "--stop-if", ">5% of 0"], "1 or more ends"),
        (["--state", "FAILURE", "--canary", "0"], "canary"),
        (["--state", "FAILURE", "--canary-wait", "10"], "no unit"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_write(
    app: Celery, options: list[str], why: str
) -> None:
    browsing.failed(app, 1)

    result = run(app, "replay", "create", *options)

    assert result.exit_code == 2
    assert why in " ".join(result.stderr.split())
    assert app.fullresult.replays.list() == []


def test_an_unknown_replay_is_one_sentence(app: Celery) -> None:
    for verb in ("show", "pause", "resume", "cancel", "undo"):
        result = run(app, "replay", verb, "x")
        assert (result.exit_code, result.stderr) == (1, "Error: there is no replay 'x'\n")


def test_nothing_that_matches_begins_nothing(app: Celery) -> None:
    result = run(app, "replay", "create", "--state", "FAILURE", "--yes")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing is sent" in result.stderr


def test_rates_and_limits_are_read(app: Celery) -> None:
    assert app
    assert [rate(text) for text in ("20/s", "0.5 / s", "300/m", "1800/h")] == [
        *(20.0, 0.5, 5.0, 0.5)
    ]
    assert command.stop("> 2.5%") == Stop(0.025, 1)
    with pytest.raises(click.BadParameter):
        rate("fast")


def swept(app: Celery) -> None:
    storage, namespace = app.fullresult.storage, app.fullresult.settings.namespace
    storage.note_sweep(namespace, storage.now())


def test_a_resend_of_many_becomes_a_replay_of_the_same(app: Celery) -> None:
    full = app.fullresult
    browsing.failed(app, MANY + 1)
    swept(app)

    shown = run(app, "resend", "--state", "FAILURE", "--rate", "5/s", "--dry-run")
    result = run(app, "resend", "--state", "FAILURE", "--rate", "5/s", answer="y\n")

    assert len(ids(shown)) == MANY + 1
    assert f"About to send again {MANY + 1} tasks:" in result.stderr
    assert "Have sweepers send them at 5/s?" in result.stderr
    (replay,) = full.replays.list()
    assert result.stdout.splitlines()[-1] == replay.replay_id
    assert (replay.rate, replay.tasks.unresolved) == (5.0, True)
    assert browsing.sent(app) == []


@pytest.mark.parametrize(
    ("number", "is_swept", "options"),
    [
        (MANY + 1, False, ()),
        (MANY, True, ()),
        (MANY + 1, True, ("--at-once",)),
        (MANY + 1, True, ("--limit", "101")),
        (MANY + 1, True, ("--all",)),
    ],
)
def test_the_command_sends_few_or_what_no_sweeper_would_send_itself(
    app: Celery, number: int, is_swept: bool, options: tuple[str, ...]
) -> None:
    browsing.failed(app, number)
    if is_swept:
        swept(app)

    result = run(app, "resend", "--state", "FAILURE", "--yes", *options)

    assert (result.exit_code, len(browsing.sent(app))) == (0, number)
    assert app.fullresult.replays.list() == []


def test_a_resend_that_a_replay_would_leave_out_whole_is_refused(app: Celery) -> None:
    for number in range(MANY + 1):
        app.send_task("shop.charge", args=(number,))
    swept(app)
    sent = len(browsing.sent(app))

    result = run(app, "resend", "--state", "PENDING", "--yes")

    assert result.exit_code == 1
    assert "a replay would send none of these: 101 " in result.stderr
    assert "--at-once" in result.stderr
    assert app.fullresult.replays.list() == []
    assert (sent, browsing.sent(app)) == (MANY + 1, [])
