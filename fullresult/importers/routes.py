"""Where a re-send of an imported task goes: what its source knows of that, completed by the app."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.exceptions import QueueNotFound
from kombu import Queue

from fullresult.importers.row import Row

logger = logging.getLogger(__name__)


class Routes:
    """Routes of one app, each found once."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._known: dict[tuple[str | None, ...], dict[str, Any]] = {}

    def of(self, row: Row) -> dict[str, Any]:
        """Exchange, routing key and queues, as keywords of kombu's `Producer.publish`."""
        key = (row.name, row.queue, row.exchange, row.routing_key)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._found(*key)
        return found

    def _found(
        self, name: str | None, queue: str | None, exchange: str | None, routing_key: str | None
    ) -> dict[str, Any]:
        if routing_key is not None:
            return self._as_it_was(name, exchange or "", routing_key)
        return _into(self._by_name(queue) if queue is not None else self._of_today(name))

    def _as_it_was(self, name: str | None, exchange: str, routing_key: str) -> dict[str, Any]:
        if not exchange:
            return _into(self._by_name(routing_key))
        bound = [
            each
            for each in self._app.amqp.queues.values()
            if each.exchange.name == exchange and each.routing_key == routing_key
        ]
        if not bound:
            return _into(self._of_today(name))  # the exchange may be gone with the old program
        return {"exchange": exchange, "routing_key": routing_key, "declare": bound[:1]}

    def _by_name(self, name: str) -> Queue:
        """The queue called so; Celery's results have the routing key in its place."""
        queues = self._app.amqp.queues
        if name in queues:
            found: Queue = queues[name]
            return found
        bound: list[Queue] = [each for each in queues.values() if each.routing_key == name]
        if bound:
            return bound[0]
        try:
            made: Queue = self._app.amqp.router.expand_destination({"queue": name})["queue"]
        except QueueNotFound:
            return Queue(name)
        return made

    def _of_today(self, name: str | None) -> Queue:
        """Where a task of this name would go now."""
        app = self._app
        try:
            queue = app.amqp.router.route({}, name or "", (), {}).get("queue")
        except Exception:
            logger.exception("fullresult: a router of task_routes failed for %s", name)
            queue = None
        if isinstance(queue, str):
            return self._by_name(queue)
        if isinstance(queue, Queue):
            return queue
        return self._by_name(app.conf.task_default_queue)


def _into(queue: Queue) -> dict[str, Any]:
    exchange = getattr(queue, "exchange", None)
    if exchange is None or not exchange.name or exchange.type == "direct":
        return {"exchange": "", "routing_key": queue.name, "declare": [queue]}
    return {"exchange": exchange.name, "routing_key": queue.routing_key, "declare": [queue]}
