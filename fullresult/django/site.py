"""The Celery app of a Django site, its `FullResult`, and the database that has its records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import _state, current_app
from celery.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.extension import FullResult

SCHEME = "django://"
NO_APP = (
    "no Celery app of this site is recorded; add two lines where it is made, "
    "from fullresult import FullResult; FullResult(app), and import that module in the "
    "project's __init__.py: from .celery import app"
)


def find_app() -> Celery | None:
    """The current app if it has `FullResult`, else the first one that has it."""
    current: Any = current_app._get_current_object()  # noqa: SLF001  (the proxy is per thread)
    others = sorted(_state._apps, key=lambda app: str(app.main))  # noqa: SLF001
    for app in (current, *others):
        if hasattr(app, "fullresult"):
            found: Celery = app
            return found
    return None


def app_of_site() -> Celery | None:
    """The app that was found first: `current_app` is another one in each thread."""
    from django.apps import apps

    found: Celery | None = apps.get_app_config("fullresult").app
    return found


def full_of_site() -> FullResult:
    """The `FullResult` of this site. Raises `ImproperlyConfigured`."""
    app = app_of_site()
    if app is None:
        raise ImproperlyConfigured(NO_APP)
    full: FullResult = app.fullresult
    return full


def alias_of(url: str) -> str | None:
    """The alias that a storage's URL names; None for a storage that is not Django's database."""
    return url.removeprefix(SCHEME).strip("/") if url.startswith(SCHEME) else None


def alias_of_site() -> str | None:
    """The alias of the database with the records. Raises `ImproperlyConfigured`."""
    return alias_of(full_of_site().settings.storage)


def alias_for_models() -> str:
    """The same. Raises `ImproperlyConfigured` if the models cannot read the storage."""
    alias = alias_of_site()
    if alias is None:
        raise ImproperlyConfigured(
            "the models of fullresult.django read a database of DATABASES; name the storage there "
            'and set CELERY_FULLRESULT_STORAGE = "django://ALIAS" (MongoDB has no models: '
            "app.fullresult.find() asks it)"
        )
    return alias
