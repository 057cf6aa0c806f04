"""The namespace: a name for the broker of an app, made of its URL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from celery import Celery

from fullresult.config import urls
from fullresult.record import encoding


def namespace_of(app: Celery) -> str:
    """The broker's URL without credentials and options; without a host, a digest of the options."""
    conf = app.conf
    url = conf.broker_write_url or conf.broker_url or conf.broker_read_url or "amqp://localhost"
    text = ";".join(map(str, url)) if isinstance(url, (list, tuple)) else str(url)
    brokers = (urls.without_user(part).rstrip("/") for part in text.split(";"))
    name = ";".join(brokers)
    if name.endswith(":"):  # no host: the options say which broker it is
        options = conf.broker_transport_options or {}
        name += f"//{_fingerprint(options)}"
    return encoding.key(name)


def _fingerprint(options: Mapping[str, Any]) -> str:
    """A short text, the same for the same folders, regions or prefixes in whatever option."""
    # Not the numbers: they tune and may differ. Not the names: one's folder out is another's in.
    texts = sorted({value for value in options.values() if isinstance(value, str)})
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]
