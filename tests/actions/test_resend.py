"""Sending again: what overrides what, what cannot be sent again and why, and what is recorded.

Long because whatever may be overridden is tried with the one message of its sections.
"""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound
from kombu import Exchange, Queue
from kombu.exceptions import EncodeError, OperationalError
from kombu.transport.virtual import Channel

from fullresult import CannotResend, FullResult, TaskRecord
from tests.kit import servers, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module", params=workers.storages("sqlite", "postgresql"))
def storage_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with recorded_app(f"sqlite:///{tmp_path}/records.db") as app:
        yield app


@contextmanager
def recorded_app(storage_url: str, **settings: Any) -> Iterator[Celery]:
    """An app with a broker in memory and a queue of its own."""
    app = Celery("again", broker="memory://", set_as_current=False)
    app.conf.update(task_default_queue=uuid4().hex, fullresult_storage=storage_url, **settings)
    with closing(FullResult(app)), closing(app):
        yield app


def get(app: Celery, task_id: str) -> TaskRecord:
    record = app.fullresult.get(task_id)
    assert record is not None
    return record  # type: ignore[no-any-return]


def take(app: Celery, queue: str | None = None) -> list[dict[str, Any]]:
    """The messages of a queue as they lie in the broker, oldest first."""
    taken = []
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        channel.queue_declare(queue or app.conf.task_default_queue)
        while message := channel.basic_get(queue or app.conf.task_default_queue, no_ack=True):
            taken.append(
                {
                    "headers": message.headers,
                    "body": message.body,
                    "content_type": message.content_type,
                    "properties": {**message.properties, **message.delivery_info},
                }
            )
    return taken


def resent(app: Celery, task_id: str, **how: Any) -> dict[str, Any]:
    """The message of a re-send."""
    take(app)
    app.fullresult.resend(task_id, **how)
    (message,) = take(app)
    return message


def body_of(message: dict[str, Any]) -> Any:
    return json.loads(message["body"])


def test_a_resent_task_is_a_new_task_that_names_the_old(storage_url: str) -> None:
    with recorded_app(storage_url) as app:
        first = app.send_task("shop.ship", [1], {"note": "é"}, priority=3).id

        second = app.fullresult.resend(first).id

        old, new = get(app, first), get(app, second)
        assert (new.state, new.retry_of, old.retry_of) == ("PENDING", first, None)
        assert (new.name, new.args, new.kwargs) == ("shop.ship", [1], {"note": "é"})
        assert (new.queue, new.priority, new.root_id) == (old.queue, 3, second)
        assert [r.task_id for r in app.fullresult.find(retry_of=first)] == [second]


def test_a_resend_can_be_resent(storage_url: str) -> None:
    """Each names the one before it, and all are whole."""
    with recorded_app(storage_url) as app:
        first = app.send_task("shop.ship", [1]).id
        second = app.fullresult.resend(first, kwargs={"a": 1}).id

        third = app.fullresult.resend(second).id

        assert get(app, third).retry_of == second
        assert [body_of(m)[:2] for m in take(app)] == [[[1], {}], [[1], {"a": 1}], [[1], {"a": 1}]]


def test_a_record_may_be_given_instead_of_its_id(app: Celery) -> None:
    record = get(app, app.send_task("shop.ship", [1]).id)

    result = app.fullresult.resend(record)

    assert get(app, result.id).retry_of == record.task_id


def test_the_answer_is_the_new_tasks_result(app: Celery) -> None:
    first = app.send_task("shop.ship").id

    result = app.fullresult.resend(first, task_id="again-1")

    assert isinstance(result, app.AsyncResult)
    assert (result.id, get(app, "again-1").retry_of) == ("again-1", first)


def test_an_unknown_id_is_a_lookup_error(app: Celery) -> None:
    with pytest.raises(LookupError, match="no task 'nobody' is recorded"):
        app.fullresult.resend("nobody")


def test_an_unknown_option_is_a_type_error(app: Celery) -> None:
    """And nothing is sent: a misspelt option would be a task with the wrong parameters."""
    first = app.send_task("shop.ship").id
    take(app)

    with pytest.raises(TypeError, match="does not know the option 'prioritty'"):
        app.fullresult.resend(first, prioritty=3)

    assert take(app) == []


# --- Overriding


def test_arguments_override(app: Celery) -> None:
    """Those not given stay, and Celery's reprs are of the new ones."""
    first = app.send_task("shop.ship", [1], {"a": 2}, link=app.signature("shop.bill")).id

    message = resent(app, first, args=[5, "x"])

    args, kwargs, embed = body_of(message)
    assert (args, kwargs, embed["callbacks"][0]["task"]) == ([5, "x"], {"a": 2}, "shop.bill")
    assert message["headers"]["argsrepr"] == "[5, 'x']"
    assert message["headers"]["kwargsrepr"] == "{'a': 2}"
    assert get(app, message["headers"]["id"]).args == [5, "x"]


def test_no_arguments_are_arguments_too(app: Celery) -> None:
    first = app.send_task("shop.ship", [1], {"a": 2}).id

    message = resent(app, first, args=[], kwargs={})

    assert body_of(message)[:2] == [[], {}]


@pytest.mark.parametrize("wrong", [{"args": "abc"}, {"kwargs": [1]}])
def test_what_is_no_argument_list_is_a_type_error(app: Celery, wrong: dict[str, Any]) -> None:
    first = app.send_task("shop.ship").id
    take(app)

    with pytest.raises(TypeError, match="must be a"):
        app.fullresult.resend(first, **wrong)

    assert take(app) == []


@pytest.mark.parametrize(
    ("option", "header"),
    [
        ({"shadow": "other"}, {"shadow": "other"}),
        ({"headers": {"tenant": "b"}}, {"tenant": "b", "kept": 1}),
        ({"ignore_result": True}, {"ignore_result": True}),
        ({"time_limit": 60}, {"timelimit": [60, 20]}),
        ({"soft_time_limit": 10}, {"timelimit": [30, 10]}),
        ({"time_limit": None, "soft_time_limit": None}, {"timelimit": [None, None]}),
        ({"expires": None}, {"expires": None}),
    ],
)
def test_options_override_headers(
    app: Celery, option: dict[str, Any], header: dict[str, Any]
) -> None:
    first = app.send_task(
        "shop.ship",
        headers={"tenant": "a", "kept": 1},
        time_limit=30,
        soft_time_limit=20,
        expires=3600,
    ).id

    message = resent(app, first, **option)

    assert {name: message["headers"][name] for name in header} == header


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ({"priority": 7}, "priority", 7),
        ({"reply_to": "there"}, "reply_to", "there"),
        ({"delivery_mode": 1}, "delivery_mode", 1),
    ],
)
def test_options_override_properties(
    app: Celery, option: dict[str, Any], name: str, value: Any
) -> None:
    first = app.send_task("shop.ship", priority=2, reply_to="here").id

    message = resent(app, first, **option)

    assert message["properties"][name] == value


def test_another_queue_may_be_given(app: Celery) -> None:
    """By its name or as a kombu queue, of whatever exchange."""
    topic = Queue("topical", Exchange("topics", type="topic"), routing_key="a.b")
    first = app.send_task("shop.ship", exchange="elsewhere", routing_key="x").id

    by_name = app.fullresult.resend(first, queue="named")
    by_queue = app.fullresult.resend(first, queue=topic)

    assert [m["headers"]["id"] for m in take(app, "named")] == [by_name.id]
    assert [m["headers"]["id"] for m in take(app, "topical")] == [by_queue.id]
    assert get(app, by_name.id).queue == "named"
    assert get(app, by_queue.id).exchange == "topics"


def test_a_queue_that_may_not_be_made_is_an_error(app: Celery) -> None:
    first = app.send_task("shop.ship").id
    app.amqp.queues.create_missing = False

    with pytest.raises(QueueNotFound, match="nowhere"):
        app.fullresult.resend(first, queue="nowhere")


def test_links_override(app: Celery) -> None:
    first = app.send_task("shop.ship", [1], link=app.signature("shop.bill")).id

    message = resent(app, first, link=None, link_error=app.signature("shop.cry"))

    args, _, embed = body_of(message)
    assert (args, embed["callbacks"], embed["errbacks"][0]["task"]) == ([1], None, "shop.cry")
    assert get(app, message["headers"]["id"]).embed["errbacks"][0]["task"] == "shop.cry"


def test_the_serializer_overrides(app: Celery) -> None:
    first = app.send_task("shop.ship", [1], {"a": 2}).id

    message = resent(app, first, serializer="yaml", compression="zlib")

    assert message["content_type"] == "application/x-yaml"
    assert message["headers"]["compression"] == "application/x-gzip"
    assert get(app, message["headers"]["id"]).kwargs == {"a": 2}


def test_countdown_eta_and_expires_override(app: Celery) -> None:
    first = app.send_task("shop.ship", expires=60).id
    now = datetime.now(timezone.utc)

    counted = resent(app, first, countdown=3600, expires=7200)
    dated = resent(app, first, eta=now + HOUR, expires=now + 2 * HOUR)
    written = resent(app, first, eta=(now + HOUR).isoformat(), expires="2100-01-01T00:00:00")

    for message in (counted, dated, written):
        eta = datetime.fromisoformat(message["headers"]["eta"])
        assert abs(eta - now - HOUR) < timedelta(minutes=1)
    for message in (counted, dated):
        expires = datetime.fromisoformat(message["headers"]["expires"])
        assert abs(expires - now - 2 * HOUR) < timedelta(minutes=1)
        assert abs(int(message["properties"]["expiration"]) - 7_200_000) < 60_000
    assert written["headers"]["expires"] == "2100-01-01T00:00:00+00:00"


def test_the_broker_is_tried_as_often_as_asked(app: Celery) -> None:
    """`retry` and `retry_policy` are those of `apply_async`."""
    first = app.send_task("shop.ship").id

    message = resent(app, first, retry=True, retry_policy={"max_retries": 1})

    assert get(app, message["headers"]["id"]).state == "PENDING"


def test_a_custom_correlation_id_is_kept(app: Celery) -> None:
    first = app.send_task("shop.ship", correlation_id="conversation-1").id

    message = resent(app, first)

    assert message["properties"]["correlation_id"] == "conversation-1"


def test_a_retry_that_is_resent_is_at_its_first_attempt(app: Celery) -> None:
    """Where only the message of a retry was recorded: a retry is its own parent."""
    first = app.send_task("shop.ship", task_id="r", retries=3, parent_id="r", root_id="root").id

    message = resent(app, first)

    assert message["headers"]["retries"] == 0
    assert message["headers"]["parent_id"] is None
    assert message["headers"]["root_id"] == "root"


def test_what_was_to_expire_at_the_end_of_time_still_is(app: Celery) -> None:
    first = app.send_task("shop.ship", expires=datetime.max.replace(tzinfo=timezone.utc)).id

    message = resent(app, first)

    assert message["headers"]["expires"].startswith("9999-12-31T23:59:59.999")


# --- What cannot be sent again


def refuses(app: Celery, task_id: str, match: str, **how: Any) -> None:
    take(app)
    before = app.fullresult.count()
    with pytest.raises(CannotResend, match=match):
        app.fullresult.resend(task_id, **how)
    assert take(app) == []
    assert app.fullresult.count() == before


def test_a_body_that_was_cut_needs_its_arguments(storage_url: str) -> None:
    with recorded_app(storage_url, fullresult_max_text=50, fullresult_max_body=50) as app:
        link = app.signature("shop.bill")
        first = app.send_task("shop.ship", ["x" * 100], {"a": "y" * 100}, link=link).id

        refuses(app, first, r"args unknown \(cut: \d+ characters\); give args=…")
        refuses(app, first, r"kwargs unknown \(cut: \d+ characters\); give kwargs=…", args=[1])
        message = resent(app, first, args=[1], kwargs={"a": 2})

        args, kwargs, embed = body_of(message)
        assert (args, kwargs, embed["callbacks"][0]["task"]) == ([1], {"a": 2}, "shop.bill")


def test_only_what_was_cut_is_needed(app: Celery) -> None:
    """The other arguments are taken from what is kept for searching."""
    app.conf.update(fullresult_max_text=50, fullresult_max_body=50)
    first = app.send_task("shop.ship", ["x" * 100], {"a": 2}).id

    refuses(app, first, "args unknown")
    message = resent(app, first, args=["short"])

    assert body_of(message)[:2] == [["short"], {"a": 2}]


def test_a_hidden_argument_must_be_given_and_stays_hidden(storage_url: str) -> None:
    with recorded_app(storage_url) as app:
        first = app.send_task("bank.pay", ["4111-1111"], {"sum": 7}, argsrepr="('****',)").id

        refuses(app, first, "args unknown .hidden.*; give args=…")
        message = resent(app, first, args=["4222-2222"])

        record = get(app, message["headers"]["id"])
        assert body_of(message)[:2] == [["4222-2222"], {"sum": 7}]
        assert (record.argsrepr, record.args, record.kwargs) == ("('****',)", None, {"sum": 7})
        assert "4222" not in repr(record)


def test_a_resend_may_hide_what_its_original_did_not(app: Celery) -> None:
    first = app.send_task("bank.pay", ["4111-1111"]).id

    message = resent(app, first, argsrepr="('****',)")

    record = get(app, message["headers"]["id"])
    assert body_of(message)[0] == ["4111-1111"]
    assert (message["headers"]["argsrepr"], record.args, record.argsrepr) == (
        "('****',)",
        None,
        "('****',)",
    )
    assert "4111" not in repr(record)


def test_protocol_1_is_not_sent_again(storage_url: str) -> None:
    with recorded_app(storage_url, task_protocol=1) as app:
        first = app.send_task("shop.ship", [1], {"a": 2}).id

        refuses(app, first, "protocol 1, which cannot be sent again", args=[1], kwargs={})


def test_a_pickle_is_not_opened_to_change_one_argument(app: Celery) -> None:
    first = app.send_task("shop.ship", [1], {"a": 2}, serializer="pickle").id

    refuses(app, first, "kwargs unknown .*never decoded.*; give kwargs=…", args=[1])
    refuses(app, first, "args unknown .*; give args=…", serializer="json")
    message = resent(app, first, args=[(1,)], kwargs={"b": {3}})

    assert message["content_type"] == "application/x-python-serialize"


def test_a_pickle_whose_links_are_not_known_may_be_in_a_chord(app: Celery) -> None:
    link = app.signature("shop.bill", args=({1, 2},))
    first = app.send_task("shop.ship", [1], link=link, serializer="pickle").id

    refuses(app, first, "whether it is in a chord is not known.*keep_group=True")
    refuses(app, first, "its links are not known: not JSON", args=[1], kwargs={})
    message = resent(app, first, keep_group=True)

    assert message["headers"]["task"] == "shop.ship"


def test_headers_that_json_cannot_hold_are_not_sent_again(app: Celery) -> None:
    first = app.send_task("shop.ship", headers={"odd": Odd()}).id

    refuses(app, first, "its headers: not JSON: .*Odd")


class Odd:
    """The broker in memory takes what real ones do not."""


def test_what_could_not_be_serialised_needs_its_arguments(app: Celery) -> None:
    with pytest.raises(EncodeError):
        app.send_task("shop.ship", [Odd()], {"a": 2}, task_id="odd")

    record = get(app, "odd")
    assert (record.state, record.exception_type) == ("UNSENT", "kombu.exceptions.EncodeError")
    refuses(app, "odd", "args unknown .not JSON: .*Odd.*; give args=…")
    message = resent(app, "odd", args=[1])
    assert body_of(message)[:2] == [[1], {"a": 2}]


def test_new_arguments_that_cannot_be_serialised_are_the_callers_error(app: Celery) -> None:
    first = app.send_task("shop.ship").id
    take(app)

    with pytest.raises(EncodeError):
        app.fullresult.resend(first, args=[Odd()])

    assert take(app) == []


def test_a_broker_that_is_down_is_told_and_recorded(storage_url: str) -> None:
    """The new record says that it was not sent; the caller has the error."""
    with recorded_app(storage_url) as app:
        first = app.send_task("shop.ship", [1]).id
    url = f"redis://127.0.0.1:{servers.free_port()}"
    with recorded_app(storage_url) as app:
        app.conf.broker_url = url

        with pytest.raises(OperationalError):
            app.fullresult.resend(first, task_id="again")

        record = get(app, "again")
        assert (record.state, record.retry_of, record.args) == ("UNSENT", first, [1])
        assert record.exception_type == "kombu.exceptions.OperationalError"


def test_what_fails_after_the_broker_took_it_is_no_failed_resend(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller would send it twice."""

    def finish() -> None:
        raise ValueError("too late")

    first = app.send_task("shop.ship", [1]).id
    monkeypatch.setattr(app.fullresult.recorder, "publishing_again", lambda *_: finish)

    message = resent(app, first)

    assert body_of(message)[0] == [1]
    assert f"task {message['headers']['id']} is not recorded" in caplog.text


@pytest.mark.parametrize("how", [{}, {"args": [2]}, {"compression": "zlib"}])
@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_channel_without_body_encoding_gets_what_celery_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serializer: str, how: dict[str, Any]
) -> None:
    """Text as text: such a channel writes bytes in another way, which not all readers know."""
    bodies: list[Any] = []
    prepare: Any = Channel.prepare_message

    def spy(self: Channel, body: Any, *args: Any, **kwargs: Any) -> Any:
        bodies.append(body)
        return prepare(self, body, *args, **kwargs)

    monkeypatch.setattr(Channel, "prepare_message", spy)
    options = {"broker_transport_options": {"body_encoding": None}}
    with recorded_app(f"sqlite:///{tmp_path}/records.db", **options) as app:
        first = app.send_task("shop.ship", [1], {"note": "é"}, serializer=serializer).id

        app.fullresult.resend(first, **({**how, "kwargs": {}} if "args" in how else how))

    text = serializer == "json" and "compression" not in how
    assert isinstance(bodies[-1], str if text else bytes)
