"""The transaction of Django's that what is published now goes with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.exceptions import ImproperlyConfigured
from django.db import connections

from fullresult.config.urls import without_password
from fullresult.django.site import alias_of
from fullresult.scheduling.outbox_box import Block, Outbox

if TYPE_CHECKING:
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


def transaction_around(full: FullResult) -> Any:
    """Likewise, where a block of the caller's own, `outbox(…)` or `direct()`, is nearer."""
    block = Block.around(full.app)
    if block is None:
        return open_transaction(full)
    given = block.given if isinstance(block, Outbox) else None
    if isinstance(given, str):
        given = connections[given]
    for each in connections.all(initialized_only=True):
        if given is not None and given in (each, each.connection):
            return each if each.in_atomic_block else None
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
