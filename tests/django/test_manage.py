"""`manage.py` of a real project: migrate, check, test and the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.kit.django_site import PROJECT, ROOT, Site

if TYPE_CHECKING:
    from pathlib import Path

PUBLISH = """
from orders.models import Order
from orders.tasks import charge, remind
order = Order.objects.create(item="a book")
charged, reminded = charge.delay(order.id), remind.apply_async((order.id,), countdown=60)
from proj.celery import app
app.fullresult.reschedule(reminded.id, "60s ago")
print(charged.id, reminded.id)
"""
pytestmark = pytest.mark.timeout(500)
_ACTS = "cancel_taskrecord delete_taskrecord retry_taskrecord send_taskrecord trigger_taskrecord"
INSIDE = (str(ROOT / "tests/django/inside"), "-t", str(ROOT), "--pattern", "inside_*.py")


def test_migrate_makes_the_tables_and_the_permissions(site: Site) -> None:
    said = site.python(
        """
from django.contrib.auth.models import Permission
from django.core.management import call_command
from fullresult.django.models import Execution, Schedule, TaskRecord
print(all(model.objects.count() >= 0 for model in (TaskRecord, Execution, Schedule)))
ours = Permission.objects.filter(content_type__app_label="fullresult")
print(*sorted(ours.values_list("codename", flat=True)))
call_command("makemigrations", "--check")
"""
    ).splitlines()

    assert said == [
        "True",
        f"{_ACTS} view_execution view_schedule view_taskrecord",
        "No changes detected",
    ]


def test_before_migrate_a_check_says_so_and_stops_nothing(tmp_path: Path) -> None:
    site = Site(f"sqlite://{tmp_path / 'new.db'}", tmp_path / "broker")

    said = site.manage("check", "--database", "default").stderr

    assert "the tables of records in the database 'default' are missing or old" in said


def test_parallel_tests_leave_the_real_database_and_the_broker_untouched(site: Site) -> None:
    charge, remind = site.python(PUBLISH).split()
    before, sent = site.rows(), site.messages()

    said = site.manage("test", "orders", "--parallel", "2").stderr

    assert "Ran 10 tests" in said
    assert "in use" not in said
    assert "not recorded" not in said
    assert site.rows() == before
    assert site.messages() == sent
    assert min(before.values()) == len(sent) == 1
    assert charge in site.manage("find_stale_tasks").stdout
    shown = site.manage("fullresult", "stale-scheduled", "--seconds", "1", code=3).stdout
    assert remind in shown


def test_tests_without_a_test_database_leave_the_real_one_alone(site: Site) -> None:
    """Then the runner makes none, and the settings still name the real one."""
    before, sent = site.rows(), site.messages()

    said = site.manage("test", "orders.tests.test_orders.WithoutADatabase").stderr

    assert "Ran 1 test" in said
    assert (site.rows(), site.messages()) == (before, sent)


def test_a_second_database_which_a_test_may_not_use_changes_nothing(
    site: Site, tmp_path: Path
) -> None:
    """A test that names no databases may use the default one only."""
    (tmp_path / "two.py").write_text(
        "from proj.settings import *\n"
        "DATABASES['old'] = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'old.db'}\n"
    )
    paths = os.pathsep.join((site.env()["PYTHONPATH"], str(tmp_path)))
    env = {"DJANGO_SETTINGS_MODULE": "two", "PYTHONPATH": paths}
    before, sent = site.rows(), site.messages()

    said = site.manage("test", "orders", env=env).stderr

    assert "Ran 10 tests" in said
    assert (site.rows(), site.messages()) == (before, sent)


SEPARATE = """
from proj.settings import *
DATABASES["fullresult"] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.environ["SHOP_RECORDS"],
    "TEST": {"MIGRATE": False},
}
DATABASE_ROUTERS = ["apart.OnlyRecords"]
CELERY_FULLRESULT_STORAGE = "django://fullresult"
CELERY_FULLRESULT_OUTBOX = False


class OnlyRecords:
    def allow_migrate(self, db, app_label, **hints):
        return False if db == "fullresult" else None
"""
SEPARATE_TESTS = """
from django.test import TestCase
from fullresult.django.models import TaskRecord
from orders.models import Order
from orders.tasks import charge


class Both(TestCase):
    databases = {"default", "fullresult"}

    def test_a_record_is_there(self):
        sent = charge.delay(Order.objects.create(item="a lamp").id)
        assert TaskRecord.objects.get().task_id == sent.id

    def test_it_was_rolled_back(self):
        assert not TaskRecord.objects.exists()
        charge.delay(1)


class OneOnly(TestCase):
    def test_no_record_is_written(self):
        assert charge.delay(1).id
"""


def test_records_may_be_in_a_database_of_their_own(site: Site, tmp_path: Path) -> None:
    (tmp_path / "apart.py").write_text(SEPARATE)
    (tmp_path / "test_apart.py").write_text(SEPARATE_TESTS)
    paths = os.pathsep.join((site.env()["PYTHONPATH"], str(tmp_path)))
    env = {"DJANGO_SETTINGS_MODULE": "apart", "PYTHONPATH": paths}
    env["SHOP_RECORDS"] = str(tmp_path / "records.db")
    before, sent = site.rows(), len(site.messages())

    site.manage("migrate", "-v0", "--database", "fullresult", env=env)
    published = site.python(
        """
from django.db import connections
from fullresult.django.models import TaskRecord
from orders.tasks import charge
print(charge.delay(1).id, *TaskRecord.objects.values_list("task_id", flat=True))
print(*(t for t in connections["fullresult"].introspection.table_names() if "orders" in t))
""",
        env=env,
    ).splitlines()
    said = site.manage("test", str(tmp_path), env=env).stderr

    task_id, found = published[0].split()
    assert (task_id, published[1]) == (found, "")
    assert "Ran 3 tests" in said
    assert "\nOK" in said
    assert site.rows() == before
    assert len(site.messages()) == sent + 1


def test_mail_that_is_kept_in_memory_makes_no_test(site: Site) -> None:
    """Django's tests keep it there, too."""
    said = site.python(
        """
from django.conf import settings
from django.core.mail import send_mail
from fullresult.django.models import TaskRecord
from orders.tasks import charge
settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
send_mail("hello", "you", "a@example.org", ["b@example.org"])
print(TaskRecord.objects.filter(task_id=charge.delay(1).id).exists())
"""
    )

    assert said.strip() == "True"


def test_a_pipe_that_is_closed_is_no_traceback(site: Site) -> None:
    with subprocess.Popen(
        [sys.executable, "manage.py", "fullresult", "list", "--help"],
        cwd=PROJECT,
        env=site.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        said = command.stderr.read().decode()

    assert "Traceback" not in said
    assert command.returncode == 1


def test_inside_the_project(site: Site) -> None:
    """The tests of `tests/django/inside`, which Django's own runner runs."""
    before = site.rows()

    said = site.manage("test", *INSIDE).stderr

    assert "\nOK" in said
    assert site.rows() == before
