"""The adapter: opens the MongoDB storage that a URL asks for. Imports no driver until it must."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from celery.exceptions import ImproperlyConfigured

from fullresult.config import Settings, urls, without_password
from fullresult.hookspecs import hookimpl
from fullresult.storage import Storage

_SCHEMES = ("mongodb", "mongodb+srv")
_DATABASE = "fullresult"
"""The database if the URL names none."""
_PREFIX = "fullresult_"
_OURS = ("fullresult_prefix",)
"""Options of a URL that are not PyMongo's."""
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,60}", re.ASCII)


@hookimpl
def fullresult_open_storage(url: str, settings: Settings) -> Storage | None:
    if urlsplit(url).scheme not in _SCHEMES:
        return None
    try:
        from fullresult_storage_mongo.opening import open_storage
    except ImportError as error:
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r} needs PyMongo: "
            f'pip install "fullresult[mongo]" ({error})'
        ) from error
    if settings.partition is not None:
        raise ImproperlyConfigured(
            "fullresult_partition is for PostgreSQL: MongoDB deletes by itself what has expired"
        )
    theirs, own = urls.split(url, _OURS)
    prefix = own.get("fullresult_prefix", _PREFIX)
    if not _NAME.fullmatch(prefix) or prefix.startswith("system."):
        raise ImproperlyConfigured(
            f"fullresult_storage: fullresult_prefix={prefix!r} must begin the names of collections:"
            " letters, digits, _, - and ."
        )
    return open_storage(theirs, _database_of(theirs) or _DATABASE, prefix, settings)


def _database_of(url: str) -> str:
    """The database that *url* names; a socket's path in the host is percent-encoded."""
    return unquote(urlsplit(url).path.strip("/"))
