"""Opens a storage from a URL and settings. It does not connect yet."""

from __future__ import annotations

import warnings
from urllib.parse import urlsplit

from celery.exceptions import ImproperlyConfigured
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from fullresult.config import Settings, without_password
from fullresult_storage_mongo.clients import Clients
from fullresult_storage_mongo.database import Database
from fullresult_storage_mongo.storage import MongoStorage


def open_storage(url: str, database: str, prefix: str, settings: Settings) -> MongoStorage:
    """Raises `ImproperlyConfigured` for a URL that cannot be right."""
    try:
        clients = Clients(
            url,
            database,
            prefix,
            settings.storage_timeout.total_seconds(),
            settings.pool_size,
            given=_options(url),
        )
    except (PyMongoError, ValueError, TypeError) as error:
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r}: {error}"
        ) from error
    return MongoStorage(
        Database(clients), auto_setup=settings.auto_setup, index_kwargs=settings.index_kwargs
    )


def _options(url: str) -> frozenset[str]:
    """The options that *url* gives, in lower case; checked, but where that needs a name server."""
    if urlsplit(url).scheme == "mongodb":
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # an option misspelt
            try:
                parse_uri(url)
            except UserWarning as error:
                raise ValueError(str(error)) from None
    options = urlsplit(url).query.replace(";", "&").split("&")
    return frozenset(option.partition("=")[0].lower() for option in options if option)
