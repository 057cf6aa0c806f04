"""`CELERY_FULLRESULT_OUTBOX = "default"`: what is published in `atomic()` goes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery.exceptions import ImproperlyConfigured
from django.db import connections

from fullresult.config.urls import without_password
from fullresult.django.no_broker import NoProducer
from fullresult.django.site import alias_of
from fullresult.django.staying import stays
from fullresult.scheduling.outbox_box import Block

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings
    from fullresult.extension import FullResult


def open_transaction(full: FullResult) -> Any:
    """Django's connection whose transaction takes what is published now; None: the broker does."""
    settings = full.settings
    for each in _aliases(settings):
        wrong = wrong_outbox(each, settings)
        if wrong is not None and (each not in connections or connections[each].in_atomic_block):
            raise ImproperlyConfigured(wrong)
        if connections[each].in_atomic_block:
            return connections[each]
    return None


def wrong_outboxes(settings: Settings) -> list[str]:
    """Why what waits in transactions that `fullresult_outbox` names would not be sent."""
    found = [wrong_outbox(each, settings) for each in _aliases(settings)]
    return [wrong for wrong in found if wrong is not None]


def wrong_outbox(each: str, settings: Settings) -> str | None:
    if each not in connections:
        return f"CELERY_FULLRESULT_OUTBOX has {each!r}; DATABASES has {', '.join(connections)}"
    if each in settings.outboxes or each == alias_of(settings.storage):
        return None
    return (
        f"CELERY_FULLRESULT_OUTBOX has {each!r}, and the records are in "
        f"{without_password(settings.storage)!r}: nobody would send its tasks; set "
        f"CELERY_FULLRESULT_OUTBOXES = {{{each!r}: {f'django://{each}'!r}}}"
    )


def _aliases(settings: Settings) -> tuple[str, ...]:
    return () if isinstance(settings.outbox, bool) else settings.outbox


def with_outbox(app: Celery, send_task: Callable[..., Any]) -> Callable[..., Any]:
    """*send_task*, whose messages wait for the commit of a transaction that is open."""

    def ambient_send_task(*given: Any, **options: Any) -> Any:
        full: FullResult = app.fullresult
        connection = open_transaction(full)
        # A block that the caller opened, an outbox or direct(), is nearer. In a TestCase the
        # record itself is in the transaction, and nothing is sent.
        if connection is None or Block.around(app) is not None:
            return send_task(*given, **options)
        if stays():
            with full.direct():
                return send_task(*given, **options)
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            # Of a test: no worker sees this database, so nobody would send what is in it.
            with full.direct():
                return send_task(*given, **{**options, "producer": NoProducer()})
        alias = connection.alias
        database = alias if alias in full.settings.outboxes else None
        with full.outbox(connection.connection, database=database):
            return send_task(*given, **options)

    return ambient_send_task
