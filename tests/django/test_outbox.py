"""A site with an outbox, beside a real worker: what commits runs, what is rolled back does not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.kit.django_site import PROJECT

if TYPE_CHECKING:
    from tests.kit.django_site import Site

PUBLISH = """
import json
from django.db import transaction
from django.test import Client
from orders.models import Order
from orders.tasks import charge
client = Client()
placed = client.post("/orders/").json()
try:
    with transaction.atomic():
        lost = charge.delay(Order.objects.create(item="never").id).id
        raise ValueError
except ValueError:
    pass
print(json.dumps({**placed, "lost": lost}))
"""


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_what_commits_is_sent_and_what_is_rolled_back_never_was(site: Site) -> None:
    placed = json.loads(site.python(PUBLISH))
    before = site.messages()

    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "proj", "worker", "-P", "solo", "-l", "WARNING"],
        cwd=PROJECT,
        env=site.env(),
    )
    try:
        end = time.monotonic() + 60
        while site.states().get(placed["charge"]) != "SUCCESS" and time.monotonic() < end:
            time.sleep(0.2)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)

    assert not before
    assert site.states() == {placed["charge"]: "SUCCESS", placed["remind"]: "SCHEDULED"}
