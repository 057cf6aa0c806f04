"""A project whose tests pytest-django runs: nothing of them leaves a test either."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing
from tests.kit.django_site import PATIENCE, PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.django_site import Site

TESTS = """
import threading

import pytest
from fullresult.django.models import TaskRecord
from orders.tasks import charge

pytest_plugins = ["fullresult.django.pytest_fixtures"]


def test_without_a_database(caplog):
    assert charge.delay(1).id
    thread = threading.Thread(target=charge.delay, args=(1,))
    thread.start()
    thread.join()
    assert "fullresult" not in caplog.text


@pytest.mark.django_db
def test_in_a_transaction():
    result = charge.delay(1)

    assert TaskRecord.objects.get().task_id == result.id


@pytest.mark.django_db
def test_that_was_rolled_back():
    assert not TaskRecord.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_with_commits(captured_tasks):
    result = charge.delay(1)

    assert captured_tasks.names == ["orders.tasks.charge"]
    assert TaskRecord.objects.get().task_id == result.id


@pytest.mark.django_db(transaction=True)
def test_that_was_emptied():
    assert not TaskRecord.objects.exists()


def test_without_a_database_after_those_that_had_one(caplog):
    assert charge.delay(1).id
    assert "fullresult" not in caplog.text
"""


@pytest.mark.timeout(500)
def test_nothing_leaves_a_test(site: Site, tmp_path: Path) -> None:
    if find_spec("pytest_django") is None:
        missing("pytest-django is not installed")
    (tmp_path / "test_shop.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = proj.settings\n")
    before, sent = site.rows(), site.messages()

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=PROJECT,
        env=site.env(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert "6 passed" in done.stdout, done.stdout + done.stderr
    assert (site.rows(), site.messages()) == (before, sent)
