"""Fields for columns that the storage writes: its dates in SQLite, its JSON in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from django.conf import settings
from django.db import models
from django.db.backends.sqlite3 import _functions
from django.db.models.expressions import Col
from django.db.models.functions import ExtractIsoYear, ExtractYear
from django.utils import timezone as django_timezone

_YEARS = {"year": ExtractYear, "iso_year": ExtractIsoYear}


class Date(models.DateTimeField):
    """A date and time. In SQLite the storage keeps it as `2026-01-31T12:00:00.000+00:00`."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if not prepared:
            value = self.get_prep_value(value)
        if connection.vendor != "sqlite" or not isinstance(value, datetime):
            return super().get_db_prep_value(value, connection, prepared=True)
        if django_timezone.is_naive(value):
            value = django_timezone.make_aware(value)
        return value.astimezone(timezone.utc).isoformat(timespec="milliseconds")

    def from_db_value(self, value: Any, *_: Any) -> Any:
        if isinstance(value, datetime) and not settings.USE_TZ and django_timezone.is_aware(value):
            return django_timezone.make_naive(value)
        return value

    def get_transform(self, name: str) -> Any:
        return _Year.of(_YEARS[name]) if name in _YEARS else super().get_transform(name)


class _Year:
    """A year that is compared as a number: Django would compare dates as it writes them."""

    @staticmethod
    def of(base: type) -> type:
        def get_lookup(self: Any, name: str) -> Any:
            return self.output_field.get_lookup(name)

        return type(base.__name__, (base,), {"get_lookup": get_lookup})


def read_dates(connection: Any, **_: Any) -> None:
    """Teach a new SQLite connection of Django's the storage's dates.

    Its functions for `__date`, `__hour` and the like expect a space between date and time.
    """
    if connection.vendor == "sqlite":
        for name, (number, function) in _FUNCTIONS.items():
            connection.connection.create_function(
                name, number, _spaced(function), deterministic=True
            )


_FUNCTIONS = {
    "django_datetime_cast_date": (3, _functions._sqlite_datetime_cast_date),  # noqa: SLF001
    "django_datetime_cast_time": (3, _functions._sqlite_datetime_cast_time),  # noqa: SLF001
    "django_datetime_extract": (4, _functions._sqlite_datetime_extract),  # noqa: SLF001
    "django_datetime_trunc": (4, _functions._sqlite_datetime_trunc),  # noqa: SLF001
}
_DATE = len("2026-01-31")


def _spaced(function: Callable[..., Any]) -> Callable[..., Any]:
    def of_either(*given: Any) -> Any:
        return function(*map(_with_space, given))

    return of_either


def _with_space(value: Any) -> Any:
    """A date of the storage's with a space for its `T`; any other value as it is."""
    if isinstance(value, str) and value[_DATE : _DATE + 1] == "T":
        return f"{value[:_DATE]} {value[_DATE + 1 :]}"
    return value


class _AsJsonb(Col):
    """A column of the type `json`, which PostgreSQL neither compares nor gives to Django."""

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        sql, params = self.as_sql(compiler, connection)
        return f"({sql})::jsonb", params


class Json(models.JSONField):
    """JSON in a column of the type `json` or, in SQLite, text."""

    def get_col(self, alias: str | None, output_field: Any = None) -> Any:
        return _AsJsonb(alias, self, output_field or self)

    @property
    def cached_col(self) -> Any:
        return _AsJsonb(self.model._meta.db_table, self)  # noqa: SLF001


class JsonText(models.TextField):
    """JSON in a column of text: read it, do not ask about its inside."""

    def from_db_value(self, value: Any, *_: Any) -> Any:
        try:
            return None if value is None else json.loads(value)
        except ValueError:
            return value
