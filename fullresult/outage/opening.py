"""Opens the flusher of an app, and gives it what it needs of the app."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

from fullresult.outage.breaker import Breaker
from fullresult.outage.directory import directory_of
from fullresult.outage.flusher import Flusher
from fullresult.outage.lines import Count
from fullresult.outage.notice import Notice
from fullresult.outage.spool import Spool
from fullresult.storage import ScheduleStorage, Storage, StorageError

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings

logger = logging.getLogger(__name__)


def flusher_of(
    app: Celery, settings: Settings, storage: Storage, breaker: Breaker
) -> Flusher | None:
    """The flusher of *app*; None if it is to have no spool."""
    try:
        directory = directory_of(settings)
    except LookupError as error:
        logger.warning(
            "fullresult: events that the storage does not take are lost: there is %s", error
        )
        return None
    if directory is None:
        return None
    reference = weakref.ref(app)  # the thread must not keep the app alive

    def withdraw(schedule_id: str) -> None:
        if isinstance(storage, ScheduleStorage):
            storage.withdraw(schedule_id)

    def count(what: Count) -> None:
        backend = getattr(reference(), "backend", None)
        count_later = getattr(backend, "count_later", None)
        if count_later is None:
            logger.error(
                "fullresult: chord %s does not count its member %s: the records are no longer the "
                "result backend",
                *(what.chord_id, what.member),
            )
            return
        try:
            count_later(what)
        except StorageError:
            raise
        except Exception:
            logger.exception("fullresult: the body of chord %s is not sent", what.chord_id)

    spool = Spool(directory, settings.spool_size)
    lingers = settings.write_mode == "spooled"
    flusher = Flusher(storage, spool, breaker, withdraw, count, lingers=lingers)
    breaker.watched(flusher.wake, directory, Notice(directory))
    return flusher
