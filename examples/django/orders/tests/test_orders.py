"""Orders are charged, and tests leave nothing behind."""

from django.test import SimpleTestCase, TestCase, TransactionTestCase
from proj.celery import app

from fullresult.django import captured_tasks
from fullresult.django.models import Schedule, TaskRecord
from orders.models import Order
from orders.tasks import charge, remind


class InATestCase(TestCase):
    """Each test is a transaction that is rolled back."""

    def test_a_published_task_is_recorded_and_goes_no_further(self) -> None:
        result = charge.delay(1)

        record = TaskRecord.objects.get(task_id=result.id)
        assert (record.name, record.state, record.args) == ("orders.tasks.charge", "PENDING", [1])
        assert app.fullresult.get(result.id).args == [1]

    def test_the_tests_before_left_nothing(self) -> None:
        assert not TaskRecord.objects.exists()
        assert not Schedule.objects.exists()
        charge.delay(1)

    def test_a_countdown_waits_in_the_transaction(self) -> None:
        result = remind.apply_async((7,), countdown=30)

        assert Schedule.objects.get(task_id=result.id).name == "orders.tasks.remind"

    def test_a_view_publishes_what_can_be_looked_at_and_run(self) -> None:
        with captured_tasks() as tasks, self.captureOnCommitCallbacks(execute=True):
            order = self.client.post("/orders/").json()["order"]

        assert sorted(tasks.names) == ["orders.tasks.charge", "orders.tasks.remind"]
        tasks.run()
        assert Order.objects.get(id=order).paid

    def test_a_task_that_runs_here_is_recorded_with_its_end(self) -> None:
        order = Order.objects.create(item="a lamp")

        result = charge.apply((order.id,))

        assert TaskRecord.objects.get(task_id=result.id).result == {"paid": order.id}


class WithTransactionsOfItsOwn(TransactionTestCase):
    """Commits are real, in the test database."""

    def test_records_are_in_the_test_database(self) -> None:
        with captured_tasks():
            result = charge.delay(1)

        assert app.fullresult.get(result.id).state == "PENDING"
        assert TaskRecord.objects.filter(task_id=result.id).exists()


class WithoutADatabase(SimpleTestCase):
    """Django allows no query here, and nothing may be recorded or sent."""

    def test_a_task_is_published_nowhere(self) -> None:
        assert charge.delay(1).id
