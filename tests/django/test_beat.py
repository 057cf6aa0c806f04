"""Beat with django-celery-beat's `DatabaseScheduler`, as the example project runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import django
import pytest

from tests.kit.django_site import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.django_site import Site

PLAN = """
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from orders.models import Order
order = Order.objects.create(item="a book")
often = IntervalSchedule.objects.create(every=1, period="seconds")
PeriodicTask.objects.create(
    name="Often", task="orders.tasks.remind", interval=often, args=f"[{order.id}]"
)
nightly = CrontabSchedule.objects.create(minute="0", hour="4")
PeriodicTask.objects.create(
    name="Nightly", task="orders.tasks.charge", crontab=nightly, args=f"[{order.id}]", queue="night"
)
"""
RUN_NOW = """
import json
from django.contrib.auth.models import User
from django.test import Client
from django_celery_beat.models import PeriodicTask
from proj.celery import app
client = Client()
client.force_login(User.objects.create_superuser("grace"))
key = PeriodicTask.objects.get(name="Nightly").pk
client.post(
    "/admin/django_celery_beat/periodictask/", {"action": "run_now", "_selected_action": [key]}
)
runs = {each.name: each.last_run for each in app.fullresult.periodic()}
often, nightly = runs["Often"], runs["Nightly"]
print(json.dumps({
    "often": [often.periodic_entry, often.periodic, often.triggered, often.queue],
    "nightly": [nightly.periodic_entry, nightly.triggered, nightly.queue],
    "audit": [[each.actor, each.action] for each in app.fullresult.audit_log()],
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_beat_sends_what_the_database_plans_and_a_person_sends_an_entry_now(site: Site) -> None:
    site.python(PLAN)

    with worker_with_beat(site):
        end = time.monotonic() + 120
        while "SUCCESS" not in site.states().values() and time.monotonic() < end:
            time.sleep(0.2)
        if not fails_beside_others(site):
            said = json.loads(site.python(RUN_NOW))
    if fails_beside_others(site):
        said = json.loads(site.python(RUN_NOW))

    assert "SUCCESS" in site.states().values()
    assert said == {
        "often": ["Often", True, False, "celery"],
        "nightly": ["Nightly", True, "night"],
        "audit": [["grace", "trigger"]],
    }
    assert "Often\torders.tasks.remind\t" in site.manage("fullresult", "periodic").stdout


def fails_beside_others(site: Site) -> bool:
    """True where a view that has read cannot write once a worker has written: see checks.W009."""
    return django.VERSION < (5, 1) and site.database.startswith("sqlite:")


@contextmanager
def worker_with_beat(site: Site) -> Iterator[None]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "proj", "worker", "--beat", "-P", "solo"],
        cwd=PROJECT,
        env=site.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
