"""The sources by their names, and that of an app's own result backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery

from fullresult.config.urls import without_password
from fullresult.importers.celery_database import CeleryDatabase
from fullresult.importers.celery_mongodb import CeleryMongoDB
from fullresult.importers.databases import Database, Django, open_database
from fullresult.importers.django_celery_results import DjangoCeleryResults
from fullresult.importers.errors import CannotImport
from fullresult.importers.flower import Flower
from fullresult.importers.fulldbresult import FullDbResult
from fullresult.importers.source import Options, Source

BACKEND = "backend"
NAMES = (BACKEND, "django-celery-results", "fulldbresult", "celery", "flower")
_TABLES: dict[str, Callable[[Database, Options], Source]] = {
    "django-celery-results": DjangoCeleryResults,
    "fulldbresult": FullDbResult,
    "celery": CeleryDatabase,
}
_OF_DJANGO = frozenset({"django-celery-results", "fulldbresult"})


def open_source(
    app: Celery, name: str, url: str | None, options: Options, *, writes: bool = False
) -> Source:
    """The source called *name* at *url*, a file's path for Flower. Raises `CannotImport`."""
    if name == BACKEND:
        if url is not None:
            raise CannotImport("backend is the app's own result backend, and takes no URL")
        return _of_backend(app, options)
    if name not in NAMES:
        raise CannotImport(f"{name!r} is not known; there are {', '.join(NAMES)}")
    if url is None and name in _OF_DJANGO:
        return _TABLES[name](_django("default"), options)
    if url is None:
        raise CannotImport(f"{name}: say where it is: a {'file' if name == 'flower' else 'URL'}")
    if name == "flower":
        return Flower(url, options)
    if name == "celery" and url.startswith(("mongodb://", "mongodb+srv://")):
        return CeleryMongoDB(url, None, options)
    return _TABLES[name](open_database(url, writes=writes), options)


def _django(alias: str) -> Database:
    try:
        from django import setup
        from django.apps import apps
        from django.conf import settings
        from django.db import connections
    except ImportError as error:
        raise CannotImport("say where it is: a URL") from error
    if not settings.configured:
        raise CannotImport("say where it is: a URL; Django is not configured here")
    if not apps.ready:
        setup()  # `celery -A proj` leaves it to whoever needs it; Django warns of queries before
    return Django(connections[alias])


def _of_backend(app: Celery, options: Options) -> Source:
    """The source that the app's result backend writes."""
    backend = str(app.conf.result_backend or "")
    if backend in ("django-db", "django_celery_results.backends:DatabaseBackend"):
        return DjangoCeleryResults(_django("default"), options)
    if backend == "database":
        backend = f"db+{app.conf.database_url}"
    if backend.startswith("db+"):
        return _table_of(app, backend, options)
    if backend == "mongodb" or backend.startswith(("mongodb://", "mongodb+srv://")):
        return _collection_of(app, backend, options)
    raise CannotImport(
        f"result_backend = {without_password(backend)!r}: results are imported from Celery's "
        "database and mongodb backends and from django-db. Others, such as Redis, have no list "
        "of what they keep"
    )


def _table_of(app: Celery, backend: str, options: Options) -> Source:
    names, schemas = app.conf.database_table_names or {}, app.conf.database_table_schemas or {}
    table = options.table or names.get("task") or CeleryDatabase.default_table
    if "." not in table and schemas.get("task"):
        table = f"{schemas['task']}.{table}"
    return CeleryDatabase(open_database(backend), options._replace(table=table))


def _collection_of(app: Celery, backend: str, options: Options) -> Source:
    given: dict[str, Any] = app.conf.mongodb_backend_settings or {}
    url = backend if "://" in backend else str(given.get("host") or "mongodb://localhost:27017")
    if "://" not in url:
        url = f"mongodb://{url}:{given.get('port', 27017)}"
    table = options.table or given.get("taskmeta_collection")
    return CeleryMongoDB(url, given.get("database"), options._replace(table=table))
