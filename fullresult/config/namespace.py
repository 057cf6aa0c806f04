"""The namespace: a name for the broker of an app, made of its URL and of what else tells it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from celery import Celery

from fullresult.config import urls

_TELLING = re.compile("prefix|master_name|virtual_host|database|collection|tablename")
"""Options of a broker with a host that say which of its keys or queues are used."""


def namespace_of(app: Celery) -> str:
    """The broker as Celery connects to it, without credentials.

    Options that say which of its keys or queues are used follow it; of a URL without a host, a
    digest of all options that are text.
    """
    conf = app.conf
    url = conf.broker_write_url or conf.broker_url or conf.broker_read_url or "amqp://localhost"
    text = ";".join(map(str, url)) if isinstance(url, (list, tuple)) else str(url)
    name = ";".join(_broker(part, conf) for part in text.split(";"))
    options = conf.broker_transport_options or {}
    if name.endswith(":"):  # no host: the options say which broker it is
        return f"{name}//{_fingerprint(options)}"
    told = "&".join(
        f"{key}={value}" for key, value in sorted(options.items()) if _tells(key, value)
    )
    return f"{name}?{told}" if told else name


def mark_of(namespace: str) -> str:
    """Three letters or digits for *namespace*; one of 32,768 other ones has the same."""
    digest = hashlib.sha256(namespace.encode("utf-8", "replace")).digest()
    return base64.b32encode(digest)[:3].decode().lower()


def may_be_one(one: str, other: str) -> bool:
    """True if these may name one broker: a host has many names, and a default may be left out."""
    if one == other or any(";" in each or "://" not in each for each in (one, other)):
        return True  # of several brokers one may be the other, and a name of one's own says nothing
    a, b = _Place.of(one), _Place.of(other)
    if a.kind != b.kind or not a.host or not b.host:
        return False
    return a.rest == b.rest and (a.port == b.port or a.is_secure != b.is_secure)


class _Place(NamedTuple):
    """A namespace, taken apart."""

    kind: str
    """`amqp` or `redis`, with whatever client and encryption, or another scheme."""
    host: str
    port: str
    rest: str
    """The virtual host or database, and what else tells."""
    is_secure: bool

    @classmethod
    def of(cls, namespace: str) -> _Place:
        scheme, _, place = namespace.rpartition("://")
        known = _SCHEMES.get(scheme.partition("+")[0], scheme)
        host, _, rest = place.partition("/")
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name, port = host, ""
        secure = scheme in ("rediss", "amqps")
        path, mark, options = rest.partition("?")
        path = unquote(path).strip("/") or _FIRST.get(known, "")
        return cls(
            known, name, port or _PORTS.get(known, ""), f"{path}{mark}{options}", is_secure=secure
        )


_SCHEMES = {"pyamqp": "amqp", "librabbitmq": "amqp", "amqps": "amqp"}
_SCHEMES |= {"rediss": "redis", "valkey": "redis", "valkeys": "redis"}
_PORTS = {"amqp": "5672", "redis": "6379"}
_FIRST = {"redis": "0"}
"""The database, where none is named."""


def _broker(url: str, conf: Any) -> str:
    """One broker's scheme, host, port and virtual host; what its URL lacks is in the settings."""
    place = urls.without_user(url)
    scheme, _, rest = place.rpartition("://")
    host, _, path = rest.partition("/")
    asked = parse_qs(url.partition("?")[2]).get("virtual_host")
    if not host:  # a path, or no place at all
        vhost = asked[0] if asked else conf.broker_vhost
        return f"{place.rstrip('/')}?virtual_host={vhost}" if path and vhost else place.rstrip("/")
    if conf.broker_port and not re.search(r":\d+$", host):
        host += f":{conf.broker_port}"
    scheme = scheme or conf.broker_transport or ""
    vhost = asked[0] if asked else path or conf.broker_vhost or ""
    return f"{scheme}{'://' if scheme else ''}{host}/{vhost}".rstrip("/")


def _tells(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, str) and bool(_TELLING.search(key))


def _fingerprint(options: Mapping[str, Any]) -> str:
    """A short text, the same for the same folders, regions or prefixes in whatever option."""
    # Not the numbers: they tune and may differ. Not the names: one's folder out is another's in.
    texts = {value for value in options.values() if isinstance(value, str)}
    texts |= {*_accounts(options.get("predefined_queues"))}
    return hashlib.sha256(json.dumps(sorted(texts)).encode()).hexdigest()[:12]


def _accounts(queues: object) -> Iterable[str]:
    """The hosts and accounts of SQS's queues; which queues a process names may differ."""
    if isinstance(queues, Mapping):
        for queue in queues.values():
            if isinstance(queue, Mapping):
                yield str(queue.get("url", "")).rpartition("/")[0]
