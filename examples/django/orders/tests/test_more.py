"""More tests, so that `--parallel` has something to share out."""

from django.test import TestCase

from fullresult.django.models import TaskRecord
from orders.tasks import charge


class InAnotherProcess(TestCase):
    """Maybe in another process, and another clone of the test database."""

    def test_nothing_is_here(self) -> None:
        assert not TaskRecord.objects.exists()

    def test_what_is_published_is_seen(self) -> None:
        charge.delay(2)

        assert TaskRecord.objects.count() == 1


class InAThird(TestCase):
    """And one more."""

    def test_nothing_is_here(self) -> None:
        charge.delay(3)

        assert TaskRecord.objects.count() == 1
