"""`CELERY_FULLRESULT_OUTBOX = "default"`: what is published in `atomic()` goes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fullresult.django.no_broker import NoProducer
from fullresult.django.open_transactions import open_transaction
from fullresult.django.staying import stays
from fullresult.scheduling.outbox_box import Block

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.extension import FullResult


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
