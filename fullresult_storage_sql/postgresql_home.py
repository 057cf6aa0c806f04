"""Where we are: the schema that has our tables, and how far this server has come."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from fullresult.storage import Identity, Reached
from fullresult_storage_sql.outbox_channels import Dialect
from fullresult_storage_sql.outbox_statements import PostgreSQLOutlet, answered, payload_of
from fullresult_storage_sql.postgresql_listener import PostgreSQLListener
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_statements import SQL


class Home:
    """The methods of `Database` that are about the outbox, and about replicas."""

    dialect: Dialect = "postgresql"
    _home: tuple[PostgreSQLOutlet, Identity] | None = None
    _server: Server
    _prepare: bool

    @abstractmethod
    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """`Database.ask`."""

    def identity(self) -> Identity:
        return self._known_home()[1]

    def outlet(self) -> PostgreSQLOutlet:
        return self._known_home()[0]

    def listener(self, namespace: str) -> PostgreSQLListener | None:
        if not self._prepare:  # a proxy that lends sessions to others passes no notices on
            return None
        lock = partial(self._lock_of, namespace)
        return PostgreSQLListener(self._server, payload_of(namespace), lock)

    def reached(self) -> Reached:
        ((is_replica, place, last, now, family),) = self.ask(SQL["reached"], ())
        return Reached(is_replica, None if place is None else int(place), last, now, family)

    def _lock_of(self, namespace: str) -> int:
        return self.outlet().lock_of(namespace)

    def _known_home(self) -> tuple[PostgreSQLOutlet, Identity]:
        if self._home is None:
            outlet = PostgreSQLOutlet(SQL, str(self.ask(SQL["home"], ())[0][0]))
            self._home = outlet, answered(outlet.identity(), self.ask)
        return self._home
