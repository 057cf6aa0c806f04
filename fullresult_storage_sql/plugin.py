"""The adapter: opens the SQL storage that a URL asks for. Imports no driver until it must."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from celery.exceptions import ImproperlyConfigured

from fullresult.config import Settings, is_escaped, spool_home, urls, without_password
from fullresult.hookspecs import hookimpl
from fullresult.storage import Storage
from fullresult_storage_sql import statements
from fullresult_storage_sql.storage import SqlStorage

if TYPE_CHECKING:
    from fullresult_storage_sql.postgresql import PostgreSQL
    from fullresult_storage_sql.sqlite import SQLite

_POSTGRESQL = ("postgresql", "postgres")
_OURS = {"prepare": ("on", "off"), "synchronous": ("NORMAL", "FULL")}
"""Options of a PostgreSQL URL that are not libpq's."""


@hookimpl
def fullresult_open_storage(url: str, settings: Settings) -> Storage | None:
    if urlsplit(url).scheme not in ("sqlite", *_POSTGRESQL):
        return None
    return SqlStorage(database(url, settings), auto_setup=settings.auto_setup)


def database(url: str, settings: Settings) -> PostgreSQL | SQLite:
    """The database at *url*, not yet connected. Raises `ImproperlyConfigured`."""
    if urlsplit(url).scheme == "sqlite":
        return _sqlite(url, settings)
    return _postgresql(url, settings)


@hookimpl
def fullresult_schema_sql(url: str, settings: Settings) -> str | None:
    sqlite = urlsplit(url).scheme == "sqlite"
    parts = [_versions_sql(sqlite)]
    for number, sql in statements.migrations("sqlite" if sqlite else "postgresql"):
        parts.append(f"{sql.strip()}\n\nINSERT INTO fullresult_schema (version) VALUES ({number});")
    if sqlite:
        from fullresult_storage_sql.sqlite_conditions import index_sql

        parts += [f"{index_sql(key)};" for key in settings.index_kwargs]
    return "\n\n".join(parts) + "\n"


def _versions_sql(sqlite: bool) -> str:
    if sqlite:
        return statements.read("sqlite.sql")["create_schema"] + ";"
    return statements.read("postgresql.sql")["create_schema"] + ";"


def _sqlite(url: str, settings: Settings) -> SQLite:
    from fullresult_storage_sql.sqlite import SYNCHRONOUS, SQLite

    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or path in {"", "/"}:
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r}: write sqlite:///relative.db or sqlite:////absolute.db"
        )
    if path == "/:memory:":
        raise ImproperlyConfigured(
            f"fullresult_storage = {url!r}: processes share no database in memory; name a file"
        )
    if settings.partition is not None:
        raise ImproperlyConfigured(
            "fullresult_partition is for PostgreSQL: a file of SQLite has no partitions"
        )
    options = dict(parse_qsl(parts.query))
    synchronous = options.pop("synchronous", "").upper() or None
    if options or synchronous not in {None, *SYNCHRONOUS}:
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r}: the only option is synchronous, "
            f"one of {', '.join(SYNCHRONOUS)}"
        )
    return SQLite(
        _absolute(url, Path(path[1:])),
        timeout=settings.storage_timeout,
        pool_size=settings.pool_size,
        synchronous=synchronous,
        index_kwargs=settings.index_kwargs,
    )


def _absolute(url: str, path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r} is relative to the working "
            "directory, which is gone"
        ) from error


def _postgresql(url: str, settings: Settings) -> PostgreSQL:
    try:
        from fullresult_storage_sql.postgresql import PostgreSQL
    except ImportError as error:
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r} needs psycopg: "
            f'pip install "fullresult[postgresql]" ({error})'
        ) from error
    if not is_escaped(url):
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r}: what is not a letter or digit in its "
            "user or password must be percent-encoded (urllib.parse.quote(…, safe=''))"
        )
    url, own = urls.split(url, _OURS)
    for name, value in own.items():
        if value not in _OURS[name]:
            raise ImproperlyConfigured(
                f"fullresult_storage: {name}={value!r} must be {' or '.join(_OURS[name])}"
            )
    if not _is_readable(url):
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r}: libpq cannot read this URL; in its "
            "parts and options what is not a letter or digit must be percent-encoded "
            "(urllib.parse.quote(…, safe='')), and a port is a number"
        )
    return PostgreSQL(
        url,
        timeout=settings.storage_timeout,
        pool_size=settings.pool_size,
        prepare=own.get("prepare") != "off",
        synchronous=own.get("synchronous") == "FULL",
        home=_home(settings),
        partition=settings.partition,
    )


def _home(settings: Settings) -> Path | None:
    """The directory in which the processes of a host tell each other of a crowd."""
    try:
        return spool_home(settings.spool_directory)
    except LookupError:
        return None


def _is_readable(url: str) -> bool:
    """True if libpq can read *url*. Its own words about a wrong one may quote the password."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        ports = str(conninfo_to_dict(url).get("port") or "").split(",")
    except ProgrammingError:
        return False
    return all(not port or port.isdecimal() for port in ports)
