"""Every `fullresult_*` key of the Celery configuration, read once into `Settings`."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult.config import urls
from fullresult.config.retention import Retention
from fullresult.config.users import User, read_users
from fullresult.record import encoding
from fullresult.recording.message import Limits
from fullresult.recording.redaction import Rule, read_rules

DEFAULT_SPOOL = "~/.local/state/fullresult"
"""In the user's home; under `XDG_STATE_HOME` where that is set."""
NEVER_RECORDED = ("celery.chord_unlock", "celery.backend_cleanup", "fullresult.*")

_DEFAULT_EXPIRES = timedelta(days=1)
"""Celery's. A memory of one day is nothing that somebody would want without saying so."""
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
without_password = urls.without_password


@dataclass(frozen=True)
class Settings:
    """What the Celery configuration says of `fullresult`: the key is the field with a prefix."""

    storage: str = field(default="sqlite:///fullresult.db", repr=False)
    """With its password: not to be shown."""
    track_publish: bool = True
    use_json: bool = False
    force_json: bool = False
    ignore: tuple[str, ...] = ()
    redact: tuple[Rule, ...] = ()
    index_kwargs: tuple[str, ...] = ()
    auto_setup: bool = True
    timeout: timedelta = timedelta(seconds=5)
    max_size: int = 1024 * 1024
    max_body: int = 16 * 1024 * 1024
    write: str = "direct"
    spool: str | None = DEFAULT_SPOOL
    spool_size: int = 256 * 1024 * 1024
    retention: Retention | None = None
    stale_after: timedelta = timedelta(hours=1)
    heartbeat: timedelta = timedelta(seconds=10)
    """From one heartbeat of a worker to the next; 0 for none."""
    schedule_eta: bool = False
    schedule_min_delay: timedelta = timedelta(0)
    schedule_new_id: bool = False
    schedule_redacted: bool = False
    sweeper: str = "worker"
    sweep_interval: timedelta = timedelta(seconds=1)
    sweep_limit: int = 500
    rescue_after: timedelta | None = None
    on_divert_error: str = "raise"
    namespace: str = ""
    """Of the broker, by its URL, unless it was given."""
    web_users: Mapping[str, User] = field(default_factory=dict, repr=False)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_size, self.max_body)

    @classmethod
    def of(cls, app: Celery) -> Settings:
        """Read the configuration of *app*. Raises `ImproperlyConfigured`, naming the key."""
        given: dict[str, Any] = {}
        for setting in fields(cls):
            key = f"fullresult_{setting.name}"
            value = app.conf.get(key)
            if value is not None:
                given[setting.name] = _READ[setting.name](key, value)
        if given.get("schedule_eta") and "storage" not in given:
            raise ImproperlyConfigured(
                "fullresult_schedule_eta needs fullresult_storage: the default is a file in each "
                "process's own directory, where a sweeper elsewhere would not find what is due"
            )
        if app.conf.get("fullresult_spool", DEFAULT_SPOOL) is None:
            given["spool"] = None
            if given.get("write") == "spooled":
                raise _wrong(
                    "fullresult_write", "spooled", '"direct" where fullresult_spool is None'
                )
        if "retention" not in given and (kept := _result_expires(app)) is not None:
            given["retention"] = Retention((("*", kept),))
        if not given.get("namespace"):
            given["namespace"] = namespace_of(app)
        return cls(**given)


def _result_expires(app: Celery) -> timedelta | None:
    """Celery's own word for the same, where its results are our records and it was changed."""
    if not str(app.conf.result_backend or "").startswith("fullresult"):
        return None
    expires = app.conf.result_expires
    if not expires or expires == _DEFAULT_EXPIRES:
        return None
    return _time("result_expires", expires)


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


def duration(text: str) -> timedelta:
    """A length of time as people write it: `90m`, `1h30m`, `2d`, or seconds as a bare number.

    Raises `ValueError`.
    """
    compact = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return _seconds(float(compact), text)
    parts = _DURATION.findall(compact)
    if not parts or _DURATION.sub("", compact).strip():
        raise ValueError(f"not a duration: {text!r}; write seconds, or like 90m, 1h30m, 2d")
    return _seconds(sum(float(number) * _UNITS[unit] for number, unit in parts), text)


def _seconds(seconds: float, text: str) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"too long a duration: {text!r}") from None


@lru_cache(maxsize=4096)
def is_recorded(name: str, ignored: tuple[str, ...]) -> bool:
    """Whether tasks called *name* are recorded."""
    return not any(fnmatch.fnmatchcase(name, pattern) for pattern in (*NEVER_RECORDED, *ignored))


def _wrong(key: str, value: object, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{key} = {value!r}: it must be {wanted}")


def _bool(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, value, "True or False")
    return value


def _url(key: str, value: object) -> str:
    if not isinstance(value, str) or "://" not in value:
        shown = without_password(value) if isinstance(value, str) else value
        raise _wrong(
            key, shown, "a URL such as sqlite:///fullresult.db or postgresql://host/database"
        )
    return value


def _whole_number(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(key, value, "a whole number of at least 1")
    return value


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(key, value, "text")
    return value


def _directory(key: str, value: object) -> str:
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or not text.startswith(("/", "~")):
        raise _wrong(key, value, "an absolute path, one that begins with ~, or None for no spool")
    return text


def _one_of(*words: str) -> Callable[[str, object], str]:
    def read(key: str, value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise _wrong(key, value, " or ".join(f'"{word}"' for word in words))
        return value

    return read


def _time_from_zero(key: str, value: object) -> timedelta:
    """A length of time, which may be 0."""
    if value in (0, "0", timedelta(0)) and not isinstance(value, bool):
        return timedelta(0)
    return _time(key, value)


def _time(key: str, value: object) -> timedelta:
    try:
        if isinstance(value, timedelta):
            read = value
        elif isinstance(value, str):
            read = duration(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            read = timedelta(seconds=value)
        else:
            read = timedelta(0)
    except (ValueError, OverflowError):
        raise _wrong(key, value, "a timedelta, seconds, or text such as '90m'") from None
    if read <= timedelta(0):
        raise _wrong(key, value, "a timedelta, seconds, or text such as '90m', longer than 0")
    return read


def _retention(key: str, value: object) -> Retention:
    rules = value if isinstance(value, Mapping) else {"*": value}
    if any(not isinstance(pattern, str) or not pattern for pattern in rules):
        raise _wrong(key, value, "a length of time, or a dict of them by state or by name")
    return Retention(
        tuple(
            (pattern, None if kept is None else _time(f"{key}[{pattern!r}]", kept))
            for pattern, kept in rules.items()
        )
    )


def _users(key: str, value: object) -> dict[str, User]:
    try:
        return read_users(key, value)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None


def _names(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise _wrong(key, value, "a name or a list of names")
    if any(not isinstance(name, str) for name in value):
        raise _wrong(key, value, "a list of names")
    return tuple(value)


def _rules(key: str, value: object) -> tuple[Rule, ...]:
    try:
        return read_rules(value)
    except ValueError as error:
        wanted = "paths such as 'card.number' or 'shop.pay:card.*', compiled patterns or functions"
        raise _wrong(key, value, f"{wanted}, or a list of these: {error}") from None


_READ: dict[str, Callable[[str, object], Any]] = {
    "storage": _url,
    "track_publish": _bool,
    "use_json": _bool,
    "force_json": _bool,
    "ignore": _names,
    "redact": _rules,
    "index_kwargs": _names,
    "auto_setup": _bool,
    "timeout": _time,
    "max_size": _whole_number,
    "max_body": _whole_number,
    "write": _one_of("direct", "spooled"),
    "spool": _directory,
    "spool_size": _whole_number,
    "retention": _retention,
    "stale_after": _time,
    "heartbeat": _time_from_zero,
    "schedule_eta": _bool,
    "schedule_min_delay": _time_from_zero,
    "schedule_new_id": _bool,
    "schedule_redacted": _bool,
    "sweeper": _one_of("worker", "beat", "off"),
    "sweep_interval": _time,
    "sweep_limit": _whole_number,
    "rescue_after": _time,
    "on_divert_error": _one_of("raise", "broker"),
    "namespace": _text,
    "web_users": _users,
}
