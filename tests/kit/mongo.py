"""A MongoDB storage that is opened for a test, and closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from fullresult.config import Settings
from fullresult_storage_mongo import plugin
from fullresult_storage_mongo.storage import MongoStorage


def opened(url: str, **settings: Any) -> MongoStorage:
    """With a timeout of two seconds, unless *settings* say otherwise."""
    known = {"storage_timeout": timedelta(seconds=2), **settings}
    storage = plugin.fullresult_open_storage(url, Settings(storage=url, **known))
    assert isinstance(storage, MongoStorage)
    return storage


@contextmanager
def using(url: str, **settings: Any) -> Iterator[MongoStorage]:
    storage = opened(url, **settings)
    try:
        yield storage
    finally:
        storage.close()
