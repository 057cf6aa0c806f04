"""What `manage.py check` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from celery.exceptions import ImproperlyConfigured
from django import VERSION
from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections

from fullresult.config import Settings
from fullresult.config.reading import READERS
from fullresult.django.open_transactions import wrong_outboxes
from fullresult.django.site import NO_APP, alias_of, app_of_site
from fullresult.django.staying import take_hold
from fullresult.storage import StorageError

if TYPE_CHECKING:
    from celery import Celery

_OLD = "DJANGO_CELERY_FULLDBRESULT_"
SUCCESSORS = {
    "TRACK_PUBLISH": "CELERY_FULLRESULT_TRACK_PUBLISH, which is True by default",
    "USE_JSON": "CELERY_FULLRESULT_USE_JSON",
    "FORCE_JSON": "CELERY_FULLRESULT_FORCE_JSON",
    "SCHEDULE_ETA": "CELERY_FULLRESULT_SCHEDULE_ETA",
    "MONKEY_PATCH_ASYNC": "nothing: CELERY_FULLRESULT_SCHEDULE_ETA needs no patch",
    "OVERRIDE_DJCELERY_ADMIN": "nothing: the admin's action Run now is there by itself",
}
_HAS_MODES = (5, 1)
"""The version of Django that lets SQLite's transactions begin otherwise."""
_OUTBOX_HINT = 'CELERY_FULLRESULT_OUTBOX = "default" has them wait for the commit.'


def register() -> None:
    checks.register(check_site, checks.Tags.compatibility)
    checks.register(check_tables, checks.Tags.database)
    checks.register(begin_tests, checks.Tags.compatibility)


def begin_tests(**_: Any) -> list[checks.CheckMessage]:
    """Say nothing: Django's runner checks the site before the first test."""
    take_hold()
    return []


def check_site(**_: Any) -> list[checks.CheckMessage]:
    """The app, its configuration, and what does not go together."""
    app = app_of_site()
    if app is None:
        return [*_old_settings(), checks.Error(NO_APP, id="fullresult.E001")]
    unknown = list(_unknown_keys(app))
    try:
        known = Settings.of(app)
    except ImproperlyConfigured as error:
        wrong = [] if unknown else [checks.Error(str(error), id="fullresult.E002")]
        return [*_old_settings(), *unknown, *wrong]
    return [*_old_settings(), *unknown, *_storage(app, known)]


def _unknown_keys(app: Celery) -> Iterator[checks.CheckMessage]:
    """Keys that no setting has. Celery reads those that begin with its namespace."""
    prefix = f"{getattr(app.conf, 'prefix', '') or ''}FULLRESULT_".upper()
    known = [prefix + name.upper() for name in READERS]
    for key in dir(settings):
        if key.startswith(prefix) and key not in known:
            [nearest] = get_close_matches(key, known, n=1, cutoff=0)
            yield checks.Warning(
                f"there is no setting {key}: the nearest is {nearest}",
                hint="Until it is corrected, each delay() raises ImproperlyConfigured.",
                id="fullresult.W003",
            )


def _old_settings() -> Iterator[checks.CheckMessage]:
    for key in dir(settings):
        if key.startswith(_OLD):
            successor = SUCCESSORS.get(key.removeprefix(_OLD), "nothing of that name")
            yield checks.Warning(
                f"{key} is of django-celery-fulldbresult and has no effect",
                hint=f"Its successor is {successor}.",
                id="fullresult.W004",
            )


def _storage(app: Celery, known: Settings) -> Iterator[checks.CheckMessage]:
    alias = alias_of(known.storage)
    try:
        storage = app.fullresult.storage
    except ImproperlyConfigured as error:
        yield checks.Error(str(error), id="fullresult.E002")
        return
    for wrong in wrong_outboxes(known):
        yield checks.Error(wrong, id="fullresult.E002")
    if alias is None:
        yield checks.Info(
            f"the records are in {storage!r}: commands and pages work, the models and the admin "
            "do not",
            hint='They need CELERY_FULLRESULT_STORAGE = "django://ALIAS".',
            id="fullresult.I008",
        )
        return
    if _begins_by_reading(connections[alias]):
        yield checks.Warning(
            "the records share a SQLite file with the site, whose transactions may begin by "
            "reading: once another process has written, what they write themselves fails with "
            '"database is locked"',
            hint='OPTIONS = {"transaction_mode": "IMMEDIATE"} of that database has them wait.',
            id="fullresult.W009",
        )
    if getattr(known, "outbox", None):
        return
    if connections[alias].vendor == "sqlite":
        yield checks.Warning(
            "the records share a SQLite file with the site: what is published in atomic() is sent "
            "at once, and its record comes and goes with the transaction",
            hint=_OUTBOX_HINT,
            id="fullresult.W005",
        )
    if any(each.get("ATOMIC_REQUESTS") for each in connections.settings.values()):
        yield checks.Warning(
            "ATOMIC_REQUESTS is on: a task that a view publishes may run before the view's "
            "transaction commits, or although it is rolled back",
            hint=_OUTBOX_HINT,
            id="fullresult.W006",
        )


def _begins_by_reading(connection: Any) -> bool:
    """True if transactions of the site's SQLite file take no lock at first, and could."""
    options = connection.settings_dict.get("OPTIONS", {})
    return (
        connection.vendor == "sqlite"
        and connection.alias == DEFAULT_DB_ALIAS
        and VERSION >= _HAS_MODES
        and str(options.get("transaction_mode")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}
    )


def check_tables(databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """The tables, if the database that has them is to be checked.

    No error: `migrate`, which makes them, would not begin.
    """
    app = app_of_site()
    if app is None:
        return []
    try:
        alias = alias_of(Settings.of(app).storage)
        if alias is not None and alias in (databases or ()):
            app.fullresult.parts.check_tables()
    except ImproperlyConfigured:
        return []  # said by check_site
    except StorageError:
        return [
            checks.Warning(
                f"the tables of records in the database {alias!r} are missing or old",
                hint="Run manage.py migrate, or manage.py fullresult setup.",
                id="fullresult.W007",
            )
        ]
    return []
