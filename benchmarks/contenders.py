"""The contenders: how each one records a task, and how many tasks it has recorded."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import psycopg
import pymongo
import redis
from celery import Celery, signals


@dataclass(frozen=True)
class Contender:
    """One way to record tasks.

    `install` sets up the app of a publisher or a worker for a store's URL; `recorded` counts the
    tasks that a store says succeeded. A contender on Django names its settings module.
    """

    name: str
    store: str
    install: Callable[[Celery, str], None]
    recorded: Callable[[str], int]
    requires: tuple[str, ...] = ()
    django_settings: str | None = None

    def missing(self) -> list[str]:
        """The modules it needs that are not installed here."""
        return [module for module in self.requires if find_spec(module) is None]

    def environment(self) -> dict[str, str]:
        """What selects it in a publisher or a worker."""
        selected = {"BENCHMARK_CONTENDER": self.name}
        if self.django_settings:
            selected["DJANGO_SETTINGS_MODULE"] = self.django_settings
        return selected


@dataclass(frozen=True)
class Limit:
    """What no way to record can beat: the bare driver, see `bare.py`."""

    name: str
    store: str
    synchronous: str = "FULL"


def _install_nothing(_app: Celery, _url: str) -> None:
    pass


def _record_nothing(_url: str) -> int:
    return 0


def _install_backend(app: Celery, url: str) -> None:
    app.conf.update(result_backend=url, result_extended=True, task_track_started=True)


def _install_mongodb(app: Celery, url: str) -> None:
    app.conf.mongodb_backend_settings = {"w": "majority", "journal": True}
    _install_backend(app, url)


def _install_database(app: Celery, url: str) -> None:
    _install_backend(app, "db+" + url.replace("postgresql://", "postgresql+psycopg://"))


def _install_django(app: Celery, _url: str) -> None:
    import django  # Only where it is the contender.

    django.setup()
    _install_backend(app, "django-db")


def _install_django_publish(app: Celery, url: str) -> None:
    _install_django(app, url)
    signals.before_task_publish.connect(_create_task_result, weak=False)


def _create_task_result(sender: str, headers: dict[str, Any], **_: object) -> None:
    # Needs a configured Django.
    from django_celery_results.models import TaskResult  # type: ignore[import-untyped]

    TaskResult.objects.create(
        task_id=headers["id"],
        task_name=sender,
        task_args=headers["argsrepr"],
        task_kwargs=headers["kwargsrepr"],
        status="PENDING",
    )


def _install_ours(app: Celery, url: str) -> None:
    from fullresult import FullResult

    app.conf.fullresult_storage = url
    FullResult(app)


def _install_ours_spooled(app: Celery, url: str) -> None:
    app.conf.fullresult_write_mode = "spooled"
    _install_ours(app, url)


def _recorded_by_redis(url: str) -> int:
    with closing(redis.Redis.from_url(url)) as client:
        return sum(1 for _ in client.scan_iter("celery-task-meta-*", count=1000))


def _recorded_by_mongodb(url: str) -> int:
    with pymongo.MongoClient[dict[str, object]](url) as client:
        return client.get_default_database()["celery_taskmeta"].count_documents(
            {"status": "SUCCESS"}
        )


def _recorded_by_database(url: str) -> int:
    return _count_succeeded(url, "celery_taskmeta")


def _recorded_by_django(url: str) -> int:
    return _count_succeeded(url, "django_celery_results_taskresult")


def _count_succeeded(url: str, table: str) -> int:
    statement = f"SELECT count(*) FROM {table} WHERE status = 'SUCCESS'"
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return int(file.execute(statement).fetchone()[0])
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return int(row[0]) if row else 0


def _recorded_by_ours(url: str) -> int:
    from fullresult import FullResult

    app = Celery("count", set_as_current=False)
    app.conf.fullresult_storage = url
    full = FullResult(app)
    try:
        return full.count(state="SUCCESS")
    finally:
        full.close()


_DJANGO = ("django", "django_celery_results")
_OURS = ("fullresult", "fullresult_storage_sql")

NONE = Contender("none", "", _install_nothing, _record_nothing)
REDIS = Contender("redis", "redis", _install_backend, _recorded_by_redis)
MONGODB = Contender("mongodb", "mongodb", _install_mongodb, _recorded_by_mongodb)
DATABASE_POSTGRESQL = Contender(
    "database-postgresql", "postgresql", _install_database, _recorded_by_database, ("sqlalchemy",)
)
DATABASE_SQLITE = Contender(
    "database-sqlite", "sqlite", _install_database, _recorded_by_database, ("sqlalchemy",)
)
DJANGO = Contender(
    "django",
    "postgresql",
    _install_django,
    _recorded_by_django,
    _DJANGO,
    "benchmarks.django_settings",
)
DJANGO_PUBLISH = Contender(
    "django-publish",
    "postgresql",
    _install_django_publish,
    _recorded_by_django,
    _DJANGO,
    "benchmarks.django_settings",
)
OURS_POSTGRESQL = Contender(
    "ours-postgresql", "postgresql", _install_ours, _recorded_by_ours, _OURS
)
OURS_POSTGRESQL_SPOOLED = Contender(
    "ours-postgresql-spooled", "postgresql", _install_ours_spooled, _recorded_by_ours, _OURS
)
OURS_SQLITE_SPOOLED = Contender(
    "ours-sqlite-spooled", "sqlite", _install_ours_spooled, _recorded_by_ours, _OURS
)
OURS_SQLITE = Contender("ours-sqlite", "sqlite", _install_ours, _recorded_by_ours, _OURS)
OURS_MONGODB = Contender(
    "ours-mongodb",
    "mongodb",
    _install_ours,
    _recorded_by_ours,
    ("fullresult", "fullresult_storage_mongo"),
)

# In the order of a round: what is compared runs close together, as the machine's speed drifts.
CONTENDERS = {
    contender.name: contender
    for contender in (
        REDIS,
        MONGODB,
        OURS_MONGODB,
        DJANGO,
        DJANGO_PUBLISH,
        DATABASE_POSTGRESQL,
        OURS_POSTGRESQL,
        OURS_POSTGRESQL_SPOOLED,
        NONE,
        OURS_SQLITE_SPOOLED,
        OURS_SQLITE,
        DATABASE_SQLITE,
    )
}

BARE_POSTGRESQL = Limit("bare-postgresql", "postgresql")
BARE_SQLITE = Limit("bare-sqlite", "sqlite")
BARE_SQLITE_NORMAL = Limit("bare-sqlite-normal", "sqlite", synchronous="NORMAL")
BARE_MONGODB = Limit("bare-mongodb", "mongodb")

LIMITS = {
    limit.name: limit for limit in (BARE_POSTGRESQL, BARE_SQLITE, BARE_SQLITE_NORMAL, BARE_MONGODB)
}


def chosen() -> Contender:
    """The contender this publisher or worker was started for."""
    return CONTENDERS[os.environ["BENCHMARK_CONTENDER"]]
