"""The settings of scheduling: what each may be, and the broker that a namespace names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult import FullResult
from fullresult.config import Settings, namespace_of

STORAGE = "sqlite:///records.db"


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app that is not configured for fullresult."""
    with Celery("shop", broker="memory://", set_as_current=False) as app:
        yield app


def test_without_settings_nothing_is_diverted_and_what_is_set_up_by_itself_is_a_worker_thread() -> (
    None
):
    settings = Settings()

    assert not settings.schedule_eta
    assert settings.schedule_min_delay == timedelta(0)
    assert not settings.schedule_new_id
    assert not settings.schedule_redacted
    assert settings.sweeper == "worker"
    assert settings.sweep_interval == timedelta(seconds=1)
    assert settings.sweep_limit == 500
    assert settings.rescue_after is None
    assert settings.on_divert_error == "raise"


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [
        ("schedule_eta", True, True),
        ("schedule_eta", False, False),
        ("schedule_min_delay", 0, timedelta(0)),
        ("schedule_min_delay", "0", timedelta(0)),
        ("schedule_min_delay", 0.0, timedelta(0)),
        ("schedule_min_delay", timedelta(0), timedelta(0)),
        ("schedule_min_delay", 90, timedelta(seconds=90)),
        ("schedule_min_delay", "1m30s", timedelta(seconds=90)),
        ("schedule_new_id", True, True),
        ("schedule_redacted", True, True),
        ("sweep_interval", 0.25, timedelta(milliseconds=250)),
        ("sweep_interval", "500ms", timedelta(milliseconds=500)),
        ("sweep_interval", timedelta(seconds=5), timedelta(seconds=5)),
        ("sweep_limit", 1, 1),
        ("sweep_limit", 10_000, 10_000),
        ("sweeper", "worker", "worker"),
        ("sweeper", "beat", "beat"),
        ("sweeper", "off", "off"),
        ("rescue_after", 300, timedelta(minutes=5)),
        ("rescue_after", None, None),
        ("on_divert_error", "raise", "raise"),
        ("on_divert_error", "broker", "broker"),
        ("namespace", "shop", "shop"),
    ],
)
def test_a_good_value_is_read(app: Celery, key: str, given: Any, read: Any) -> None:
    app.conf.fullresult_storage = STORAGE
    app.conf[f"fullresult_{key}"] = given

    assert getattr(Settings.of(app), key) == read


@pytest.mark.parametrize(
    ("key", "given", "wanted"),
    [
        ("schedule_eta", "yes", "True or False"),
        ("schedule_eta", 1, "True or False"),
        ("schedule_new_id", 1, "True or False"),
        ("schedule_redacted", "no", "True or False"),
        ("schedule_min_delay", -1, "a timedelta, seconds"),
        ("schedule_min_delay", "soon", "a timedelta, seconds"),
        ("schedule_min_delay", False, "a timedelta, seconds"),
        ("schedule_min_delay", True, "a timedelta, seconds"),
        ("schedule_min_delay", [], "a timedelta, seconds"),
        ("sweep_interval", 0, "longer than 0"),
        ("sweep_interval", -1, "longer than 0"),
        ("sweep_interval", "often", "a timedelta, seconds"),
        ("sweep_interval", float("inf"), "a timedelta, seconds"),
        ("sweep_limit", 0, "a whole number of at least 1"),
        ("sweep_limit", -5, "a whole number of at least 1"),
        ("sweep_limit", 1.5, "a whole number of at least 1"),
        ("sweep_limit", True, "a whole number of at least 1"),
        ("sweeper", "thread", '"worker" or "beat" or "off"'),
        ("sweeper", True, '"worker" or "beat" or "off"'),
        ("sweeper", ["beat"], '"worker" or "beat" or "off"'),
        ("rescue_after", 0, "longer than 0"),
        ("rescue_after", "never", "a timedelta, seconds"),
        ("on_divert_error", "ignore", '"raise" or "broker"'),
        ("on_divert_error", False, '"raise" or "broker"'),
        ("namespace", 5, "text"),
        ("namespace", "", "text"),
    ],
)
def test_a_bad_value_names_its_key_and_what_it_should_be(
    app: Celery, key: str, given: Any, wanted: str
) -> None:
    app.conf.fullresult_storage = STORAGE
    app.conf[f"fullresult_{key}"] = given

    with pytest.raises(ImproperlyConfigured) as raised:
        Settings.of(app)

    assert f"fullresult_{key} = {given!r}" in str(raised.value)
    assert wanted in str(raised.value)


def test_scheduling_needs_a_storage_that_was_chosen(app: Celery) -> None:
    """The default is a file of each process's directory: no sweeper would find what is due."""
    app.conf.fullresult_schedule_eta = True

    with pytest.raises(ImproperlyConfigured, match="fullresult_schedule_eta needs fullresult_stor"):
        FullResult(app).count_scheduled()


def test_who_publishes_is_told_that_scheduling_needs_a_storage(app: Celery) -> None:
    app.conf.fullresult_schedule_eta = True
    FullResult(app)

    with pytest.raises(ImproperlyConfigured, match="fullresult_storage"):
        app.send_task("shop.charge", countdown=60)


def test_recording_alone_needs_none(app: Celery) -> None:
    app.conf.fullresult_schedule_eta = False

    assert Settings.of(app).storage == Settings().storage


def test_the_api_says_which_namespace_is_swept_here(app: Celery) -> None:
    app.conf.update(fullresult_storage=STORAGE, broker_url="redis://:secret@cache:6379/1")

    assert FullResult(app).settings.namespace == "redis://cache:6379/1"


@pytest.mark.parametrize(
    ("broker", "namespace"),
    [
        ("redis://cache:6379/1", "redis://cache:6379/1"),
        ("redis://:secret@cache:6379/1", "redis://cache:6379/1"),
        ("redis://user:secret@cache:6379/1?ssl_cert_reqs=none", "redis://cache:6379/1"),
        ("rediss://user:p%40ss@cache/0", "rediss://cache/0"),
        ("amqp://guest:guest@rabbit:5672//", "amqp://rabbit:5672"),
        ("amqp://guest:guest@rabbit:5672/", "amqp://rabbit:5672"),
        ("amqp://guest:guest@rabbit/shop", "amqp://rabbit/shop"),
        ("amqp://a:s@one;amqp://b:s@two", "amqp://one;amqp://two"),
        (["amqp://a:s@one", "amqp://b:s@two"], "amqp://one;amqp://two"),
        (("amqp://a:s@one/v?heartbeat=1",), "amqp://one/v"),
        (
            "sentinel://:s@one:26379;sentinel://:s@two:26379",
            "sentinel://one:26379;sentinel://two:26379",
        ),
    ],
)
def test_a_broker_is_named_by_its_url_without_credentials_and_options(
    app: Celery, broker: Any, namespace: str
) -> None:
    app.conf.broker_url = broker

    assert namespace_of(app) == namespace


def test_brokers_without_a_host_are_told_apart_by_their_options(app: Celery) -> None:
    """Folders and regions are there; what is in no plain text does not count."""
    names = []
    for options in ({}, {"data_folder_in": "a"}, {"data_folder_in": "b"}, {"on": object()}):
        app.conf.update(broker_url="filesystem://", broker_transport_options=options)
        names.append(namespace_of(app))

    assert all(name.startswith("filesystem://") for name in names)
    assert len(set(names)) == 3
    assert names[3] == names[0]


@pytest.mark.parametrize(
    ("settings", "namespace"),
    [
        ({"broker_vhost": "3"}, "redis://cache/3"),
        ({"broker_url": "redis://cache/5", "broker_vhost": "3"}, "redis://cache/5"),
        ({"broker_url": "redis://cache/5?virtual_host=3"}, "redis://cache/3"),
        ({"broker_port": 6380}, "redis://cache:6380"),
        ({"broker_url": "redis://cache:6379", "broker_port": 6380}, "redis://cache:6379"),
        ({"broker_url": "cache:6379", "broker_transport": "redis"}, "redis://cache:6379"),
        ({"broker_url": "amqp://rabbit", "broker_vhost": "/"}, "amqp://rabbit"),
        (
            {"broker_url": "redis+socket:///tmp/redis.sock?virtual_host=3"},
            "redis+socket:///tmp/redis.sock?virtual_host=3",
        ),
        (
            {"broker_url": "redis+socket:///tmp/redis.sock", "broker_vhost": "3"},
            "redis+socket:///tmp/redis.sock?virtual_host=3",
        ),
        (
            {"broker_transport_options": {"global_keyprefix": "staging-", "client_name": "web"}},
            "redis://cache?global_keyprefix=staging-",
        ),
        (
            {
                "broker_url": "sentinel://a;sentinel://b",
                "broker_transport_options": {
                    "master_name": "shop",
                    "socket_timeout": 5,
                    "sentinel_kwargs": {"password": "x"},
                },
            },
            "sentinel://a;sentinel://b?master_name=shop",
        ),
    ],
)
def test_brokers_of_one_host_are_told_apart_by_what_says_which_queues_are_used(
    app: Celery, settings: dict[str, Any], namespace: str
) -> None:
    app.conf.update({"broker_url": "redis://cache", **settings})

    assert namespace_of(app) == namespace


def test_queues_of_two_accounts_are_told_apart_and_not_by_which_are_named(app: Celery) -> None:
    names = []
    for account, queues in (("1", "a"), ("1", "ab"), ("2", "a")):
        predefined = {
            queue: {"url": f"https://sqs.example.org/{account}/{queue}"} for queue in queues
        }
        app.conf.update(
            broker_url="sqs://", broker_transport_options={"predefined_queues": predefined}
        )
        names.append(namespace_of(app))

    assert names[0] == names[1] != names[2]


def test_publishers_and_workers_of_one_folder_share_its_name(app: Celery) -> None:
    """What is a publisher's folder out is a worker's folder in, and each polls as it likes."""
    names = set()
    for out, into, interval in (("a", "b", 1.0), ("b", "a", 0.1)):
        options = {"data_folder_out": out, "data_folder_in": into, "polling_interval": interval}
        app.conf.update(broker_url="filesystem://", broker_transport_options=options)
        names.add(namespace_of(app))

    assert len(names) == 1


def test_a_broker_without_a_host_does_not_show_its_credentials(app: Celery) -> None:
    app.conf.update(broker_url="sqs://key:secret@")

    assert "secret" not in namespace_of(app)


def test_where_publishers_and_workers_have_urls_of_their_own_it_is_where_one_publishes(
    app: Celery,
) -> None:
    app.conf.update(broker_write_url="redis://write", broker_read_url="redis://read")

    assert namespace_of(app) == "redis://write"


def test_no_broker_is_celerys_default(app: Celery) -> None:
    app.conf.broker_url = None

    assert namespace_of(app) == "amqp://localhost"


def test_two_users_of_one_broker_share_its_namespace(app: Celery) -> None:
    app.conf.broker_url = "amqp://web:a@rabbit/shop"
    web = namespace_of(app)

    with Celery("shop", broker="amqp://worker:b@rabbit/shop", set_as_current=False) as worker:
        assert namespace_of(worker) == web


def test_the_environment_of_celery_counts(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://from-the-environment")

    assert namespace_of(app) == "redis://from-the-environment"


def test_every_setting_has_a_reader(app: Celery) -> None:
    app.conf.update({f"fullresult_{field.name}": None for field in fields(Settings)})

    # Only for the spool None means something: that there is to be none.
    assert Settings.of(app) == Settings(namespace=namespace_of(app), spool_directory=None)
