"""The namespace: the broker of an app, told from every other by its URL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from celery import Celery

from fullresult.config import urls
from fullresult.record import encoding


def namespace_of(app: Celery) -> str:
    """The app's broker, by its URL without credentials and options; without a host, by these."""
    conf = app.conf
    url = conf.broker_write_url or conf.broker_url or conf.broker_read_url or "amqp://localhost"
    text = ";".join(map(str, url)) if isinstance(url, (list, tuple)) else str(url)
    brokers = (urls.without_user(part).rstrip("/") for part in text.split(";"))
    name = ";".join(brokers)
    if name.endswith(":"):  # no host: what tells one from another is in the options
        options = conf.broker_transport_options or {}
        name += f"//{_fingerprint(options)}"
    return encoding.key(name)


def _fingerprint(options: Mapping[str, Any]) -> str:
    """A short text that is the same for the same folders, regions or prefixes, however used."""
    # Not of numbers, which tune and may differ; a publisher's folder out is a worker's folder in.
    texts = sorted({value for value in options.values() if isinstance(value, str)})
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]
