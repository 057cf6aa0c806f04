"""An app without `FullResult`, whose results another package keeps, and a worker that runs it.

`python -m tests.apps.other_results CONF` runs a task of each kind and prints their ids as JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from celery import Celery
from celery.contrib.testing.worker import start_worker


def app_with(conf: dict[str, Any]) -> Celery:
    app = Celery("others", broker="memory://")
    app.conf.update(
        accept_content=["json", "pickle"],
        task_track_started=True,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        **conf,
    )

    @app.task(name="shop.add")  # type: ignore[untyped-decorator]
    def add(*args: Any, **kwargs: Any) -> Any:
        return {"args": list(args), "kwargs": kwargs}

    @app.task(name="shop.fail")  # type: ignore[untyped-decorator]
    def fail(secret: str) -> None:
        raise ValueError(f"no {secret}")

    @app.task(name="shop.again", bind=True, max_retries=1)  # type: ignore[untyped-decorator]
    def again(self: Any) -> str:
        if not self.request.retries:
            raise self.retry(countdown=0)
        return "at last"

    @app.task(name="shop.parent")  # type: ignore[untyped-decorator]
    def parent() -> str:
        return str(app.signature("shop.add", (9,)).delay().id)

    return app


def run(app: Celery) -> dict[str, str]:
    """Run one task of each kind in a worker. Returns their ids by name."""
    task = app.tasks
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
        results: dict[str, Any] = {
            "exact": task["shop.add"].delay(1, "a", key=[1, {"b": None}]),
            "tuple": task["shop.add"].delay((1, 2)),
            "long": task["shop.add"].delay("x" * 3000),
            "fail": task["shop.fail"].delay("secret"),
            "again": task["shop.again"].delay(),
            "parent": task["shop.parent"].delay(),
        }
        for result in results.values():
            with contextlib.suppress(ValueError):
                result.get(timeout=30, interval=0.02)
        child = results["parent"].get()
        app.AsyncResult(child).get(timeout=30, interval=0.02)
        group = task["shop.add"].chunks([(1,), (2,)], 1).group().apply_async()
        group.get(timeout=30, interval=0.02)
        group.save()
    ids = {name: str(result.id) for name, result in results.items()}
    return {**ids, "child": child, "group": str(group.id)}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if django := given.pop("django", None):
        import django as package
        from django.conf import settings
        from django.core.management import call_command

        settings.configure(
            DATABASES={"default": django},
            INSTALLED_APPS=["django_celery_results"],
            USE_TZ=True,
            DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        )
        package.setup()
        call_command("migrate", verbosity=0)
    print(json.dumps(run(app_with(given))))  # noqa: T201
