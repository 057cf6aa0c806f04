"""Reading the value of each key; an error names the key and says what its value should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery.exceptions import ImproperlyConfigured

from fullresult.config.durations import duration
from fullresult.config.oidc import Oidc, read_oidc
from fullresult.config.redaction_rules import Rule, read_rules
from fullresult.config.retention import Retention
from fullresult.config.shown_url import ShownUrl
from fullresult.config.urls import without_password
from fullresult.config.users import User, read_users

_SHORTEST_SECRET = 32
_LONGEST = 64
"""Characters of a release, which is kept with each run of a task."""


def wrong(key: str, value: object, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{key} = {value!r}: it must be {wanted}")


def _bool(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong(key, value, "True or False")
    return value


def _url(key: str, value: object) -> str:
    if isinstance(value, ShownUrl):
        value = value.whole
    if not isinstance(value, str) or "://" not in value:
        shown = without_password(value) if isinstance(value, str) else value
        raise wrong(
            key, shown, "a URL such as sqlite:///fullresult.db or postgresql://host/database"
        )
    return value


def _whole_number(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise wrong(key, value, "a whole number of at least 1")
    return value


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise wrong(key, value, "text")
    return value


def _release(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _LONGEST:
        raise wrong(key, value, f"a text of at most {_LONGEST} printable characters")
    return value


def _directory(key: str, value: object) -> str:
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or not text.startswith(("/", "~")):
        raise wrong(key, value, "an absolute path, one that begins with ~, or None for no spool")
    return text


def _one_of(*words: str) -> Callable[[str, object], str]:
    def read(key: str, value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise wrong(key, value, " or ".join(f'"{word}"' for word in words))
        return value

    return read


def _time_from_zero(key: str, value: object) -> timedelta:
    """A length of time or 0."""
    if value in (0, "0", timedelta(0)) and not isinstance(value, bool):
        return timedelta(0)
    return read_time(key, value)


def read_time(key: str, value: object) -> timedelta:
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
        raise wrong(key, value, "a timedelta, seconds, or text such as '90m'") from None
    if read <= timedelta(0):
        raise wrong(key, value, "a timedelta, seconds, or text such as '90m', longer than 0")
    return read


def _days(key: str, value: object) -> timedelta:
    read = read_time(key, value)
    if read % timedelta(days=1):
        raise wrong(key, value, "whole days, such as '1d'")
    return read


def _retention(key: str, value: object) -> Retention:
    rules = value if isinstance(value, Mapping) else {"*": value}
    if any(not isinstance(pattern, str) or not pattern for pattern in rules):
        raise wrong(key, value, "a length of time, or a dict of them by state or by name")
    return Retention(
        tuple(
            (pattern, None if kept is None else read_time(f"{key}[{pattern!r}]", kept))
            for pattern, kept in rules.items()
        )
    )


def _users(key: str, value: object) -> dict[str, User]:
    try:
        return read_users(key, value)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None


def _oidc(key: str, value: object) -> Oidc | None:
    try:
        return read_oidc(key, value)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None


def _secret(key: str, value: object) -> str:
    # The value is not shown.
    if not isinstance(value, str) or len(value) < _SHORTEST_SECRET:
        raise ImproperlyConfigured(
            f"{key}: it must be text of at least {_SHORTEST_SECRET} characters, such as "
            "secrets.token_urlsafe(32) makes"
        )
    return value


def _names(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise wrong(key, value, "a name or a list of names")
    if any(not isinstance(name, str) for name in value):
        raise wrong(key, value, "a list of names")
    return tuple(value)


def _aliases(key: str, value: object) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        value = (value,)
    if not (isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)):
        raise wrong(key, value, "True, False, or aliases of Django's databases")
    return tuple(value)


def _outboxes(key: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise wrong(key, type(value), "a dict of names and URLs")
    return {_text(f"a name in {key}", n): _url(f"{key}[{n!r}]", url) for n, url in value.items()}


def _rules(key: str, value: object) -> tuple[Rule, ...]:
    try:
        return read_rules(value)
    except ValueError as error:
        wanted = "paths such as 'card.number' or 'shop.pay:card.*', compiled patterns or functions"
        raise wrong(key, value, f"{wanted}, or a list of these: {error}") from None


READERS: dict[str, Callable[[str, object], Any]] = {
    "storage": _url,
    "read_storage": _url,
    "track_publish": _bool,
    "use_json": _bool,
    "force_json": _bool,
    "ignore": _names,
    "redact": _rules,
    "index_kwargs": _names,
    "auto_setup": _bool,
    "storage_timeout": read_time,
    "pool_size": _whole_number,
    "max_text": _whole_number,
    "max_body": _whole_number,
    "write_mode": _one_of("direct", "spooled"),
    "spool_directory": _directory,
    "spool_size": _whole_number,
    "retention": _retention,
    "audit_retention": read_time,
    "partition": _days,
    "stale_after": read_time,
    "heartbeat": _time_from_zero,
    "release": _release,
    "schedule_eta": _bool,
    "schedule_min_delay": _time_from_zero,
    "schedule_new_id": _bool,
    "schedule_redacted": _bool,
    "sweeper": _one_of("worker", "beat", "off"),
    "sweep_interval": read_time,
    "sweep_limit": _whole_number,
    "rescue_after": read_time,
    "on_divert_error": _one_of("raise", "broker"),
    "outbox": _aliases,
    "outboxes": _outboxes,
    "outbox_wake": _one_of("notify", "poll"),
    "outbox_poll": read_time,
    "namespace": _text,
    "web_hide_args": _bool,
    "web_users": _users,
    "web_secret": _secret,
    "web_oidc": _oidc,
}
