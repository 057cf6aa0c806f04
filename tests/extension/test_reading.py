"""Reads of a replica: what goes there, what never does, and how far it is said to be behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymongo
import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult import FullResult
from fullresult.insight.replica import Behind
from fullresult.record import FAILURE
from fullresult.testing import samples
from tests.kit import browsing, commands, servers
from tests.kit.api import Client
from tests.kit.browsing import entered
from tests.kit.servers import Pair, ServerUnavailableError

NOBODY = "postgresql://postgres@127.0.0.1:1/postgres?connect_timeout=1"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    try:
        with servers.postgresql_pair(nullcontext) as pair:
            yield pair
    except ServerUnavailableError as error:
        pytest.skip(str(error))


@contextmanager
def followed(pair: Pair, **settings: Any) -> Iterator[Celery]:
    """An app with a database of its own on the primary, whose listings are of the standby."""
    with servers.postgresql_database(pair.primary) as url:
        copy = pair.standby.removesuffix("/postgres") + urlsplit(url).path
        with browsing.shop(url, fullresult_read_storage=copy, **settings) as app:
            caught_up(app)
            yield app


@pytest.fixture
def app(pair: Pair) -> Iterator[Celery]:
    with followed(pair) as app:
        yield app


def caught_up(app: Celery) -> Behind:
    """How far the replica is behind, once it has what the storage has now."""
    until = time.monotonic() + 20
    while True:
        found = asked_anew(app).reading.behind
        assert found is not None
        if found.seconds is not None and found.seconds < 1:
            return found
        assert time.monotonic() < until, found


def asked_anew(app: Celery) -> FullResult:
    """The app's, which has forgotten how far the replica was behind."""
    app.fullresult.parts.replica._known = None
    return app.fullresult  # type: ignore[no-any-return]


@contextmanager
def paused(pair: Pair) -> Iterator[None]:
    """The standby gets what is written meanwhile, and does not show it."""
    with psycopg.connect(pair.standby, autocommit=True) as standby:
        standby.execute("SELECT pg_wal_replay_pause()")
        wanted = "SELECT pg_get_wal_replay_pause_state()"
        while standby.execute(wanted).fetchone() != ("paused",):
            time.sleep(0.01)
        try:
            yield
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")


def failed(app: Celery, *ids: str) -> None:
    storage = app.fullresult.storage
    now = storage.now()
    message = samples.message(now, name="shop.charge")
    outcome = samples.outcome(
        FAILURE,
        now,
        worker="w1@host",
        exception_type="ValueError",
        fingerprint="1-0123456789abcdef",
    )
    storage.write([replace(samples.event(i, now, outcome=outcome), message=message) for i in ids])


def test_a_replica_that_is_said_to_be_less_than_a_second_behind_has_what_was_written(
    app: Celery,
) -> None:
    failed(app, "a")

    caught_up(app)

    reading = app.fullresult.reading
    assert reading.storage is app.fullresult.parts.read_storage
    assert [record.task_id for record in reading.find()] == ["a"]
    assert reading.count() == 1
    assert reading.count_states()["FAILURE"] == 1
    assert reading.statistics().total.tasks == reading.overview().statistics.total.tasks == 1
    assert reading.failures.find()


def test_where_the_primary_is_idle_a_replica_with_all_it_has_is_not_behind(
    app: Celery, pair: Pair
) -> None:
    with psycopg.connect(pair.primary, autocommit=True) as primary:
        primary.execute("SELECT pg_switch_wal()")  # the next place is behind a header

    found = caught_up(app)

    assert found.sentence == "Read from a replica, less than 1 s behind."


def test_listings_are_of_the_replica_and_every_door_says_that_it_is_behind(
    app: Celery, pair: Pair
) -> None:
    failed(app, "old")
    caught_up(app)
    browser = entered(app)
    api = Client(browser)

    with paused(pair):
        time.sleep(1.1)  # what it lacks is older than a second
        failed(app, "new")
        full = asked_anew(app)
        listed = commands.run(app, "list")
        counted = commands.run(app, "count", "--state", "FAILURE")
        page = browser.get("/?q=state:FAILURE")
        overview, failures = browser.get("/overview"), browser.get("/failures")
        answer = api.get("tasks")
        metrics = browser.get("/metrics").text

        assert [record.task_id for record in full.reading.find()] == ["old"]
        assert [record.task_id for record in full.find(order="oldest")] == ["old", "new"]

    assert commands.ids(listed) == ["old"]
    assert counted.stdout == "1\n"
    assert '"task_id":"old"' in answer.text
    assert '"task_id":"new"' not in answer.text
    assert float(answer.headers["fullresult-behind"]) > 1
    for text in (listed.stderr, counted.stderr, page.text, overview.text, failures.text):
        assert "Read from a replica, at most " in text
    assert "fullresult_replica_is_read 1.0" in metrics
    assert float(metrics.split("\nfullresult_replica_behind_seconds ")[1].split()[0]) > 1


def test_one_task_what_is_lost_and_all_that_acts_are_of_the_storage_itself(
    app: Celery, pair: Pair
) -> None:
    caught_up(app)
    browser = entered(app)

    with paused(pair):
        failed(app, "new", "newer")
        asked_anew(app)
        shown = commands.run(app, "show", "new")
        page = browser.get("/task?id=new")
        preview = browser.get("/retry?q=state:FAILURE")
        would = commands.run(app, "resend", "--state", "FAILURE", "--dry-run")
        gate = commands.run(app, "failures", "--fail")
        deleted = commands.run(app, "delete", "--state", "FAILURE", "--all", "--yes")

        assert not app.fullresult.find(), deleted.output

    assert shown.exit_code == 0
    assert page.status == 200
    assert "behind" not in page.words
    assert "Of 2, 2 will not be sent:" in preview.words
    assert {"new", "newer"} <= set(would.stdout.split())
    assert gate.exit_code == 3
    assert deleted.exit_code == 0


def test_a_replica_that_is_away_leaves_all_to_the_storage_which_says_so(pair: Pair) -> None:
    with (
        servers.postgresql_database(pair.primary) as url,
        browsing.shop(url, fullresult_read_storage=NOBODY) as app,
    ):
        failed(app, "a")
        listed = commands.run(app, "list")
        risks = {risk.name: risk.sentence for risk in app.fullresult.doctor(offline=True).risks}
        browser = entered(app)
        page, answer = browser.get("/?q=state:FAILURE"), Client(browser).get("tasks")

    assert commands.ids(listed) == ["a"]
    for text in (listed.stderr, page.text, risks["replica is not read"]):
        assert "Read from the storage, not from its replica: it cannot be read (" in text
    assert '"task_id":"a"' in answer.text
    assert "fullresult-behind" not in answer.headers


def test_a_server_that_takes_writes_is_not_read_for_a_replica(pair: Pair) -> None:
    with servers.postgresql_database(pair.primary) as url:
        again = f"{url}?application_name=again"
        with browsing.shop(url, fullresult_read_storage=again) as app:
            reading = app.fullresult.reading

    assert reading.storage is app.fullresult.storage
    assert reading.behind is not None
    assert reading.behind.problem == "the server takes writes, so it is no replica"


def test_a_replica_of_another_server_is_not_read(pair: Pair, postgresql_url: str) -> None:
    with servers.postgresql_database(pair.primary) as other:
        with browsing.shop(other) as app:  # it has our tables
            failed(app, "other")
        copy = pair.standby.removesuffix("/postgres") + urlsplit(other).path
        with browsing.shop(postgresql_url, fullresult_read_storage=copy) as app:
            until = time.monotonic() + 20
            while "copy" not in (found := asked_anew(app).reading).behind.problem:  # type: ignore[union-attr,operator]
                assert time.monotonic() < until, found.behind  # its tables come a moment later

    assert found.behind is not None
    assert found.behind.problem == "it is a copy of another server"
    assert found.storage is app.fullresult.storage


def test_while_the_storage_is_away_the_replica_is_read_and_how_far_it_is_behind_is_not_known(
    app: Celery,
) -> None:
    failed(app, "a")
    caught_up(app)
    away = Celery("away", broker="memory://", set_as_current=False)
    away.conf.update(
        fullresult_storage=NOBODY,
        fullresult_read_storage=app.fullresult.settings.read_storage,
    )
    full = FullResult(away)
    try:
        reading = full.reading
        found = [record.task_id for record in reading.find()]
    finally:
        full.close()
        away.close()

    assert found == ["a"]
    assert reading.behind is not None
    assert reading.behind.sentence.startswith(
        "Read from a replica; how far it is behind is not known: the storage does not answer ("
    )


@pytest.mark.slow
def test_a_secondary_of_mongodb_is_a_replica() -> None:
    try:
        pair = servers.mongodb_pair()
        first, second = pair.__enter__()
    except ServerUnavailableError as error:
        pytest.skip(str(error))
    stopped: dict[str, Any] = {"configureFailPoint": "rsSyncApplyStop"}
    try:
        with (
            browsing.shop(first, fullresult_read_storage=second) as app,
            pymongo.MongoClient[dict[str, Any]](second) as secondary,
        ):
            failed(app, "old")
            caught_up(app)
            before = [record.task_id for record in app.fullresult.reading.find()]
            secondary.admin.command({**stopped, "mode": "alwaysOn"})
            time.sleep(1.1)
            failed(app, "new")
            reading = asked_anew(app).reading
            during = [record.task_id for record in reading.find()]
            secondary.admin.command({**stopped, "mode": "off"})
            caught_up(app)
    finally:
        pair.__exit__(None, None, None)

    assert before == during == ["old"]
    assert reading.behind is not None
    assert reading.behind.seconds is not None
    assert reading.behind.seconds > 1


@pytest.mark.parametrize(
    ("storage", "read", "problem"),
    [
        ("sqlite:///a.db", "sqlite:///b.db", "what fullresult_storage names has no replicas"),
        (NOBODY, "sqlite:///b.db", "what fullresult_read_storage names has no replicas"),
        ("sqlite:///a.db", NOBODY, "what fullresult_storage names has no replicas"),
        (NOBODY, NOBODY, "fullresult_read_storage is fullresult_storage"),
        (NOBODY, "postgres//x", "fullresult_read_storage = 'postgres//x': it must be a URL"),
        (NOBODY, "oracle://x", "fullresult_read_storage = 'oracle://x': no installed adapter"),
        (NOBODY, "postgresql://u:s3cr3t/x@h/d", "fullresult_read_storage = "),
        (NOBODY, "oracle://h/fullresult_storage", "'oracle://h/fullresult_storage': no"),
    ],
)
def test_a_key_that_cannot_be_right_is_an_error_that_names_it(
    storage: str, read: str, problem: str
) -> None:
    app = Celery("wrong", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=storage, fullresult_read_storage=read)

    with pytest.raises(ImproperlyConfigured) as caught:
        FullResult(app).parts.storage  # noqa: B018  (it is opened)

    assert problem in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_its_password_is_shown_by_nobody_who_shows_the_configuration() -> None:
    app = Celery("shown", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage="postgresql://u:s3cr3t@h/d",
        fullresult_read_storage="postgresql://u:s3cr3t@replica/d",
    )

    full = FullResult(app)

    assert full.settings.read_storage == "postgresql://u:s3cr3t@replica/d"
    assert "s3cr3t" not in f"{full.settings!r} {app.conf.table()} {app.bugreport()}"
