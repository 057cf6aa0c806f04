"""Results and messages in Redis: no test that rolls back leaves any there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import redis

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.django_site import Site

pytestmark = pytest.mark.timeout(500)
SETTINGS = """
from proj.settings import *
CELERY_RESULT_BACKEND = os.environ["SHOP_RESULTS"]
CELERY_BROKER_URL = os.environ["SHOP_RESULTS"]
CELERY_BROKER_TRANSPORT_OPTIONS = {}
CELERY_TASK_STORE_EAGER_RESULT = True
CELERY_TASK_SEND_SENT_EVENT = True
"""
TESTS = """
import gc
import os
from celery import chain, chord, group
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from fullresult.django import captured_tasks
from fullresult.django.models import TaskRecord
from orders.models import Order
from orders.tasks import charge, fail, remind
from proj.celery import app
from redis import Redis


def setUpModule():
    \"\"\"The app's pools and its backend are made, of real connections.\"\"\"
    charge.delay(1)
    app.backend.store_result("real", 7, "SUCCESS")
    with app.producer_pool.acquire(block=True) as producer:
        assert producer.connection.connected
    with app.pool.acquire(block=True) as connection:
        connection.ensure_connection()
    gc.collect()  # a result that is deleted unsubscribes
    server = Redis.from_url(os.environ["SHOP_RESULTS"])
    assert server.llen("celery") == server.exists("celery-task-meta-real") == 1
    server.flushall()
    server.config_resetstat()


class Leaving:
    def test_a_group(self):
        result = group(charge.s(1), charge.s(2)).apply_async()
        result.save()
        assert app.GroupResult.restore(result.id) is not None
        result.forget()

    def test_a_chord(self):
        chord([charge.s(1), charge.s(2)], remind.si(3)).apply_async()
        chord(group(charge.s(1), charge.s(2)), remind.si(3)).delay()

    def test_a_chain_with_a_chord(self):
        chain(charge.s(1), group(remind.si(2), remind.si(3)), remind.si(4)).apply_async()

    def test_cancelling(self):
        waiting = remind.apply_async((1,), countdown=60)
        assert app.fullresult.cancel(waiting.id)
        assert waiting.state == "REVOKED"

    def test_a_result_that_is_stored(self):
        app.backend.store_result("fixed", 7, "SUCCESS")
        assert app.AsyncResult("fixed").result == 7

    def test_a_result_of_another_test_is_not_there(self):
        assert app.AsyncResult("fixed").state == "PENDING"
        app.backend.store_result("fixed", 8, "SUCCESS")

    def test_forgetting_and_revoking(self):
        result = charge.delay(1)
        result.revoke()
        result.forget()
        app.control.purge()

    def test_an_event_of_ones_own(self):
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send("task-mine", uuid="x")

    def test_pools_of_the_app(self):
        with app.producer_pool.acquire(block=True) as producer:
            producer.publish({}, routing_key="celery")
        with app.connection_or_acquire() as connection, connection.SimpleQueue("his") as queue:
            queue.put("x")
        with app.pool.acquire(block=True) as connection, connection.SimpleQueue("mine") as queue:
            queue.put("x")


class InATestCase(Leaving, TestCase):
    @classmethod
    def setUpTestData(cls):
        app.backend.store_result("of all", 1, "SUCCESS")

    def test_what_runs_here(self):
        order = Order.objects.create(item="a lamp")
        result = charge.apply((order.id,))
        assert app.AsyncResult(result.id).result == {"paid": order.id}
        with captured_tasks() as tasks:
            sent = charge.delay(order.id)
            tasks.run()
        assert sent.get() == {"paid": order.id}

    def test_what_fails_here(self):
        result = fail.apply((3,))
        assert app.AsyncResult(result.id).state == "FAILURE"

    def test_results_of_the_class(self):
        assert app.AsyncResult("of all").result == 1


class ZWithout(SimpleTestCase):
    def test_no_database(self):
        chord([charge.s(1), charge.s(2)], remind.si(3)).apply_async()
        fail.apply((3,))


class ZzCaptured(TransactionTestCase):
    def test_captured(self):
        with captured_tasks() as tasks:
            chord([fail.s(1), charge.s(2)], remind.si(3)).apply_async()
            assert "orders.tasks.charge" in tasks.names
            app.backend.store_result("here", 1, "SUCCESS")
            assert app.AsyncResult("here").result == 1
"""
# Celery 5.4 unsubscribes for each result that is deleted, whoever made it: it leaves nothing.
LOOKED_AT = {"hello", "select", "client|setinfo", "client", "config|resetstat", "config", "info"}
LOOKED_AT |= {"flushall", "dbsize", "ping", "unsubscribe"}


def test_no_test_that_rolls_back_reaches_them(site: Site, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(SETTINGS)
    (tmp_path / "test_leaving.py").write_text(TESTS)
    paths = os.pathsep.join((site.env()["PYTHONPATH"], str(tmp_path)))
    env = {"DJANGO_SETTINGS_MODULE": "elsewhere", "PYTHONPATH": paths, "SHOP_RESULTS": redis_url}

    said = site.manage("test", str(tmp_path), env=env).stderr

    assert "\nOK" in said
    with redis.Redis.from_url(redis_url) as client:
        asked = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        assert client.keys() == []
        assert asked - LOOKED_AT == set()
