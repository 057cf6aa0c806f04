"""The storage in a database of Django's settings: `django://ALIAS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from celery.exceptions import ImproperlyConfigured

from fullresult.hookspecs import hookimpl
from fullresult.storage import Refused
from fullresult_storage_sql import plugin
from fullresult_storage_sql.django_places import (
    Place,
    is_forbidden,
    is_joined,
    place_of,
    tests_run,
)
from fullresult_storage_sql.django_sessions import JoinedSQLite, joined_postgresql
from fullresult_storage_sql.storage import SqlStorage

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.storage import Storage
    from fullresult_storage_sql.database import Database

SCHEME = "django://"
VENDORS = ("postgresql", "sqlite")


@hookimpl
def fullresult_open_storage(url: str, settings: Settings) -> Storage | None:
    if not url.startswith(SCHEME):
        return None
    alias = url.removeprefix(SCHEME).strip("/")
    return DjangoStorage(Following(alias, settings, _checked(alias)), settings)


@hookimpl
def fullresult_schema_sql(url: str, settings: Settings) -> str | None:
    connection = _checked(url.removeprefix(SCHEME).strip("/"))()
    known = "sqlite:///x.db" if connection.vendor == "sqlite" else "postgresql://"
    return plugin.fullresult_schema_sql(known, settings)


def _checked(alias: str) -> Callable[[], Any]:
    """Answers Django's connection *alias* of this thread. Raises `ImproperlyConfigured`."""
    key = f"fullresult_storage = '{SCHEME}{alias}'"
    try:
        from django.core.exceptions import ImproperlyConfigured as NotConfigured
        from django.db import connections
    except ImportError as error:
        raise ImproperlyConfigured(f"{key} needs Django: {error}") from error
    try:
        known = list(connections)
        vendor = connections[alias].vendor if alias in known else None
    except NotConfigured as error:
        raise ImproperlyConfigured(f"{key} needs Django's settings: {error}") from error
    if vendor is None:
        raise ImproperlyConfigured(f"{key}: DATABASES has {', '.join(known)}, and no {alias!r}")
    if vendor not in VENDORS:
        raise ImproperlyConfigured(
            f"{key} is a database of {vendor}: records are kept in PostgreSQL, SQLite or MongoDB; "
            "name another database in DATABASES, or give a URL"
        )
    return lambda: connections[alias]


class Following:
    """The database that an alias leads to now: in tests, the one that the runner made.

    In a `TestCase`, on PostgreSQL if Django uses psycopg 3, and in any `atomic()` on SQLite, it is
    used over Django's own connection and goes as its transaction goes.
    """

    def __init__(self, alias: str, settings: Settings, connection: Callable[[], Any]) -> None:
        self._alias = alias
        self._settings = settings
        self._connection = connection
        self._seen: tuple[str, bool] | None = None
        self._place: Place | None = None
        self._database: Database | None = None
        self._joined: Database | None = None

    def __repr__(self) -> str:
        return f"{SCHEME}{self._alias}"

    def here(self) -> tuple[Database, bool]:
        """The database, and True if it is another one than the last time.

        Raises `Refused` in a test that may not use it.
        """
        connection = self._connection()
        seen = str(connection.settings_dict["NAME"]), tests_run()
        moved = seen != self._seen
        if moved:
            self._move(place_of(connection))
            self._seen = seen
        place = self._place
        assert place is not None
        if not place.may_be_used or (place.in_tests and is_forbidden(connection)):
            raise Refused(
                f"{self!r}: this test has no database, and the real one is left alone; use "
                "django.test.TestCase"
            )
        return self._used(connection, place), moved

    def _used(self, connection: Any, place: Place) -> Database:
        if self._joined is not None and is_joined(connection, place):
            return self._joined
        assert self._database is not None
        return self._database

    @property
    def is_passing(self) -> bool:
        """True if what is made now may be rolled back."""
        place = self._place
        return (
            place is not None and self._joined is not None and is_joined(self._connection(), place)
        )

    def _move(self, place: Place) -> None:
        self.close()
        self._place, timeout = place, self._settings.storage_timeout
        seen = str(self._connection().settings_dict["NAME"])
        if place.vendor == "sqlite":
            self._joined = JoinedSQLite(self._connection, Path(seen), timeout)
        elif place.in_tests and hasattr(_driver(self._connection()), "pq"):
            self._joined = joined_postgresql(self._connection, place.url, timeout)
        else:
            self._joined = None
        self._database = self._joined if place.is_memory else self._opened(place)

    def _opened(self, place: Place) -> Database:
        opened = plugin.database(place.url, self._settings)
        if place.in_tests:
            opened.keep_no_connection()
        return opened

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.here()[0], name)


def _driver(connection: Any) -> Any:
    """The driver that Django uses: psycopg or psycopg2."""
    return connection.Database


class DjangoStorage(SqlStorage):
    """A `SqlStorage` whose database may change, when Django's tests begin and end."""

    def __init__(self, following: Following, settings: Settings) -> None:
        super().__init__(cast("Database", following), auto_setup=settings.auto_setup)
        self._following = following

    def _prepared(self) -> Database:
        database, moved = self._following.here()
        if moved:
            self._ready = False
        if not self._ready:
            self._get_ready()
            # Tables that were made in a transaction go with it.
            self._ready = not self._following.is_passing
        return database
