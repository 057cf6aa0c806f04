"""What the storage does when Django migrates, runs tests, or overrides a setting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery.exceptions import ImproperlyConfigured
from django.apps import apps
from django.db import connections

from fullresult.django.site import alias_of, app_of_site
from fullresult.django.staying import tests_run

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings


_KEPT = ("fullresult_schema",)


def settings_in_tests(settings: Settings) -> Settings:
    """*settings*; while tests run without a spool, which outlives a test and its database."""
    if not tests_run():
        return settings
    return replace(settings, spool_directory=None, write_mode="direct")


def set_up(using: str, **_: Any) -> None:
    """Make or upgrade the tables after `migrate`, if they are in the database *using*."""
    app = app_of_site()
    if app is None:
        return
    full = app.fullresult
    try:
        if tests_run():
            full.parts.reopen()
        is_here = alias_of(full.settings.storage) == using
    except ImproperlyConfigured:
        return  # the checks say so
    if is_here:
        full.setup()
        full.close()
        if tests_run():
            empty_after_flush(using)


def empty_after_flush(alias: str) -> None:
    """Empty the tables of the test database *alias*.

    A `TransactionTestCase` empties those of managed models only, by `flush`, and then tells of a
    migration.
    """
    connection = connections[alias]
    if str(connection.settings_dict["NAME"]) == real_names().get(alias):
        return
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table.startswith("fullresult_") and table not in _KEPT:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")  # noqa: S608


def real_names() -> dict[str, str]:
    """The names of the databases before any test: those of the real site."""
    names: dict[str, str] = apps.get_app_config("fullresult").real_names
    return names


def follow_setting(setting: str, **_: Any) -> None:
    """Read the configuration anew if `override_settings` changed a key of ours."""
    app = app_of_site()
    if app is not None and "FULLRESULT_" in setting.upper():
        _forget_shown(app)
        app.fullresult.parts.reopen()


def _forget_shown(app: Celery) -> None:
    """Take back what hides passwords: it stands before Django's settings."""
    from fullresult.config.shown_url import ShownUrl

    for layer in app.conf.maps:
        if isinstance(layer, dict):
            for key in [key for key, value in layer.items() if isinstance(value, ShownUrl)]:
                del layer[key]
