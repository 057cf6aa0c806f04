"""Sending the body of a chord, and how long that may take."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from fullresult.storage.sockets import is_readable

_LONGEST_JOIN = 60.0
"""Seconds for which results are waited for, where `result_chord_join_timeout` sets no limit."""
_LONGEST_LEASE = 600.0
_MARGIN = 5.0
_CONNECTION_TIMEOUT = 4.0
OF_BROKER = (OperationalError, OSError)
"""Errors of a broker that may take the body the next time."""


def join_timeout(app: Celery) -> float:
    """Seconds for which the results of a complete chord are waited for, at most."""
    timeout = app.conf.result_chord_join_timeout
    return _LONGEST_JOIN if timeout is None else float(timeout)


def lease(app: Celery) -> float:
    """Seconds after which whoever completed a chord has sent its body, or never will."""
    policy = {**(app.conf.task_publish_retry_policy or {})}
    retries = policy.get("max_retries", 3) if app.conf.task_publish_retry else 0
    if retries is None:
        return _LONGEST_LEASE
    timeout = app.conf.broker_connection_timeout or _CONNECTION_TIMEOUT
    each = timeout + (policy.get("interval_max") or 0)
    return min(2 * join_timeout(app) + (retries + 1) * each + _MARGIN, _LONGEST_LEASE)


def publish(app: Celery, callback: Any, results: list[Any]) -> None:
    """Send the body, again where the broker does not take it at once."""
    _hang_up_if_dead(app)
    retry_publish = getattr(app.amqp, "_retry_publish", None)
    if retry_publish is None:  # before Celery 5.7
        callback.delay(results)
    else:
        retry_publish(callback.delay, results)


def _hang_up_if_dead(app: Celery) -> None:
    """Connect anew if an AMQP connection was ended while nothing was sent on it.

    Each process that a worker forks shuts down what it inherits, for the worker as well.
    """
    with app.pool.acquire(block=True) as connection:
        if connection.transport.driver_type != "amqp":
            return
        sock = getattr(connection._connection, "sock", None)  # noqa: SLF001  (does not connect)
        if sock is not None and is_readable(sock):
            connection.collect()
