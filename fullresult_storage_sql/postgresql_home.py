"""The schema that has our tables, for a caller's connection may look elsewhere for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from fullresult.storage import Identity
from fullresult_storage_sql.outbox_channels import Dialect
from fullresult_storage_sql.outbox_statements import PostgreSQLOutlet, answered
from fullresult_storage_sql.postgresql_statements import SQL


class Home:
    """The methods of `Database` that are about the outbox."""

    dialect: Dialect = "postgresql"
    _home: tuple[PostgreSQLOutlet, Identity] | None = None

    @abstractmethod
    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """`Database.ask`."""

    def identity(self) -> Identity:
        return self._known_home()[1]

    def outlet(self) -> PostgreSQLOutlet:
        return self._known_home()[0]

    def _known_home(self) -> tuple[PostgreSQLOutlet, Identity]:
        if self._home is None:
            outlet = PostgreSQLOutlet(SQL, str(self.ask(SQL["home"], ())[0][0]))
            self._home = outlet, answered(outlet.identity(), self.ask)
        return self._home
