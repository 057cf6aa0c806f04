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
from celery.app.backends import by_url
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from fullresult.django import captured_tasks
from fullresult.django.models import TaskRecord
from orders.models import Order
from orders.tasks import charge, fail, remind
from proj.celery import app
from redis import Redis


def redis_backend():
    kind, url = by_url(os.environ["SHOP_RESULTS"])
    return kind(app=app, url=url)


mine = redis_backend()


class Base(app.Task):
    backend = mine


@app.task(base=Base, name="in.base")
def of_its_base(n):
    return n


@app.task(backend=redis_backend(), name="in.its.own")
def with_a_backend(n):
    return n


@app.task(name="adds")
def add(x, y):
    return x + y


@app.task(name="adds.all")
def add_all(numbers):
    return sum(numbers)


def setUpModule():
    \"\"\"The app's pools and its backend are made, of real connections.\"\"\"
    charge.delay(1)
    app.backend.store_result("real", 7, "SUCCESS")
    with_a_backend.backend.store_result("real too", 7, "SUCCESS")
    assert with_a_backend.AsyncResult("real too").result == 7
    assert mine.get("celery-task-meta-real") is not None
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

    def test_tasks_with_a_backend_of_their_own(self):
        for task in (of_its_base, with_a_backend):
            result = task.apply((3,))
            assert task.AsyncResult(result.id).result == 3
            assert task.delay(4).state == "PENDING"
            task.update_state("fixed", "GOING", {})
            assert task.AsyncResult("fixed").state == "GOING"

        @app.task(backend=redis_backend(), name=f"later.{self.id()}")
        def later(n):
            return n

        assert later.AsyncResult(later.apply((5,)).id).result == 5

    def test_tasks_with_the_same_backend_share_their_results(self):
        @app.task(base=Base, name=f"same.{self.id()}")
        def same(n):
            return n

        result = same.apply((3,))
        assert of_its_base.AsyncResult(result.id).result == 3

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

    def test_the_body_of_a_chord_that_runs_here(self):
        with captured_tasks() as tasks:
            sent = chord([add.s(1, 2), chain(add.s(3, 4), add.s(5))], add_all.s()).delay()
        assert tasks.names == ["adds", "adds"]
        assert tasks.run() == [3, 7, 12, 15]
        with captured_tasks() as tasks:
            chain(add.s(1, 1), group(add.s(1), add.s(2)), add_all.s()).delay()
            assert tasks.run() == [2, 3, 4, 7]
        with captured_tasks() as tasks:
            inner = chord([add.s(1, 1), add.s(2, 2)], add_all.s())
            chord([inner, add.s(5, 5)], add_all.s()).delay()
            assert sorted(tasks.run()) == [2, 4, 6, 10, 16]

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
ALONE = """
import os
from celery.app.backends import by_url
from django.test import SimpleTestCase
from proj.celery import app
from redis import Redis

kind, url = by_url(os.environ["SHOP_RESULTS"])


@app.task(name="alone", backend=kind(app=app, url=url))
def alone(n):
    return n


def setUpModule():
    Redis.from_url(os.environ["SHOP_RESULTS"]).config_resetstat()


class First(SimpleTestCase):
    def test_nothing_was_published_before(self):
        result = alone.apply((3,))
        assert result.get() == 3
        assert alone.AsyncResult(result.id).state == "PENDING"
"""
# Celery 5.4 unsubscribes for each result that is deleted, whoever made it: it leaves nothing.
LOOKED_AT = {"hello", "select", "client|setinfo", "client", "config|resetstat", "config", "info"}
LOOKED_AT |= {"flushall", "dbsize", "ping", "unsubscribe"}


def ran_by_django(tests: str, site: Site, redis_url: str, directory: Path) -> str:
    """What Django's runner says of *tests*, which have their results at *redis_url*."""
    (directory / "elsewhere.py").write_text(SETTINGS)
    (directory / "test_them.py").write_text(tests)
    paths = os.pathsep.join((site.env()["PYTHONPATH"], str(directory)))
    env = {"DJANGO_SETTINGS_MODULE": "elsewhere", "PYTHONPATH": paths, "SHOP_RESULTS": redis_url}
    return site.manage("test", str(directory), env=env).stderr


def test_no_test_that_rolls_back_reaches_them(site: Site, redis_url: str, tmp_path: Path) -> None:
    said = ran_by_django(TESTS, site, redis_url, tmp_path)

    assert "\nOK" in said
    assert_untouched(redis_url)


def test_so_it_is_if_no_test_has_a_database(site: Site, redis_url: str, tmp_path: Path) -> None:
    said = ran_by_django(ALONE, site, redis_url, tmp_path)

    assert "\nOK" in said
    assert_untouched(redis_url)


def assert_untouched(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        asked = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        assert client.keys() == []
        assert asked - LOOKED_AT == set()
