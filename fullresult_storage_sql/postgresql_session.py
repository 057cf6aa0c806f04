"""A connection to PostgreSQL with a deadline for each answer, and a fast way to run a statement."""

from __future__ import annotations

import selectors
import time
from collections.abc import Generator, Sequence
from functools import lru_cache
from inspect import signature
from typing import Any, TypeVar

import psycopg
from psycopg import RawCursor, errors, pq
from psycopg.abc import PQGen
from psycopg.adapt import Transformer

from fullresult.storage import is_readable
from fullresult_storage_sql.rows import Parameter

RV = TypeVar("RV")

REFUSALS = (errors.DataError, errors.ProgramLimitExceeded, errors.IntegrityError, UnicodeError)
_INTERVAL = 0.1
_ENDED = "NOT t.open AND t.state <> 'SCHEDULED'"
_RUNS_ONCE_MORE = (
    "(t.expires_on < 'infinity' AND EXISTS (SELECT 1 FROM fullresult_task AS u "
    "WHERE u.task_id = t.task_id AND u.expires_on = 'infinity' AND u.open))"
)
_FOR_PARTITIONS = {
    "ON CONFLICT (task_id) DO": "ON CONFLICT (task_id, expires_on) DO",
    # An end that was moved is none while the task runs once more.
    _ENDED: f"{_ENDED} AND NOT {_RUNS_ONCE_MORE}",
}
"""Parts of our statements, and what they are where tables are partitioned."""
_WAITS_IN_TIME = "timeout" in signature(psycopg.Connection.wait).parameters
"""False before psycopg 3.3.6."""


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection with a deadline for each answer, even from a server that was stopped."""

    deadline: float | None = None
    """Seconds."""
    is_partitioned = False
    """True if the tables are: then an id is unique among what was not moved."""
    owner = 0
    worn_at: float | None = None
    """When it is no longer to be kept, by `time.monotonic`; None: it may stay."""
    _statement_names: dict[str, bytes] | None = None

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL, timeout: float | None = None) -> RV:
        limit = self.deadline if timeout is None else timeout
        if _WAITS_IN_TIME:
            return super().wait(gen, interval, limit)
        return wait(gen, self.pgconn.socket, limit)

    def _finish(self, gen: PQGen[RV]) -> RV:
        # Not Connection.wait, which cancels the statement on Ctrl-C: a write must still arrive.
        if _WAITS_IN_TIME:
            socket = self.pgconn.socket
            return psycopg.waiting.wait(gen, socket, interval=_INTERVAL, timeout=self.deadline)
        return wait(gen, self.pgconn.socket, self.deadline)

    def survives(self, error: BaseException) -> bool:
        idle = self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        return isinstance(error, (*REFUSALS, errors.QueryCanceled)) and idle

    @property
    def is_worn(self) -> bool:
        return self.worn_at is not None and time.monotonic() > self.worn_at

    def has_hung_up(self) -> bool:
        """True if the idle server sent something: most likely that it ended the session."""
        return is_readable(self.pgconn.socket)

    def __del__(self, _warn: Any = None, /) -> None:
        # psycopg warns of a connection left open. Ours may stay open until the process ends.
        pass

    def fitted(self, sql: str) -> str:
        """*sql*, which may merge events, as it is where tables are partitioned."""
        return _for_partitions(sql) if self.is_partitioned else sql

    def send(self, sql: str, values: Sequence[Parameter], *, prepare: bool) -> None:
        """Send *sql*, with placeholders `$1`…; `first_value` and the like read its answer.

        A cursor does the same at more than twice the CPU, most of it for types that our parameters,
        all text or bytes, do not have. Raises `psycopg.Error`.
        """
        sql = self.fitted(sql)
        encoded: list[bytes | None] = []
        formats = None
        for value in values:
            if isinstance(value, str):
                if "\0" in value:  # libpq would take the text to end there
                    raise errors.DataError("PostgreSQL text cannot contain NUL (0x00) characters")
                encoded.append(value.encode())
                continue
            if value is not None:
                formats = formats or [pq.Format.TEXT] * len(values)
                formats[len(encoded)] = pq.Format.BINARY
            encoded.append(value)
        if prepare:
            name = self._name_of(sql)
            self.pgconn.send_query_prepared(name, encoded, formats)
        else:
            self.pgconn.send_query_params(sql.encode(), encoded, param_formats=formats)
        if self.pgconn.flush():
            self._finish(psycopg.generators.send(self.pgconn))

    def prepare(self, sql: str) -> None:
        """Prepare *sql* as `send` would, if this session has not done so yet."""
        self._name_of(self.fitted(sql))

    def first_value(self) -> bytes | None:
        """The text of the first column of the first row of what was sent."""
        return self._answer().get_value(0, 0)

    def first_values(self) -> list[bytes | None]:
        """The texts of the first column of all rows of what was sent."""
        answer = self._answer()
        return [answer.get_value(row, 0) for row in range(answer.ntuples)]

    def rows(self) -> list[Sequence[Any]]:
        """All rows of what was sent, decoded as a cursor would."""
        answer = self._answer()
        if not answer.ntuples:
            return []
        decoder = Transformer(self)
        decoder.set_pgresult(answer)
        rows: list[Sequence[Any]] = decoder.load_rows(0, answer.ntuples, tuple)
        return rows

    def first_row(self) -> list[bytes | None]:
        """The texts of the first row of what was sent."""
        answer = self._answer()
        return [answer.get_value(0, column) for column in range(answer.nfields)]

    def _name_of(self, sql: str) -> bytes:
        if self._statement_names is None:
            self._statement_names = {}
        name = self._statement_names.get(sql)
        if name is None:
            name = f"fullresult_{len(self._statement_names)}".encode()
            self.pgconn.send_prepare(name, sql.encode())
            self._finish(psycopg.generators.send(self.pgconn))
            self._answer()
            self._statement_names[sql] = name
        return name

    def _answer(self) -> pq.abc.PGresult:
        result: pq.abc.PGresult = self._finish(psycopg.generators.fetch_many(self.pgconn))[-1]
        if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
            raise errors.error_from_result(result)
        return result


class PlainSession(Session):
    """The same by psycopg's documented API alone, at more than twice the CPU."""

    _cursor: RawCursor[Any] | None = None

    def send(self, sql: str, values: Sequence[Parameter], *, prepare: bool) -> None:
        self._cursor = RawCursor(self).execute(self.fitted(sql), values, prepare=prepare)

    def prepare(self, sql: str) -> None:
        """Leave it to psycopg, which prepares at the first `send`."""

    def _answer(self) -> pq.abc.PGresult:
        assert self._cursor is not None
        assert self._cursor.pgresult is not None
        return self._cursor.pgresult


@lru_cache(maxsize=256)
def _for_partitions(sql: str) -> str:
    for text, instead in _FOR_PARTITIONS.items():
        sql = sql.replace(text, instead)
    return sql


def wait(gen: Generator[int, Any, RV], socket: int, timeout: float | None) -> RV:
    """The answer of *gen*, a psycopg generator on *socket*. Raises `psycopg.OperationalError`."""
    end = None if timeout is None else time.monotonic() + timeout
    try:
        events = next(gen)
        with selectors.DefaultSelector() as selector:
            selector.register(socket, events)
            while end is None or time.monotonic() < end:
                ready = selector.select(_INTERVAL if end is None else _left(end))
                events = gen.send(ready[0][1] if ready else 0)
                selector.modify(socket, events)
    except StopIteration as stop:
        answer: RV = stop.value
        return answer
    raise errors.OperationalError("wait timeout expired")


def _left(end: float) -> float:
    return max(0.0, min(_INTERVAL, end - time.monotonic()))
