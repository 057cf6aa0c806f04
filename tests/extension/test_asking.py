"""Workers and the broker are asked; whatever answers, or does not, is survived and named."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery
from redis import Redis

from fullresult import FullResult
from fullresult.extension import asking, worker_command
from fullresult.extension.asking import Asking
from fullresult.extension.asking_queues import ask_queues
from fullresult.insight.live import COMMAND, Answer
from tests.kit import servers

UNKNOWN = {"error": f"KeyError('{COMMAND}')"}
"""Celery's answer to a command that a worker does not know."""


def threads() -> int:
    return sum(each.name == "fullresult-asking" for each in threading.enumerate())


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_refuses_says_so_and_leaves_no_thread_behind(scheme: str) -> None:
    with closing(Celery(broker=f"{scheme}://127.0.0.1:1//", set_as_current=False)) as app:
        found = Asking(app).ask(["id"], ["w1@host"], ["celery"], seek="id")

    assert found.workers.problem is not None
    assert "the broker cannot be asked: " in found.workers.problem
    assert found.workers.problem == found.queues[0].problem
    until = time.monotonic() + 10
    while threads() and time.monotonic() < until:
        time.sleep(0.05)
    assert threads() == 0


@pytest.fixture
def frozen() -> Iterator[str]:
    """A broker that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        server.shutdown(socket.SHUT_RDWR)
        for each in taken:
            each.close()


def test_a_frozen_broker_does_not_collect_threads(
    frozen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.Later, "_free", threading.BoundedSemaphore(2))
    monkeypatch.setattr(asking, "_PATIENCE", 0.2)
    before = threads()
    with closing(Celery(broker=frozen, set_as_current=False)) as app:
        for _ in range(4):
            (queue,) = Asking(app).queues(["celery"])
            assert queue.problem is not None
            assert "did not answer" in queue.problem

        assert threads() - before <= 2


def test_where_no_thread_could_be_started_the_next_question_is_asked_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking.Later, "_free", threading.BoundedSemaphore(2))
    monkeypatch.setattr(asking, "_PATIENCE", 30.0)
    with closing(Celery(broker="memory://", set_as_current=False)) as app:
        with monkeypatch.context() as full_up:
            full_up.setattr(threading.Thread, "start", no_thread)
            for _ in range(3):
                with pytest.raises(RuntimeError, match="new thread"):
                    Asking(app).queues(["celery"])

        (queue,) = Asking(app).queues(["celery"])

    assert queue.problem is None


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_answers_of_any_shape_are_survived() -> None:
    odd = {
        "worker_id": "id",
        "at": "now",
        "queues": ["celery", 5],
        "processes": "many",
        "running": [["a", "shop.pay", 1.0, "newer"], ["b"], 7, ["c", "shop.mail", float("inf")]],
        "held": {"a": {"as": "elsewhere"}, "b": {"as": "eta", "eta": "soon"}, "c": 5},
        "revoked": [{}, "r"],
    }
    told = asking.told_by([("w1@h", odd), ("w2@h", {"worker_id": "x", "held": ["a"], "queues": 5})])

    first, second = told.answers
    assert (first.at, first.queues, first.processes) == (0.0, ("celery",), None)
    assert [(each.task_id, each.since) for each in first.running] == [("a", 1.0), ("c", 0.0)]
    assert [*first.held] == ["b"]
    assert first.held["b"]["eta"] is None
    assert first.revoked == {"r"}
    assert second == Answer("w2@h", "x")


def test_a_worker_that_fails_to_answer_is_no_stranger() -> None:
    replies = [("old@h", UNKNOWN), ("ill@h", {"error": "RuntimeError('x')"}), ("odd@h", [1])]

    told = asking.told_by(replies)

    assert (told.answers, told.strangers, told.failed) == ((), ("odd@h", "old@h"), ("ill@h",))
    assert asking.replies_in([1]) == asking.replies_in(None) == {}


def test_an_error_of_a_client_shows_no_password() -> None:
    with closing(Celery(broker="redis://:pa/ssword@h:1/0", set_as_current=False)) as app:
        shown = Asking(app).problem(ValueError("no port: 'ssword'"))

    assert shown == "the broker cannot be asked: no port: '***'"


def test_timers_that_cannot_be_sorted_are_looked_through() -> None:
    """Those of gevent and eventlet are a set of threads."""
    entries = {Timed(number) for number in range(3)}
    timer = SimpleNamespace(schedule=SimpleNamespace(_queue=entries))

    assert list(worker_command.waiting(SimpleNamespace(timer=timer))) == []


class Timed:
    """A thread with its entry."""

    def __init__(self, number: int) -> None:
        self.entry = SimpleNamespace(args=(number,))


def test_a_message_of_any_shape_hides_no_queue(redis_url: str) -> None:
    with closing(Celery(broker=redis_url, set_as_current=False)) as app:
        with closing(Redis.from_url(redis_url)) as client:
            client.lpush("odd", "[" * 100_000)
        with app.connection_for_write() as connection:
            (queue,) = ask_queues(connection, ["odd"], "id")

            assert (queue.ready, queue.oldest_id, queue.found) == (1, None, False)
            (late,) = ask_queues(connection, ["odd"], "id", time.monotonic() - 1)
            assert late.found is None


def test_a_worker_says_that_its_spool_is_not_empty(tmp_path: Path) -> None:
    """What is in there is in no record, such as the start of a task."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"postgresql://127.0.0.1:{servers.free_port()}/away"
    app.conf.fullresult_spool_directory = str(tmp_path / "spool")
    with closing(FullResult(app)), closing(app):
        assert worker_command.spooled(app) == 0

        app.send_task("shop.pay")

        assert worker_command.spooled(app) == 1
        assert Answer.of("w1@host", {"worker_id": "w1", "spooled": 1}).spooled == 1
    assert worker_command.spooled(Celery("other", set_as_current=False)) == 0


def test_who_answered_in_time_is_heard_though_another_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With each reply Celery waits for a second more, which may be longer than there is time."""
    monkeypatch.setattr(asking, "_WAIT", 4.0)
    over = threading.Event()
    app = Celery(broker="memory://", set_as_current=False)
    app.conf.broker_transport_options = {"polling_interval": 0.02}
    with closing(app), app.connection_for_write() as connection:
        handlers = {COMMAND: lambda _, ids: {"worker_id": "w1", "spooled": len(ids)}}
        node = app.control.mailbox.Node("w1@host", channel=connection.channel(), handlers=handlers)
        node.listen()

        def live() -> None:
            while not over.is_set():
                with suppress(OSError):
                    connection.drain_events(timeout=0.05)

        worker = threading.Thread(target=live)
        worker.start()
        try:
            found = Asking(app).ask(["id"], ["w1@host", "mute@host"], []).workers
        finally:
            over.set()
            worker.join()

    assert found.problem is None
    assert [(each.worker, each.spooled) for each in found.answers] == [("w1@host", 1)]
