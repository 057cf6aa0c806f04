"""A fork while another thread publishes leaves the child nothing to wait for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from celery import Celery, signals

from fullresult import FullResult
from fullresult.extension.signals import RECEIVERS


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with Celery("shop", broker="memory://", set_as_current=False) as app:
        app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
        with closing(FullResult(app)):
            yield app


@pytest.mark.parametrize("name", sorted(RECEIVERS))
@pytest.mark.usefixtures("app")
def test_a_child_can_send_each_signal_though_a_thread_of_its_parent_did(name: str) -> None:
    """Celery holds a lock of the signal meanwhile, if it has receivers."""
    lock = getattr(signals, name).lock
    held, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=[lock, held, over])
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        getattr(signals, name)._live_receivers(None)
        os._exit(0)
    over.set()
    thread.join()

    assert os.waitpid(child, 0)[1] == 0


def test_a_child_can_publish_though_a_thread_of_its_parent_did(app: Celery) -> None:
    app.send_task("shop.before", task_id="before")
    held, over = threading.Event(), threading.Event()
    lock = signals.before_task_publish.lock
    thread = threading.Thread(target=hold, args=[lock, held, over])
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        app.send_task("shop.pay", task_id="of a child")
        os._exit(0)
    over.set()
    thread.join()

    assert os.waitpid(child, 0)[1] == 0
    assert app.fullresult.get("of a child") is not None


def hold(lock: threading.Lock, held: threading.Event, over: threading.Event) -> None:
    with lock:
        held.set()
        over.wait()
