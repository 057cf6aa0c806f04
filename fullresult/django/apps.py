"""The Django app: finds the Celery app, and does what `migrate`, checks and tests ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate

from fullresult.django.site import find_app

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.extension import FullResult


class FullResultConfig(AppConfig):
    name = "fullresult.django"
    label = "fullresult"
    verbose_name = "Tasks"
    default_auto_field = "django.db.models.BigAutoField"

    pages: Any = None
    """The web pages as an ASGI app, once they were asked for."""
    first_connections: Sequence[Any] = ()
    """Weak references to the connections of the thread that set up Django, which runs tests."""
    _app: Celery | None = None

    @property
    def app(self) -> Celery | None:
        """The Celery app of this site; None if there is none with `FullResult`."""
        if self._app is None and (found := find_app()) is not None:
            self._app = found
            _prepare(found.fullresult)
        return self._app

    def ready(self) -> None:
        # Not at the top: models and checks may be imported only now.
        from fullresult.django import checks, following, staying
        from fullresult.django.fields import read_dates

        self.real_names = {
            alias: str(each.get("NAME")) for alias, each in connections.settings.items()
        }
        self.first_connections = staying.connections_here()
        checks.register()
        post_migrate.connect(following.set_up, sender=self)
        setting_changed.connect(following.follow_setting)
        connection_created.connect(read_dates)
        connection_created.connect(staying.note_connection)
        self.find()

    def find(self) -> Celery | None:
        """Look for the app: now if the project imports it, else again when it is needed."""
        return self.app


def _prepare(full: FullResult) -> None:
    """Have *full* keep its hands off the real site while tests run."""
    from fullresult.django.ambient import with_outbox
    from fullresult.django.following import settings_in_tests
    from fullresult.django.staying import stay_in_tests

    full.parts.adjust = settings_in_tests
    app: Any = full.app
    app.send_task = with_outbox(app, app.send_task)
    stay_in_tests(app)
