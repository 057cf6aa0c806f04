"""`django://default` in Django's tests: what follows, what is rolled back, what is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import chain
from django.db import connection, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from kombu import Connection
from orders.models import Order
from orders.tasks import charge, remind
from proj.celery import app

from fullresult.django import captured_tasks
from fullresult.django.models import Schedule, TaskRecord
from fullresult.django.no_broker import is_no_broker
from fullresult.storage import StorageError


@app.task(name="orders.tests.publishes")
def publishes() -> None:
    remind.delay(Order.objects.create(item="a lamp").id)


class Rolled(TestCase):
    def test_reads_and_writes_are_in_the_tests_transaction(self) -> None:
        result = charge.delay(1)

        assert app.fullresult.get(result.id).name == "orders.tasks.charge"
        assert app.fullresult.count() == TaskRecord.objects.count() == 1

    def test_a_rolled_back_block_takes_its_records_with_it(self) -> None:
        with transaction.atomic():
            charge.delay(1)
            remind.apply_async((1,), countdown=60)
            transaction.set_rollback(True)

        assert not TaskRecord.objects.exists()
        assert not Schedule.objects.exists()

    def test_a_failing_statement_does_not_spoil_the_tests_transaction(self) -> None:
        with pytest.raises(StorageError):
            app.fullresult.storage._database.ask("SELECT nonsense", ())

        assert Order.objects.count() == 0

    def test_a_write_before_publishing_keeps_nothing_waiting(self) -> None:
        """A storage with a connection of its own waits for SQLite's lock, for 5 seconds."""
        Order.objects.create(item="a lamp")
        began = time.monotonic()

        charge.delay(1)

        assert time.monotonic() - began < 2
        assert TaskRecord.objects.count() == 1

    def test_remote_control_goes_no_further(self) -> None:
        with app.connection_or_acquire() as broker:
            assert is_no_broker(broker)

    def test_a_connection_to_read_from_leads_nowhere_either(self) -> None:
        with nothing_sent(), app.connection_for_read() as broker:
            assert is_no_broker(broker)
            broker.SimpleQueue("celery").put("x")

    def test_cancelling_and_moving_are_rolled_back_too(self) -> None:
        first, second = (remind.apply_async((n,), countdown=60) for n in range(2))

        assert app.fullresult.cancel(first.id)
        assert app.fullresult.reschedule(second.id, "in 2h")

        assert Schedule.objects.get().task_id == second.id

    @override_settings(CELERY_TASK_ALWAYS_EAGER=True)
    def test_eager_tasks_are_recorded_in_the_transaction(self) -> None:
        order = Order.objects.create(item="a lamp")

        result = charge.apply((order.id,))

        assert TaskRecord.objects.get(task_id=result.id).state == "SUCCESS"


class InOtherThreads(TestCase):
    """Its transaction is of one thread; an async test runs in another."""

    def test_what_a_thread_publishes_goes_no_further(self) -> None:
        with nothing_sent():
            thread = threading.Thread(target=charge.delay, args=(1,))
            thread.start()
            thread.join()

        assert not TaskRecord.objects.exists()

    async def test_what_an_async_test_publishes_goes_no_further(self) -> None:
        with nothing_sent(), self.assertNoLogs("fullresult"):
            charge.delay(1)


@contextmanager
def received() -> Iterator[list[Any]]:
    """A list; at the end of the block it has the messages that were sent in it."""
    messages: list[Any] = []
    with Connection(  # the app's own leads nowhere in a `TestCase`
        app.conf.broker_url, transport_options=app.conf.broker_transport_options
    ) as broker:
        broker.default_channel.queue_declare("celery")
        broker.default_channel.queue_purge("celery")
        yield messages
        while (message := broker.default_channel.basic_get("celery", no_ack=True)) is not None:
            messages.append(message)


@contextmanager
def nothing_sent() -> Iterator[None]:
    with received() as messages:
        yield
    assert messages == []


class Overridden(TestCase):
    def test_override_settings_is_followed_and_ends(self) -> None:
        with override_settings(CELERY_FULLRESULT_TRACK_PUBLISH=False):
            assert not app.fullresult.settings.track_publish
            charge.delay(1)
            assert not TaskRecord.objects.exists()

        assert app.fullresult.settings.track_publish

    def test_another_storage_is_opened_and_closed_again(self) -> None:
        with override_settings(CELERY_FULLRESULT_STORAGE="postgresql://u:secret@127.0.0.1:1/x"):
            assert "u:***@" in repr(app.fullresult.storage)

        assert "django://default" in repr(app.fullresult.storage)

    def test_no_event_waits_in_a_spool(self) -> None:
        with override_settings(CELERY_FULLRESULT_WRITE_MODE="spooled"):
            charge.delay(1)

            assert app.fullresult.spool_status() is None
            assert TaskRecord.objects.count() == 1


class Committed(TransactionTestCase):
    def test_connections_are_closed_after_each_use(self) -> None:
        """Else the test database could not be dropped."""
        with captured_tasks():
            charge.delay(1)

        assert _others() == 0
        assert TaskRecord.objects.count() == 1

    def test_outside_of_captured_tasks_it_is_sent(self) -> None:
        with received() as messages:
            charge.delay(1)

        assert [message.headers["task"] for message in messages] == ["orders.tasks.charge"]

    def test_it_is_sent_also_if_the_apps_pools_were_made_where_nothing_is(self) -> None:
        app._pool = app.amqp._producer_pool = None
        with captured_tasks():
            assert is_no_broker(app.pool.connection)
            assert is_no_broker(app.producer_pool.connections.connection)

        with received() as messages:
            charge.delay(1)

        assert len(messages) == 1

    def test_what_runs_after_captured_tasks_sends_nothing_either(self) -> None:
        with captured_tasks() as tasks:
            app.send_task("orders.tests.publishes")

        with received() as messages:
            assert tasks.run() == [None, "a lamp"]

        assert messages == []


class WithoutDatabase(SimpleTestCase):
    def test_neither_recorded_nor_sent_nor_an_outage(self) -> None:
        with self.assertNoLogs("fullresult"):
            charge.delay(1)

        assert not app.fullresult.recorder.writer.is_away

    def test_so_it_is_in_a_thread_that_the_test_starts(self) -> None:
        with nothing_sent(), self.assertNoLogs("fullresult"):
            thread = threading.Thread(target=charge.delay, args=(1,))
            thread.start()
            thread.join()

    def test_captured_tasks_are_seen(self) -> None:
        with captured_tasks() as tasks:
            sent = charge.apply_async((), {"order_id": 1}, countdown=9, queue="slow")

        (task,) = tasks
        assert (task.name, task.args, task.kwargs) == (
            "orders.tasks.charge",
            (),
            {"order_id": 1},
        )
        assert task.task_id == sent.id
        assert (task.options["countdown"], task.options["queue"]) == (9, "slow")


class Captured(TestCase):
    def test_they_run_in_their_order_with_what_they_publish(self) -> None:
        with captured_tasks() as tasks:
            orders = [Order.objects.create(item="a lamp") for _ in range(2)]
            for order in orders:
                charge.delay(order.id)

            assert tasks.run() == [{"paid": order.id} for order in orders]
            assert not tasks

    def test_they_run_with_what_is_linked_and_the_rest_of_a_chain(self) -> None:
        order = Order.objects.create(item="a lamp").id
        with captured_tasks() as tasks:
            chain(charge.s(order), remind.si(order), charge.si(order)).delay()
            remind.apply_async((order,), link=charge.si(order))

        assert tasks.names == ["orders.tasks.charge", "orders.tasks.remind"]
        paid = {"paid": order}
        assert tasks.run() == [paid, "a lamp", "a lamp", paid, paid]

    def test_options_are_those_of_the_call(self) -> None:
        with captured_tasks() as tasks:
            charge.apply_async((1,), countdown=9)

        assert tasks[0].options["countdown"] == 9
        assert not {"result_cls", "task_type"} & tasks[0].options.keys()

    def test_an_error_goes_on(self) -> None:
        with captured_tasks() as tasks:
            app.send_task("orders.tasks.fail", (3,))

        with pytest.raises(ValueError, match="order 3 is broken"):
            tasks.run()

    @override_settings(CELERY_FULLRESULT_OUTBOX=False)
    def test_on_commit_answers_the_result(self) -> None:
        with captured_tasks() as tasks, self.captureOnCommitCallbacks() as callbacks:
            result = charge.delay_on_commit(1)
            assert not tasks
        with captured_tasks() as tasks:
            for callback in callbacks:
                callback()

        assert [task.task_id for task in tasks] == [result.id]


def _rolled_back(number: int) -> None:
    with transaction.atomic():
        charge.delay(number)
        transaction.set_rollback(True)


class CapturedAndRolledBack(TestCase):
    def test_what_would_have_waited_for_the_commit_is_gone(self) -> None:
        with captured_tasks() as tasks:
            charge.delay(1)
            with transaction.atomic():
                charge.delay(2)
                _rolled_back(3)
            charge.delay(4)

        assert [task.args for task in tasks] == [(1,), (2,), (4,)]

    def test_so_it_is_with_a_block_without_a_savepoint(self) -> None:
        with captured_tasks() as tasks, transaction.atomic(), transaction.atomic(savepoint=False):
            charge.delay(1)
            transaction.set_rollback(True)

        assert not tasks

    def test_what_was_sent_at_once_stays(self) -> None:
        with captured_tasks() as tasks:
            with override_settings(CELERY_FULLRESULT_OUTBOX=False):
                _rolled_back(1)
            with app.fullresult.direct():
                _rolled_back(2)

        assert [task.args for task in tasks] == [(1,), (2,)]

    @override_settings(CELERY_FULLRESULT_OUTBOX=False)
    def test_what_waits_for_on_commit_never_was(self) -> None:
        with captured_tasks() as tasks, transaction.atomic():
            charge.delay_on_commit(1)
            transaction.set_rollback(True)

        assert not tasks

    @override_settings(CELERY_FULLRESULT_OUTBOX=False)
    def test_an_outbox_of_ones_own_counts_too(self) -> None:
        with captured_tasks() as tasks:
            with transaction.atomic(), app.fullresult.outbox("default"):
                charge.delay(1)
                transaction.set_rollback(True)
            with app.fullresult.outbox(connection):
                charge.delay(2)

        assert [task.args for task in tasks] == [(2,)]


class CapturedAndCommitted(TransactionTestCase):
    def test_what_committed_stays_though_a_later_transaction_is_rolled_back(self) -> None:
        with captured_tasks() as tasks:
            with transaction.atomic(), transaction.atomic():
                charge.delay(1)
            with transaction.atomic():
                _rolled_back(2)
                charge.delay(3)
            _rolled_back(4)

        assert [task.args for task in tasks] == [(1,), (3,)]

    def test_a_rollback_after_captured_tasks_counts(self) -> None:
        with transaction.atomic():
            with captured_tasks() as tasks:
                charge.delay(1)
            assert len(tasks) == 1
            transaction.set_rollback(True)

        assert not tasks


class Shims(SimpleTestCase):
    def test_the_originals_base_class_imports_and_warns(self) -> None:
        from fullresult.django import ScheduledTask, Task

        with pytest.warns(DeprecationWarning, match="CELERY_FULLRESULT_SCHEDULE_ETA"):

            class Old(ScheduledTask):
                name = "orders.tasks.old"

        assert issubclass(Old, Task)


def _others() -> int:
    """The connections of others to this database."""
    if connection.vendor == "sqlite":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        number: Any = cursor.fetchone()[0]
    return int(number)


class Queries(TestCase):
    def test_the_models_ask_one_query(self) -> None:
        charge.delay(1)

        with CaptureQueriesContext(
            connection,
        ) as queries:
            list(TaskRecord.objects.all())

        assert len(queries) == 1
