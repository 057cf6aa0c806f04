"""What whoever ended a member or completed a chord left undone: counts, and bodies to be sent."""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group, signals
from celery.exceptions import ChordError
from kombu import Producer

from fullresult import FullResult
from fullresult.record import PENDING
from fullresult.results import backend, bodies, ends, mender
from fullresult.results.chords import Chords
from fullresult.results.mender import Mender
from fullresult.results.shared import OWN
from fullresult.storage import StorageError
from fullresult.testing import samples
from tests.kit import servers
from tests.kit.backend_contract import echo, new_id
from tests.kit.workers import until
from tests.results.test_backend_chords import Header, messages, requests

PICKLE = ("application/x-python-serialize", "binary")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app whose results are in SQLite, and whose messages nobody reads."""
    app = made("memory://", tmp_path)
    yield app
    app.fullresult.close()
    app.close()


def made(broker: str, directory: Path, storage: str | None = None, **settings: Any) -> Celery:
    app = Celery("chords", broker=broker, backend=OWN, set_as_current=False)
    # A queue of its own: all brokers in memory are one.
    app.conf.task_default_queue = new_id()
    app.conf.fullresult_storage = storage or f"sqlite:///{directory}/tasks.db"
    app.conf.fullresult_spool_directory = None
    app.conf.task_publish_retry = False
    app.conf.update(settings)
    FullResult(app).setup()
    app.task(name="contract.member")(echo)
    app.task(name="contract.body")(echo)
    return app


def mend(app: Celery) -> int:
    storage = app.fullresult.storage
    return mender.mend(app.backend.chords.mend, storage, storage, 0)


def test_of_a_group_the_tasks_that_were_not_sent_are_sent(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender was killed between the first and the second of three."""
    member, body = app.tasks["contract.member"], app.tasks["contract.body"]
    three = group(body.s().set(task_id=new_id()) for _ in range(3))
    ids = [task.options["task_id"] for task in three.tasks]
    chord([member.s(0), member.s(1)])(three)
    with monkeypatch.context() as killed:
        killed.setattr(Chords, "_complete", lambda *_, **__: None)
        for index, request in enumerate(requests(app)):
            app.backend.mark_as_done(request.id, index, request)
    app.fullresult.storage.write([samples.task(ids[0], state=PENDING)])

    taken = mend(app)

    assert taken == 1
    assert [message.headers["id"] for message in messages(app)] == ids[1:]
    assert mend(app) == 0


def test_a_body_has_no_record_before_the_broker_has_it(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a mender would take it for sent. Any other message has one."""
    real: Any = Producer.publish
    seen: list[Any] = []

    def publish(self: Producer, body: Any, **how: Any) -> Any:
        record = app.fullresult.get(how["headers"]["id"])
        seen.append((how["headers"]["task"], record and record.state))
        return real(self, body, **how)

    monkeypatch.setattr(Producer, "publish", publish)
    header = Header(app, 1)
    header.tell(0)

    assert seen == [("contract.member", PENDING), ("contract.body", None)]
    assert app.fullresult.get(header.result.id).state == PENDING


def test_after_an_outage_a_mender_leaves_time_to_write_what_was_sent(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of a body that was sent may be in the spool of another worker."""
    lease = 1.0
    monkeypatch.setattr(bodies, "lease", lambda _: lease)
    header = Header(app, 1)
    with monkeypatch.context() as killed:
        killed.setattr(Chords, "_complete", lambda *_, **__: None)
        header.tell(0)
    results = Away(app.fullresult.storage)
    time.sleep(lease)

    thread = Mender(app, results, results)
    thread.start()
    assert until(lambda: results.asked)
    results.is_away = False
    back = time.monotonic()
    assert until(header.bodies)

    assert time.monotonic() - back > lease / 2
    signals.worker_shutdown.send(sender=None)


class Away:
    """A storage that does not answer, until it does."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.is_away, self.asked = True, 0

    def __getattr__(self, name: str) -> Any:
        if self.is_away:
            self.asked += 1
            raise StorageError("away")
        return getattr(self._storage, name)


def recount(app: Celery, later: float = 0) -> int:
    """As a worker does it so many seconds *later*."""
    storage = app.fullresult.storage
    return mender.recount(app.backend, storage, storage, -later)


@contextmanager
def uncounted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever writes the end of a member is killed before he counts it."""
    with monkeypatch.context() as killed:
        killed.setattr(backend, "ending_of", lambda *_: None)
        killed.setattr(Chords, "member_ended", lambda *_: None)
        yield


def test_a_member_that_ended_and_was_not_counted_is_counted(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    header = Header(app, 3)
    header.tell(0)
    with uncounted(monkeypatch):
        header.tell(1)
    header.tell(2)

    early = header.bodies()
    counted = [recount(app) for _ in range(3)]

    assert early == []
    assert counted == [0, 1, 0]  # the first look sees that some were counted since it began
    assert header.bodies() == [[0, 1, 2]]
    assert f"task {header.requests[1].id}, a member of chord" in caplog.text
    assert mend(app) == 0


def test_of_a_chord_that_is_not_complete_yet_what_was_left_out_is_counted(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = Header(app, 2)
    with uncounted(monkeypatch):
        header.tell(0)

    assert recount(app) == 1
    assert header.bodies() == []
    header.tell(1)
    assert header.bodies() == [[0, 1]]


def test_a_member_that_failed_and_was_not_counted_fails_the_body(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = Header(app, 2)
    with uncounted(monkeypatch):
        header.fail(1, ValueError("spoilt"))
        header.tell(0)

    assert recount(app) == 2
    assert header.bodies() == []
    assert isinstance(header.result.result, ChordError)
    assert "spoilt" in str(header.result.result)


def test_a_member_that_failed_and_was_sent_again_is_not_counted(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who heals its chord sends the body."""
    header = Header(app, 1)
    with uncounted(monkeypatch):
        header.fail(0, ValueError("spoilt"))
    storage = app.fullresult.storage
    record = storage.get(header.requests[0].id)
    storage.write([record.sent_again("another", storage.now())])

    assert recount(app) == 0


def test_what_has_not_ended_is_not_counted(app: Celery) -> None:
    header = Header(app, 2)
    header.tell(0)
    again = header.requests[1]
    app.backend.store_result(again.id, ValueError("later"), "RETRY", request=again)

    assert [recount(app) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(("state", "value"), [("FAILURE", KeyError("x")), ("SUCCESS", 7)])
def test_a_member_that_says_it_is_over_and_goes_on_is_not_counted(
    app: Celery, monkeypatch: pytest.MonkeyPatch, state: str, value: Any
) -> None:
    header = Header(app, 1)
    says_so = header.requests[0]
    app.fullresult.parts.recorder.started(says_so.id, says_so.task, says_so)
    app.backend.store_result(says_so.id, value, state, request=says_so)

    counted, said = recount(app), app.backend.get_task_meta(says_so.id)
    with uncounted(monkeypatch):
        header.tell(0)

    assert counted == 0
    assert (said["status"], repr(said["result"])) == (state, repr(value))
    assert ends.EARLY not in said
    assert recount(app, later=60) == 1
    assert header.bodies() == [[0]]


def test_a_member_that_says_it_failed_and_gives_up_is_counted(app: Celery) -> None:
    """Celery tells no chord of a task that raised `Ignore`."""
    header = Header(app, 1)
    says_so = header.requests[0]
    app.backend.store_result(says_so.id, ValueError("spoilt"), "FAILURE", request=says_so)
    app.fullresult.parts.recorder.gave_up(says_so, "IGNORED")

    assert recount(app) == 1
    assert isinstance(header.result.result, ChordError)


def test_a_member_whose_result_cannot_be_read_here_is_counted(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker pickles, and this one takes JSON alone: the body fails, and does not wait."""
    header = Header(app, 1)
    with uncounted(monkeypatch), monkeypatch.context() as pickling:
        told = zip(("content_type", "content_encoding"), PICKLE, strict=True)
        for name, value in (*told, ("encode", pickle.dumps)):
            pickling.setattr(app.backend, name, value)
        header.tell(0)

    assert recount(app) == 1
    assert isinstance(header.result.result, ChordError)


def test_an_earlier_step_of_a_member_is_not_counted(app: Celery) -> None:
    member, body = app.tasks["contract.member"], app.tasks["contract.body"]
    chord([chain(member.s(0), member.si(1), member.si(2))])(body.s())
    (first,) = requests(app)
    assert first.group is None or first.chord is None
    app.backend.mark_as_done(first.id, 0, first)

    assert recount(app) == 0


@pytest.mark.parametrize("ended", [False, True])
def test_the_end_of_an_earlier_run_is_not_counted_in_the_next(
    app: Celery, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """A frozen chord that is applied again has the same ids; the second of its runs began."""
    member, body = app.tasks["contract.member"], app.tasks["contract.body"]
    frozen = chord([member.s(0)], body.s())
    frozen.freeze()
    frozen.apply_async()
    (first,) = requests(app)
    app.backend.mark_as_done(first.id, 0, first)
    first_bodies = messages(app)
    frozen.apply_async()
    (second,) = requests(app)

    if ended:
        with uncounted(monkeypatch):
            app.fullresult.parts.recorder.started(second.id, second.task, second)
            app.backend.mark_as_done(second.id, 0, second)
    counted = recount(app)

    assert second.chord["chord_run"] == 2
    assert counted == int(ended)
    assert [len(first_bodies), len(messages(app))] == [1, int(ended)]


def test_a_mender_whose_broker_is_away_lets_no_body_fail(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    header = Header(app, 1)
    with monkeypatch.context() as killed:
        killed.setattr(Chords, "_complete", lambda *_, **__: None)
        header.tell(0)
    with monkeypatch.context() as away:
        away.setattr(Producer, "publish", refuse)
        first = mend(app)

    state = app.AsyncResult(header.result.id).state
    second, third = mend(app), mend(app)

    assert [first, second, third] == [1, 1, 0]
    assert "is sent later: the broker does not take it" in caplog.text
    assert state == "PENDING"
    assert header.bodies() == [[0]]


def refuse(*_: Any, **__: Any) -> None:
    raise ConnectionResetError("reset by peer")


@pytest.mark.slow
def test_a_connection_that_a_forked_process_shut_down_is_made_anew(
    rabbitmq_server: servers.RabbitMQ, tmp_path: Path
) -> None:
    with servers.rabbitmq_vhost(rabbitmq_server) as broker:
        app = made(broker, tmp_path)
        body = app.tasks["contract.body"]
        body.delay(0)
        with app.pool.acquire() as connection:
            connection.connection.sock.shutdown(socket.SHUT_RDWR)

        bodies.publish(app, body.s(), [1])

        assert len(messages(app)) == 2
        app.fullresult.close()
        app.close()
