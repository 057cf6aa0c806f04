"""`CELERY_FULLRESULT_OUTBOX = "default"`: tasks commit with the data of `atomic()`."""

from __future__ import annotations

from unittest import skipIf

import pytest
from celery.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test import TransactionTestCase, override_settings
from django.utils.connection import ConnectionDoesNotExist
from orders.models import Order
from orders.tasks import charge
from proj.celery import app

from fullresult.django.models import Schedule, TaskRecord

IN_MEMORY = connection.vendor == "sqlite"
"""Django's test database then; tests/django/test_outbox.py has the file."""


class Ambient(TransactionTestCase):
    def setUp(self) -> None:
        with app.connection_for_write() as broker:
            broker.default_channel.queue_declare("celery")
            broker.default_channel.queue_purge("celery")

    def test_a_commit_keeps_the_task_with_the_data(self) -> None:
        with transaction.atomic():
            order = Order.objects.create(item="a lamp")
            sent = charge.delay(order.id)
            assert TaskRecord.objects.get().task_id == sent.id

        assert TaskRecord.objects.get().task_id == sent.id
        assert self.on_the_broker() == 0
        assert IN_MEMORY or Schedule.objects.get().task_id == sent.id

    def test_a_rollback_takes_it_back(self) -> None:
        with transaction.atomic():
            charge.delay(1)
            charge.apply_async((1,), countdown=60)
            transaction.set_rollback(True)

        assert not TaskRecord.objects.exists()
        assert not Schedule.objects.exists()
        assert self.on_the_broker() == 0

    def test_a_savepoint_that_is_rolled_back_takes_its_own(self) -> None:
        with transaction.atomic():
            kept = charge.delay(1)
            with transaction.atomic():
                charge.delay(2)
                transaction.set_rollback(True)

        assert TaskRecord.objects.get().task_id == kept.id

    def test_outside_of_a_transaction_it_is_sent_at_once(self) -> None:
        charge.delay(1)

        assert self.on_the_broker() == 1

    def test_on_commit_answers_the_result_and_is_recorded_at_once(self) -> None:
        with transaction.atomic():
            sent = charge.delay_on_commit(1)
            also = charge.apply_async_on_commit((2,), countdown=9)
            known = set(TaskRecord.objects.values_list("task_id", flat=True))

        assert known == {sent.id, also.id}

    def test_on_the_commit_of_another_database_is_not_on_this_ones(self) -> None:
        with transaction.atomic(), pytest.raises(ConnectionDoesNotExist):
            charge.apply_async_on_commit((1,), using="other")

        assert not TaskRecord.objects.exists()

    @skipIf(IN_MEMORY, "such a database has no outbox")
    def test_direct_goes_past_it(self) -> None:
        with transaction.atomic(), app.fullresult.direct():
            charge.delay(1)

            assert self.on_the_broker() == 1

    @override_settings(CELERY_FULLRESULT_STORAGE="mongodb://127.0.0.1:1/x")
    def test_an_outbox_that_is_not_of_the_storage_is_refused(self) -> None:
        with transaction.atomic(), pytest.raises(ImproperlyConfigured, match="nobody would send"):
            charge.delay(1)

    @staticmethod
    def on_the_broker() -> int:
        with app.connection_for_read() as broker:
            return int(broker.default_channel.queue_declare("celery").message_count)
