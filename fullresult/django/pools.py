"""The app's connections to its broker, while tests run that must not reach it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from kombu.pools import ProducerPool

from fullresult.django.no_broker import NoProducer, is_no_broker, no_broker


def hold_back(app: Any, must_stay: Callable[[], bool]) -> None:
    """Have *app* answer a broker that keeps nothing, in place of its own, while *must_stay* does.

    Re-sends, bodies of chords, scheduled messages and remote control go past `send_task`.
    """
    real_producer, real_connection = app.producer_or_acquire, app.connection_or_acquire
    real_for_write, real_for_read = app.connection_for_write, app.connection_for_read
    pooled = _Pooled(app)

    def producer_or_acquire(producer: Any = None) -> Any:
        if must_stay():
            pooled.put_aside()
            return NoProducer() if producer is None else nullcontext(producer)
        pooled.forget()
        return real_producer(producer)

    def connection_or_acquire(connection: Any = None, *given: Any, **options: Any) -> Any:
        if must_stay():
            pooled.put_aside()
            return no_broker() if connection is None else nullcontext(connection)
        pooled.forget()
        return real_connection(connection, *given, **options)

    def connection_for_write(*given: Any, **options: Any) -> Any:
        if must_stay():
            pooled.maybe = True
            return no_broker()
        return real_for_write(*given, **options)

    def connection_for_read(*given: Any, **options: Any) -> Any:
        return no_broker() if must_stay() else real_for_read(*given, **options)

    app.producer_or_acquire = app.default_producer = producer_or_acquire
    app.connection_or_acquire = app.default_connection = connection_or_acquire
    app.connection_for_write = connection_for_write
    app.connection_for_read = connection_for_read


def hold_producers(app: Any, must_stay: Callable[[], bool]) -> None:
    """Have *app*'s own pool of producers lead nowhere while *must_stay* does.

    Events and remote control take it, and it may have been made while it led somewhere.
    """
    amqp = app.amqp
    kind: Any = type(amqp)
    if hasattr(kind, "fullresult_holds"):
        return

    class Held(kind):
        fullresult_holds = True

        @property
        def producer_pool(self) -> Any:
            if must_stay():
                return ProducerPool(no_broker().Pool(1), limit=1)
            return super().producer_pool

        publisher_pool = producer_pool

    amqp.__class__ = Held


class _Pooled:
    """Pools that *app* made, and keeps: of its broker, or of a connection that leads nowhere."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.maybe = False

    def put_aside(self) -> None:
        """Have the app make its pool of connections anew, of one that leads nowhere.

        Kombu keeps the real one, for when it is asked for again.
        """
        app = self._app
        if app._pool is not None and not is_no_broker(app._pool.connection):  # noqa: SLF001
            app._pool = None  # noqa: SLF001

    def forget(self) -> None:
        """Have the app make its pools anew, of real connections."""
        if not self.maybe:
            return
        self.maybe = False
        app, amqp = self._app, self._app.amqp
        if app._pool is not None and is_no_broker(app._pool.connection):  # noqa: SLF001
            app._pool = None  # noqa: SLF001
        producers = amqp._producer_pool  # noqa: SLF001
        if producers is not None and is_no_broker(producers.connections.connection):
            amqp._producer_pool = None  # noqa: SLF001
