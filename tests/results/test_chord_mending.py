"""Bodies that whoever completed a chord did not send, or only in part: another sends the rest."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord, group, signals
from kombu import Producer

from fullresult import FullResult
from fullresult.record import PENDING
from fullresult.results import bodies, mender
from fullresult.results.chords import Chords
from fullresult.results.mender import Mender
from fullresult.results.shared import OWN
from fullresult.storage import StorageError
from fullresult.testing import samples
from tests.kit import servers
from tests.kit.backend_contract import echo, new_id
from tests.kit.workers import until
from tests.results.test_backend_chords import Header, messages, requests


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app whose results are in SQLite, and whose messages nobody reads."""
    app = made("memory://", tmp_path)
    yield app
    app.fullresult.close()
    app.close()


def made(broker: str, directory: Path) -> Celery:
    app = Celery("chords", broker=broker, backend=OWN, set_as_current=False)
    # A queue of its own: all brokers in memory are one.
    app.conf.task_default_queue = new_id()
    app.conf.fullresult_storage = f"sqlite:///{directory}/tasks.db"
    app.conf.fullresult_spool_directory = None
    app.conf.task_publish_retry = False
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
