"""A connection to PostgreSQL that waits no longer than it may, and runs one statement fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import errors, generators, pq
from psycopg.abc import PQGen

from fullresult_storage_sql.rows import Parameter

RV = TypeVar("RV")


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which no answer is waited for longer than the deadline, come what may."""

    deadline: float | None = None
    """Seconds."""
    _statement_names: dict[str, bytes] | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        return super().wait(gen, interval, self.deadline if timeout is None else timeout)

    def __del__(self, _warn: Any = None, /) -> None:
        # psycopg warns of a connection left open. Ours are meant to end with the process.
        pass

    def send(self, sql: str, values: Sequence[Parameter], *, prepare: bool) -> None:
        """Send *sql*, with placeholders `$1`…; its answer is to be had by `first_value`.

        A cursor does the same at more than twice the CPU, most of it for types that all of our
        parameters do without. Raises `psycopg.Error`.
        """
        encoded = [value.encode() if isinstance(value, str) else value for value in values]
        formats = None
        if any(type(value) is bytes for value in values):
            formats = [pq.Format.BINARY if type(v) is bytes else pq.Format.TEXT for v in values]
        if prepare:
            name = self._name_of(sql)
            self.pgconn.send_query_prepared(name, encoded, formats)
        else:
            self.pgconn.send_query_params(sql.encode(), encoded, param_formats=formats)
        self.wait(generators.send(self.pgconn))

    def first_value(self) -> bytes | None:
        """The text of the first column of the first row of what was sent."""
        return self._answer().get_value(0, 0)

    def _name_of(self, sql: str) -> bytes:
        if self._statement_names is None:
            self._statement_names = {}
        name = self._statement_names.get(sql)
        if name is None:
            name = f"fullresult_{len(self._statement_names)}".encode()
            self.pgconn.send_prepare(name, sql.encode())
            self.wait(generators.send(self.pgconn))
            self._answer()
            self._statement_names[sql] = name
        return name

    def _answer(self) -> pq.abc.PGresult:
        result: pq.abc.PGresult = self.wait(generators.fetch_many(self.pgconn))[-1]
        if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
            raise errors.error_from_result(result)
        return result
