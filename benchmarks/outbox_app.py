"""The apps that publish through an outbox, and Django's settings for those that need it.

`BENCHMARK_STORE` and `BENCHMARK_BROKER` name the servers. `app` is the one that a worker or a
relay takes: ours, or with `BENCHMARK_KIND=django-celery-outbox` that package's.
"""

import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from celery import Celery
from psycopg.conninfo import conninfo_to_dict

from fullresult import FullResult

RIVAL = "django-celery-outbox"
BROKER, STORE = os.environ.get("BENCHMARK_BROKER", "memory://"), os.environ.get("BENCHMARK_STORE")
_place = conninfo_to_dict(STORE) if STORE and STORE.startswith("postgresql") else {}

# --- Django's settings

SECRET_KEY = "benchmark"
USE_TZ = True
INSTALLED_APPS = ["django_celery_outbox"] if find_spec("django_celery_outbox") else []
CELERY_OUTBOX_APP = "benchmarks.outbox_app.rival"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _place.get("dbname", ""),
        "USER": _place.get("user", ""),
        "PASSWORD": _place.get("password", ""),
        "HOST": _place.get("host", ""),
        "PORT": _place.get("port", ""),
    }
}


def plain() -> Celery:
    app = Celery("benchmark", broker=BROKER, set_as_current=False)
    app.conf.task_default_queue = "benchmark"
    app.conf.broker_connection_retry_on_startup = True
    return app


def ours(**settings: Any) -> Celery:
    """An app that records in the store; *settings* of `fullresult`."""
    app = plain()
    app.conf.fullresult_storage = STORE
    app.conf.fullresult_outbox = True
    app.conf.update(settings)
    FullResult(app).setup()
    return app


def django_celery_outbox() -> Celery:
    from django_celery_outbox import OutboxCelery

    app: Celery = OutboxCelery("benchmark", broker=BROKER, set_as_current=False)
    app.conf.task_default_queue = "benchmark"
    return app


if os.environ.get("BENCHMARK_KIND") == RIVAL:
    app = rival = django_celery_outbox()
elif STORE:
    app = ours(fullresult_outbox_wake=os.environ.get("BENCHMARK_WAKE", "notify"))

    @app.task(name="tell")  # type: ignore[untyped-decorator]
    def tell(word: str) -> None:
        """Write *word* and the time of day to the report."""
        with Path(os.environ["BENCHMARK_REPORT"]).open("a") as report:
            report.write(f"{word} {time.time()}\n")
