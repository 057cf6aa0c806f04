"""The worker that Celery embeds in tests, which has no sweeper of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Task
from celery.contrib.testing.worker import start_worker

from tests.kit.scheduling import app_on, until

if TYPE_CHECKING:
    from pathlib import Path


def test_with_a_sweeper_beside_it_a_retry_with_a_countdown_comes_back(tmp_path: Path) -> None:
    with app_on({"broker_url": "memory://"}, f"sqlite:///{tmp_path}/records.db") as app:

        @app.task(bind=True, name="shop.pay")  # type: ignore[untyped-decorator]
        def pay(self: Task) -> Any:
            if not self.request.retries:
                raise self.retry(countdown=0.1)
            return "paid"

        full = app.fullresult
        with start_worker(app, perform_ping_check=False, shutdown_timeout=30):
            full.start_sweeper()
            try:
                task_id = pay.delay().id
                until(lambda: full.get(task_id).state == "SUCCESS")
            finally:
                full.stop_sweeper()

    assert full.get(task_id).retries == 1
