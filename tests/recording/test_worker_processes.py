"""A process is a worker's as long as the worker lives: test suites run workers in their own."""

from __future__ import annotations

from pathlib import Path

from celery import Celery

from fullresult import FullResult
from fullresult.recording.this_worker import is_worker
from tests.extension.test_bad_input import worker


def test_a_process_is_a_workers_until_that_ends(tmp_path: Path) -> None:
    with Celery("shop", broker="memory://", set_as_current=False) as app:
        app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'full.db'}"
        FullResult(app)
        assert not is_worker()

        with worker(app):
            assert is_worker()

        assert not is_worker()
