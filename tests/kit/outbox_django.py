"""A connection of Django's as the caller's, without a project."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import UserSettingsHolder, global_settings, settings
from django.db import connections, transaction

_numbers = itertools.count()


class DjangoCaller:
    """By `atomic()` on an alias."""

    has_savepoints = True
    begins_by_itself = False

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.connection = connections[alias]
        self._blocks: list[Any] = []

    def begin(self) -> None:
        self._blocks.append(transaction.atomic(using=self.alias))
        self._blocks[-1].__enter__()

    def insert(self, order: int) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders VALUES (%s)", [order])

    def commit(self) -> None:
        self._blocks.pop().__exit__(None, None, None)

    def rollback(self) -> None:
        transaction.set_rollback(True, using=self.alias)
        self.commit()

    def savepoint(self) -> None:
        self.begin()

    def rollback_to_savepoint(self) -> None:
        self.rollback()


@contextmanager
def by_django(url: str) -> Iterator[DjangoCaller]:
    with _configured():
        alias = f"alias{next(_numbers)}"
        known = connections.configure_settings({"default": {}, alias: _database(url)})
        connections.settings[alias] = known[alias]
        try:
            caller = DjangoCaller(alias)
            with caller.connection.cursor() as cursor:
                cursor.execute("CREATE TABLE IF NOT EXISTS orders (id integer PRIMARY KEY)")
            yield caller
        finally:
            connections[alias].close()
            del connections[alias], connections.settings[alias]


@contextmanager
def _configured() -> Iterator[None]:
    """Have Django settings and no applications, if there are none."""
    apps.populate(())
    if settings.configured:
        yield
        return
    before = settings._wrapped
    settings._wrapped = UserSettingsHolder(global_settings)
    settings.DATABASES = {"default": {"ENGINE": "django.db.backends.dummy"}}
    try:
        yield
    finally:
        settings._wrapped = before
        vars(connections).pop("settings", None)


def _database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path[1:]}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": parts.port,
    }
