"""What `manage.py check` finds."""

from __future__ import annotations

from typing import Any
from unittest import skipUnless
from unittest.mock import patch

from django import VERSION
from django.apps import apps
from django.core.checks import run_checks
from django.db import connection, connections
from django.test import TestCase, override_settings
from proj.celery import app


def found(**settings: Any) -> dict[str, str]:
    """The messages of ours with these *settings*, by their ids."""
    with override_settings(**settings):
        said = [m for m in run_checks(databases=["default"]) if str(m.id).startswith("fullresult.")]
    return {str(message.id): f"{message.msg} {message.hint or ''}" for message in said}


class Checks(TestCase):
    def test_a_mistyped_key_names_its_neighbour(self) -> None:
        said = found(CELERY_FULLRESULT_STORGE="x")

        assert "the nearest is CELERY_FULLRESULT_STORAGE" in said["fullresult.W003"]
        assert "fullresult.E002" not in said

    def test_wrong_values_are_errors(self) -> None:
        for settings, sentence in (
            ({"CELERY_FULLRESULT_STORAGE": "postgresql"}, "it must be a URL"),
            ({"CELERY_FULLRESULT_STORAGE": "django://x"}, "DATABASES has default, and no 'x'"),
            ({"CELERY_FULLRESULT_STORAGE": "oracle://x"}, "no installed adapter serves"),
            ({"CELERY_FULLRESULT_POOL_SIZE": 0}, "a whole number of at least 1"),
        ):
            assert sentence in found(**settings)["fullresult.E002"]

    def test_a_database_that_keeps_no_records_is_an_error(self) -> None:
        other = {**connection.settings_dict, "ENGINE": "django.db.backends.dummy"}
        with patch.dict(connections.settings, lake=other):
            said = found(CELERY_FULLRESULT_STORAGE="django://lake")["fullresult.E002"]
        del connections["lake"]

        assert "records are kept in PostgreSQL, SQLite or MongoDB" in said

    def test_an_outbox_in_another_database_than_the_records_is_an_error(self) -> None:
        said = found(CELERY_FULLRESULT_STORAGE="postgresql://ada:secret@db/x")["fullresult.E002"]

        assert "nobody would send its tasks" in said
        assert "set CELERY_FULLRESULT_OUTBOXES = {'default': 'django://default'}" in said
        assert "secret" not in said

    def test_an_outbox_that_is_none_of_djangos_databases_is_an_error(self) -> None:
        """Also if its database is named: each `delay()` would ask Django for its connection."""
        for settings in (
            {"CELERY_FULLRESULT_OUTBOX": "defualt"},
            {
                "CELERY_FULLRESULT_OUTBOX": "defualt",
                "CELERY_FULLRESULT_OUTBOXES": {"defualt": "sqlite:////tmp/shop.db"},
            },
        ):
            said = found(**settings)["fullresult.E002"]

            assert "CELERY_FULLRESULT_OUTBOX has 'defualt'; DATABASES has default" in said

    def test_old_settings_name_their_successors(self) -> None:
        said = found(DJANGO_CELERY_FULLDBRESULT_SCHEDULE_ETA=True)

        assert "Its successor is CELERY_FULLRESULT_SCHEDULE_ETA" in said["fullresult.W004"]

    def test_a_storage_elsewhere_has_no_models(self) -> None:
        said = found(CELERY_FULLRESULT_STORAGE="mongodb://127.0.0.1:1/x")

        assert "the models and the admin do not" in said["fullresult.I008"]

    def test_a_site_that_is_set_up_well_is_told_nothing(self) -> None:
        assert found() == {}

    def test_atomic_requests_want_an_outbox(self) -> None:
        said = found(CELERY_FULLRESULT_OUTBOX=False)

        assert "ATOMIC_REQUESTS is on" in said["fullresult.W006"]
        is_sqlite = connection.vendor == "sqlite"
        assert ("fullresult.W005" in said) == is_sqlite

    @skipUnless(VERSION >= (5, 1) and connection.vendor == "sqlite", "of SQLite since Django 5.1")
    def test_transactions_of_sqlite_that_begin_by_reading_are_named(self) -> None:
        with patch.dict(connection.settings_dict, OPTIONS={}):
            said = found()

        assert "IMMEDIATE" in said["fullresult.W009"]

    def test_an_app_without_fullresult_is_an_error(self) -> None:
        config, full = apps.get_app_config("fullresult"), app.fullresult
        try:
            del app.fullresult
            config._app = None
            assert list(found()) == ["fullresult.E001"]
        finally:
            app.fullresult, config._app = full, app

    def test_passwords_are_not_shown(self) -> None:
        said = found(CELERY_FULLRESULT_STORAGE="postgresql://u:secret@127.0.0.1/x")

        assert "secret" not in str(said)
        assert "***" in said["fullresult.I008"]
