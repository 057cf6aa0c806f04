"""A broker that takes every message and keeps none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu import Connection
from kombu.transport import memory
from kombu.transport.virtual.base import BrokerState

if TYPE_CHECKING:
    from typing_extensions import Self


class _Channel(memory.Channel):
    def _put(self, *_: Any, **__: Any) -> None:
        pass


class _Transport(memory.Transport):
    Channel = _Channel
    global_state = BrokerState()


def no_broker() -> Connection:
    """A connection to it."""
    return Connection(transport=_Transport)


def is_no_broker(connection: Any) -> bool:
    return connection.transport_cls is _Transport


class NoProducer:
    """Stands in for kombu's producer, and sends nothing."""

    serializer = compression = None
    auto_declare = False

    def __init__(self) -> None:
        self.connection = no_broker()

    def publish(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
