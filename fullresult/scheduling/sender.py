"""The sender: publishes stored messages by a connection of its own, and none of them twice."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from celery import Celery
from kombu import Exchange, Producer, Queue, binding

from fullresult.record import encoding
from fullresult.record.schedule import Schedule, StoredMessage, Unreadable
from fullresult.recording import message
from fullresult.recording.message import Payload
from fullresult.scheduling import client_retries
from fullresult.scheduling.claim_term import Term, TermOver
from fullresult.storage import StorageError
from fullresult.storage.sockets import is_readable

logger = logging.getLogger(__name__)

UNSURE = "it may have been sent"
"""The problem of a schedule that was perhaps sent begins so."""
_TIMEOUT = 5.0
"""Seconds to wait for the broker to take a connection or to confirm a message."""
_FAREWELL = 1.0
"""Seconds to wait for the broker to answer when a connection is closed."""
_NOBODY = "fullresult.nobody"
"""A routing key of the default exchange that no queue has."""
_FRESH = 10.0
"""Seconds for which an idle connection counts as alive."""
_FRESH_REDIS = 0.05
"""The same for Redis, about as long as a batch takes. redis-py would reconnect in mid-publish."""
_CONFIRMS = "confirm_timeout" in inspect.signature(Producer.publish).parameters
_REFUSALS = frozenset({"ResponseError", "ReadOnlyError", "OutOfMemoryError", "NoPermissionError"})
"""Errors by which a Redis server says that it did nothing."""

_RETRIES = ("retry", "retry_on_error", "retry_on_timeout")
"""Options of redis-py that the broker's transport options, or its URL, may have set."""


class Unsendable(Exception):
    """The broker will never take this message; the text says why."""


class BrokerDown(Exception):
    """The broker does not take messages now. No byte of this one was sent."""


class QueueRefused(BrokerDown):
    """The broker answers, but does not take this message: for instance, its queue is full."""


class Unconfirmed(Exception):
    """The broker may or may not have the message."""


class Sender:
    """Sends stored messages to one app's broker, as they would have been sent at first.

    It has a connection of its own, with publisher confirms if the broker has them. Nothing here is
    tried twice, for after an error a message may have arrived.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._producer: Any = None
        self._declared: set[str] = set()
        self._used = 0.0
        self._term: Term | None = None

    def ready(self) -> None:
        """Connect, or make sure that the connection is alive. Raises `BrokerDown`."""
        try:
            if self._producer is not None and self._may_be_dead():
                self._check_alive()
            if self._producer is None:
                self._connect()
        except Exception as error:
            self._hang_up()
            raise BrokerDown(_text(error)) from error

    def _connect(self) -> None:
        connection = self._app.connection_for_write(heartbeat=0)
        self._connection = connection
        options: dict[str, Any] = connection.transport_options
        if connection.transport.driver_type == "amqp":
            options["confirm_publish"] = True
        elif connection.transport.driver_type == "redis":
            options.setdefault("socket_timeout", _TIMEOUT)
            options.setdefault("socket_connect_timeout", _TIMEOUT)
        else:
            names = {connection.transport.driver_type, connection.transport_cls}
            client_retries.switch_off(names, options)
        connection.ensure_connection(
            max_retries=1, interval_start=0, interval_step=0, timeout=_TIMEOUT
        )
        if connection.transport.driver_type == "amqp":
            _limit_waiting(connection.connection, _TIMEOUT)
            _try_publishing(connection)
        elif connection.transport.driver_type == "redis":
            _forget_retries(connection.default_channel)
            _keep_client(connection.default_channel)
        self._producer = Producer(connection.default_channel, auto_declare=False)
        self._check_before_sending(connection)
        self._declared = set()
        self._used = time.monotonic()

    def _check_before_sending(self, connection: Any) -> None:
        """Have the term of a claim checked as late as possible: before the message is written."""
        channel = connection.default_channel
        channel.basic_publish = self._checked(channel.basic_publish)
        if connection.transport.driver_type == "redis" and hasattr(channel, "_create_client"):
            client = channel._create_client()  # noqa: SLF001  (the one that `_keep_client` keeps)
            client.execute_command = self._checked(client.execute_command)

    def _checked(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def write_in_term(*given: Any, **options: Any) -> Any:
            if self._term is not None:
                self._term.check()
            return write(*given, **options)

        return write_in_term

    @property
    def confirms(self) -> bool:
        """True if each message waits for the broker, which leaves time for other work."""
        return self._connection is not None and (self._connection.transport.driver_type == "amqp")

    def _may_be_dead(self) -> bool:
        """True if it was idle for long, or an AMQP broker has sent something, such as a close."""
        idle = time.monotonic() - self._used
        if idle > (_FRESH_REDIS if self._connection.transport.driver_type == "redis" else _FRESH):
            return True
        socket = getattr(self._connection.connection, "sock", None)
        return socket is not None and is_readable(socket)

    def _check_alive(self) -> None:
        connection = self._connection
        assert connection is not None
        try:
            if connection.transport.driver_type == "amqp":
                connection.channel().close()  # the broker answers to both
            elif connection.transport.driver_type == "redis":
                with connection.default_channel.conn_or_acquire() as client:
                    client.ping()
            self._used = time.monotonic()
        except Exception:  # noqa: BLE001  (a new connection will show what is wrong)
            self._hang_up()

    def read(self, schedule: Schedule) -> StoredMessage:
        """The message of *schedule*. Raises `Unsendable`."""
        try:
            return schedule.message
        except Unreadable as error:
            raise Unsendable(str(error)) from error

    def send(
        self, schedule: Schedule, now: datetime, term: Term, stored: StoredMessage | None = None
    ) -> bool:
        """Send the message of *schedule*. False if it had expired by *now*, and was not sent.

        *term* is that of its claim; *stored* is that message, if it was read before. Raises
        `Unsendable`, `Unconfirmed`, `TermOver`, `BrokerDown` or its subclass `QueueRefused`.
        """
        stored = stored or self.read(schedule)
        if not _lives(stored, now):
            return False
        self.ready()
        connection = self._connection
        assert connection is not None
        try:
            for definition in stored.how.pop("declare"):
                self._declare(connection, definition)
        except Exception as error:
            self._hang_up()
            if _is_of_the_broker(error, connection):
                raise BrokerDown(_text(error)) from error
            raise Unsendable(f"its queue cannot be declared: {_text(error)}") from error
        self._publish(connection, stored, term)
        return True

    def _publish(self, connection: Any, stored: StoredMessage, term: Term) -> None:
        payload = Payload(stored.body, stored.content_type, stored.content_encoding)
        body = message.as_published(payload, stored.how.get("compression"), self._producer)
        if _CONFIRMS:
            stored.how["confirm_timeout"] = _TIMEOUT
        self._term = term
        try:
            self._producer.publish(
                body,
                headers=stored.headers,
                content_type=stored.content_type,
                content_encoding=stored.content_encoding,
                retry=False,
                **stored.how,
            )
            self._used = time.monotonic()
        except (TermOver, StorageError):
            raise  # before a byte was written
        except Exception as error:
            refused = _is_refusal(error)
            if refused and _goes_to_one_queue(self._producer.channel, stored):
                raise QueueRefused(_text(error)) from error
            self._hang_up()
            if refused or isinstance(error, (*connection.connection_errors, OSError)):
                raise Unconfirmed(f"{UNSURE}: {_text(error)}") from error
            raise Unsendable(_text(error)) from error
        finally:
            self._term = None

    def _declare(self, connection: Any, definition: Mapping[str, Any]) -> None:
        """Make sure that a queue exists. A missing one is declared as it was when it was stored."""
        name = str(definition["name"])
        if name in self._declared:
            return
        channel = self._producer.channel
        if connection.transport.driver_type != "amqp":
            _queue(definition)(channel).declare()
        else:
            try:
                # On a channel of its own, which the broker closes if there is no such queue.
                with connection.channel() as asking:
                    asking.queue_declare(queue=name, passive=True)
            except connection.channel_errors:
                logger.info("fullresult: queue %s is missing, and is declared", name)
                _queue(definition)(channel).declare()
        self._declared.add(name)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                _limit_waiting(connection._connection, _FAREWELL)  # noqa: SLF001
            with suppress(Exception):
                connection.release()

    def _hang_up(self) -> None:
        """Drop a connection that may never answer when it is closed."""
        # Not the property, which would connect again. Only AMQP waits for an answer.
        collect = getattr(getattr(self._connection, "_connection", None), "collect", None)
        if collect is not None:
            with suppress(Exception):
                collect()
        self.close()


def _forget_retries(channel: Any) -> None:
    """Have a Redis client repeat no command that got no answer, although its options say so."""
    options = [channel.pool.connection_kwargs.pop(name, None) for name in _RETRIES]
    if any(options):
        channel.pool.disconnect()


def _keep_client(channel: Any) -> None:
    """Have *channel* use one client. kombu makes one per message, which doubles the time."""
    make = getattr(channel, "_create_client", None)
    if make is not None:
        client = make()
        channel._create_client = lambda asynchronous=False: (  # noqa: SLF001
            make(asynchronous=True) if asynchronous else client
        )


def _lives(stored: StoredMessage, now: datetime) -> bool:
    """True if a message has not expired. Its `expiration` is set to the seconds that are left."""
    if stored.headers.get("expires") is None:
        return True
    notes: dict[str, str] = {}
    when = message.date_in("expires", stored.headers, notes)
    if when is None:
        raise Unsendable(f"its expires is {notes['expires']}")
    left = (when - now).total_seconds()
    stored.how["expiration"] = left
    return left > 0


def _limit_waiting(driver: Any, seconds: float) -> None:
    """Have the driver wait at most *seconds* for the broker. Most of its calls have no limit."""
    # Not by the driver's `read_timeout`, after which it goes on reading.
    if getattr(driver, "connected", False) and (sock := getattr(driver, "sock", None)):
        sock.settimeout(seconds)


def _try_publishing(connection: Any) -> None:
    """Have RabbitMQ confirm a message that no queue gets.

    While it is short of memory or disk it answers every question, but takes no message.
    """
    channel = connection.channel()
    with suppress(
        connection.channel_errors
    ):  # a user without a right to that exchange gets an answer too
        Producer(channel, auto_declare=False).publish(
            "", exchange="", routing_key=_NOBODY, delivery_mode=1, retry=False
        )
    channel.close()


def _is_of_the_broker(error: Exception, connection: Any) -> bool:
    """True if a declaration failed because of the broker, and not because of its arguments."""
    if any(kind.__name__ == "IrrecoverableConnectionError" for kind in type(error).__mro__):
        return False  # RabbitMQ closes the connection on arguments that make no sense
    return _is_refusal(error) or isinstance(error, (*connection.connection_errors, OSError))


def _is_refusal(error: Exception) -> bool:
    """True if the broker says that it did nothing."""
    known: BaseException | None = error
    while known is not None:
        if type(known).__module__.startswith("redis.") and type(known).__name__ in _REFUSALS:
            return "WRONGTYPE" not in str(known)  # the queue's key holds something else, and will
        if type(known).__name__ == "MessageNacked":
            return True
        known = known.__cause__ or known.__context__
    return False


def _goes_to_one_queue(channel: Any, stored: StoredMessage) -> bool:
    """True if a refused message is in no queue. Of several queues, one may have taken it."""
    exchange = stored.how.get("exchange")
    if not exchange:
        return True
    try:
        return len(channel._lookup(exchange, stored.how.get("routing_key"))) == 1  # noqa: SLF001
    except Exception:  # noqa: BLE001  (an AMQP channel does not know, a broken one cannot say)
        return False


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {encoding.safe_str(error)}"


def _queue(definition: Mapping[str, Any]) -> Queue:
    """The queue that `Queue.as_dict(recurse=True)` described."""
    options = dict(definition)
    exchange = _exchange(options.pop("exchange", None))
    bindings = [
        binding(
            _exchange(each.get("exchange")), each.get("routing_key") or "", each.get("arguments")
        )
        for each in options.pop("bindings", None) or ()
    ]
    return Queue(exchange=exchange, bindings=bindings or None, **options)


def _exchange(definition: Mapping[str, Any] | None) -> Exchange | None:
    return None if definition is None else Exchange(**definition)
