"""The databases that tables are read from.

SQLite and PostgreSQL are read by their drivers, others by SQLAlchemy, and Django's by Django. Each
is only read, unless it is opened to be changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from fullresult.config.urls import is_escaped, without_password
from fullresult.importers.errors import CannotImport

_VALUE = re.compile(r"(?<!:):(\w+)")
_ALL = "SELECT *"
_PATIENCE = 60
"""Seconds that a statement waits for another's lock."""
_LOCK = 5_064_719_731
"""The key of the advisory lock: of two imports that change a database, one waits."""
Values = Mapping[str, Any]


class Database(Protocol):
    """Answers statements whose values are written as `:name`. Raises `CannotImport`."""

    shown: str
    """Its URL without the password."""

    def ask(self, sql: str, values: Values) -> list[dict[str, Any]]: ...

    def change(self, sql: str, values: Values) -> int:
        """Change rows, for good when this returns. Returns how many."""
        ...

    def columns(self, table: str) -> Mapping[str, str]:
        """The columns of *table* and their types; none if there is no such table."""
        ...

    def indexed(self, table: str) -> set[str]:
        """The columns of *table* that begin an index."""
        ...

    def alone(self) -> Any:
        """A context in which no other import changes this database."""
        ...

    def close(self) -> None: ...


def open_database(url: str, *, writes: bool = False) -> Database:
    """The database of a URL of ours, of SQLAlchemy's, or of Celery's. Raises `CannotImport`."""
    plain = url.removeprefix("db+")
    scheme, _, rest = plain.partition("://")
    kind = scheme.partition("+")[0]
    shown = without_password(url)
    if kind == "sqlite":
        return SQLite(shown, f"sqlite://{rest}", writes=writes)
    if not is_escaped(plain):
        raise _not_read(shown)
    if kind in ("postgresql", "postgres"):
        return PostgreSQL(shown, f"postgresql://{rest}", writes=writes)
    if writes:
        raise CannotImport(f"{shown}: --take-scheduled needs PostgreSQL or SQLite")
    return SQLAlchemy(shown, plain)


class SQLite:
    """A file of SQLite's."""

    def __init__(self, shown: str, url: str, *, writes: bool) -> None:
        import sqlite3

        path = Path(unquote(urlsplit(url).path)[1:]).absolute()
        if not path.is_file():
            raise CannotImport(f"{shown}: there is no file {path}")
        self.shown = shown
        self._directory = path.parent
        self._error = sqlite3.Error
        try:
            self._connection = sqlite3.connect(
                f"{path.as_uri()}?mode={'rw' if writes else 'ro'}",
                uri=True,
                timeout=_PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.Error as error:
            raise CannotImport(f"{shown}: {error}") from error
        self._connection.text_factory = lambda data: data.decode(errors="replace")
        self._connection.row_factory = sqlite3.Row

    def ask(self, sql: str, values: Values) -> list[dict[str, Any]]:
        with _told(self.shown, self._error):
            return [dict(row) for row in self._connection.execute(sql, dict(values))]

    def change(self, sql: str, values: Values) -> int:
        with _told(self.shown, self._error):
            return self._connection.execute(sql, dict(values)).rowcount

    def columns(self, table: str) -> Mapping[str, str]:
        found = self.ask("SELECT name, type FROM pragma_table_info(:name)", {"name": table})
        return {row["name"]: row["type"] for row in found}

    def indexed(self, table: str) -> set[str]:
        sql = """SELECT c.name FROM pragma_index_list(:name) AS i, pragma_index_info(i.name) AS c
            WHERE c.seqno = 0"""
        return {row["name"] for row in self.ask(sql, {"name": table})}

    def alone(self) -> Any:
        return _alone_in(self._directory)

    def close(self) -> None:
        self._connection.close()


class PostgreSQL:
    """A database of PostgreSQL's."""

    def __init__(self, shown: str, url: str, *, writes: bool) -> None:
        try:
            import psycopg
            from psycopg.rows import dict_row
        except ImportError as error:
            raise CannotImport(
                f'{shown} needs psycopg: pip install "fullresult[postgresql]"'
            ) from error

        self.shown = shown
        self._error = psycopg.Error
        self._url = url
        self._connect = psycopg.connect
        if not _is_readable(url):
            raise _not_read(shown)
        with _told(shown, psycopg.Error):
            self._connection = psycopg.connect(url, row_factory=dict_row, connect_timeout=10)
            # Of each transaction: a setting of the session may be another's, behind a pooler.
            self._connection.read_only = not writes

    def ask(self, sql: str, values: Values) -> list[dict[str, Any]]:
        with _told(self.shown, self._error), self._connection.transaction():
            return self._connection.execute(_psycopg(sql), dict(values)).fetchall()

    def change(self, sql: str, values: Values) -> int:
        with _told(self.shown, self._error), self._connection.transaction():
            return self._connection.execute(_psycopg(sql), dict(values)).rowcount

    def columns(self, table: str) -> Mapping[str, str]:
        sql = """SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_attribute
            WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped"""
        return {row["attname"]: row["kind"] for row in self.ask(sql, {"name": table})}

    def indexed(self, table: str) -> set[str]:
        sql = """SELECT a.attname FROM pg_index AS i
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = to_regclass(:name) AND i.indisvalid"""
        return {row["attname"] for row in self.ask(sql, {"name": table})}

    @contextmanager
    def alone(self) -> Iterator[None]:
        with _told(self.shown, self._error):
            other = self._connect(self._url, connect_timeout=10)
            other.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        try:
            yield
        finally:
            other.close()

    def close(self) -> None:
        self._connection.close()


def _is_readable(url: str) -> bool:
    """True if libpq can read *url*. Its own words about a wrong one may quote the password."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        ports = str(conninfo_to_dict(url).get("port") or "").split(",")
    except ProgrammingError:
        return False
    return all(port.isdecimal() or not port for port in ports)


def _not_read(shown: str) -> CannotImport:
    return CannotImport(
        f"{shown}: this URL cannot be read; what is not a letter or digit in its user or password "
        "must be percent-encoded (urllib.parse.quote(…, safe='')), and a port is a number"
    )


def _psycopg(sql: str) -> Any:
    return _VALUE.sub(r"%(\1)s", sql.replace("%", "%%"))


class SQLAlchemy:
    """Any other database, if SQLAlchemy and its driver are installed."""

    def __init__(self, shown: str, url: str) -> None:
        try:
            import sqlalchemy
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError as error:
            raise CannotImport(
                f'{shown} needs SQLAlchemy: pip install "fullresult[import]"'
            ) from error

        self.shown = shown
        self._error = SQLAlchemyError
        self._alchemy = sqlalchemy
        try:
            self._connection = sqlalchemy.create_engine(url).connect()
        except ValueError as error:  # a port that is none, in whose place a password may be
            raise _not_read(shown) from error
        except (SQLAlchemyError, ImportError) as error:
            raise CannotImport(f"{shown}: {_first_line(error)}") from error

    def ask(self, sql: str, values: Values) -> list[dict[str, Any]]:
        with _told(self.shown, self._error):
            found = self._connection.execute(self._alchemy.text(sql), dict(values))
            rows = [dict(row) for row in found.mappings()]
            self._connection.rollback()
        return rows

    def change(self, sql: str, values: Values) -> int:  # noqa: ARG002
        raise CannotImport(f"{self.shown} is only read")

    def columns(self, table: str) -> Mapping[str, str]:
        with _told(self.shown, self._error):
            inspector, (schema, name) = self._alchemy.inspect(self._connection), _split(table)
            if not inspector.has_table(name, schema=schema):
                return {}
            found = inspector.get_columns(name, schema=schema)
            return {str(column["name"]): str(column["type"]) for column in found}

    def indexed(self, table: str) -> set[str]:
        with _told(self.shown, self._error):
            inspector, (schema, name) = self._alchemy.inspect(self._connection), _split(table)
            indexes = inspector.get_indexes(name, schema=schema)
        return {str(index["column_names"][0]) for index in indexes if index["column_names"]}

    @contextmanager
    def alone(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        self._connection.close()


class Django:
    """A connection of Django's own, such as that of a test."""

    def __init__(self, connection: Any) -> None:
        from django.db import Error

        self._connection = connection
        self._error = Error
        self.shown = f"django://{connection.alias}"

    def ask(self, sql: str, values: Values) -> list[dict[str, Any]]:
        with _told(self.shown, self._error), self._connection.cursor() as cursor:
            cursor.execute(_psycopg(sql), dict(values))
            names = [column[0] for column in cursor.description]
            if self._connection.vendor == "sqlite" and sql.lstrip().startswith(_ALL):
                # Else Django reads what is no date as NULL. With a plus a column has no type.
                # The id has none: pages are in its order, which its index has.
                shown = map(self._connection.ops.quote_name, names)
                columns = ", ".join(n if n == '"id"' else f"+{n} AS {n}" for n in shown)
                plain = sql.replace(_ALL, f"SELECT {columns}", 1)
                cursor.execute(_psycopg(plain), dict(values))
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def change(self, sql: str, values: Values) -> int:
        with _told(self.shown, self._error), self._connection.cursor() as cursor:
            cursor.execute(_psycopg(sql), dict(values))
            return int(cursor.rowcount)

    def columns(self, table: str) -> Mapping[str, str]:
        with _told(self.shown, self._error), self._connection.cursor() as cursor:
            if table not in self._connection.introspection.table_names(cursor):
                return {}
            found = self._connection.introspection.get_table_description(cursor, table)
            aware = "with time zone" if self._connection.vendor == "postgresql" else ""
            return {column.name: aware for column in found}

    def indexed(self, table: str) -> set[str]:
        with _told(self.shown, self._error), self._connection.cursor() as cursor:
            found = self._connection.introspection.get_constraints(cursor, table).values()
        return {each["columns"][0] for each in found if each["index"] and each["columns"]}

    @contextmanager
    def alone(self) -> Iterator[None]:
        connection = self._connection
        if connection.vendor not in ("postgresql", "sqlite"):
            raise CannotImport(f"{self.shown}: --take-scheduled needs PostgreSQL or SQLite")
        if connection.in_atomic_block:
            raise CannotImport(
                f"{self.shown}: --take-scheduled cannot be part of a transaction, which could "
                "take back the marks on what was taken over"
            )
        if connection.vendor == "sqlite":
            with _alone_in(Path(connection.settings_dict["NAME"]).absolute().parent):
                yield
            return
        other = connection.copy()
        try:
            other.set_autocommit(False)
            with _told(self.shown, self._error), other.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            yield
        finally:
            other.close()

    def close(self) -> None:
        """It is Django's to close."""


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """A lock of a directory: to close a file of SQLite's would give up SQLite's own locks."""
    import fcntl
    import os

    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _split(table: str) -> tuple[str | None, str]:
    schema, dot, name = table.rpartition(".")
    return (schema if dot else None), name


@contextmanager
def _told(shown: str, errors: Any) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise CannotImport(f"{shown}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return without_password(lines[0]) if lines else type(error).__name__
