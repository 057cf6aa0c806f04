"""Every `fullresult_*` key of the Celery configuration, read once into `Settings`."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult.config.keys import PREFIX, check_names
from fullresult.config.namespace import namespace_of
from fullresult.config.oidc import Oidc
from fullresult.config.reading import READERS, read_time, wrong
from fullresult.config.redaction_rules import Rule
from fullresult.config.retention import Retention
from fullresult.config.shown_url import hide_passwords
from fullresult.config.spool_home import DEFAULT_SPOOL
from fullresult.config.users import User

RELEASE = "FULLRESULT_RELEASE"
"""The environment variable that names the release where no key does."""
NEVER_RECORDED = ("celery.chord_unlock", "celery.backend_cleanup", "fullresult.*")

_DEFAULT_EXPIRES = timedelta(days=1)
"""Celery's default, which is not read: no record goes after a day because nothing was set."""


@dataclass(frozen=True)
class Settings:
    """The `fullresult_*` keys of a Celery configuration; each field is a key without the prefix."""

    storage: str = field(default="sqlite:///fullresult.db", repr=False)
    """With its password, so it must not be shown."""
    read_storage: str | None = field(default=None, repr=False)
    """The URL, with its password, of a replica of the storage; None: all is read from the storage.
    """
    track_publish: bool = True
    use_json: bool = False
    force_json: bool = False
    ignore: tuple[str, ...] = ()
    redact: tuple[Rule, ...] = ()
    index_kwargs: tuple[str, ...] = ()
    auto_setup: bool = True
    storage_timeout: timedelta = timedelta(seconds=5)
    pool_size: int = 10
    """Connections of one process to the storage, at most."""
    max_text: int = 1024 * 1024
    max_body: int = 16 * 1024 * 1024
    write_mode: str = "direct"
    spool_directory: str | None = DEFAULT_SPOOL
    spool_size: int = 256 * 1024 * 1024
    retention: Retention | None = None
    audit_retention: timedelta | None = None
    partition: timedelta | None = None
    """Whole days."""
    stale_after: timedelta = timedelta(hours=1)
    heartbeat: timedelta = timedelta(seconds=10)
    """Time between two heartbeats of a worker; 0 for no heartbeats."""
    release: str | None = None
    """Names the code that a worker runs; if not set, the environment does."""
    schedule_eta: bool = False
    schedule_min_delay: timedelta = timedelta(0)
    schedule_new_id: bool = False
    schedule_redacted: bool = False
    sweeper: str = "worker"
    sweep_interval: timedelta = timedelta(seconds=1)
    sweep_limit: int = 500
    rescue_after: timedelta | None = None
    on_divert_error: str = "raise"
    outbox: bool | tuple[str, ...] = False
    """True, or the aliases of Django's databases whose transactions every publish waits for."""
    outboxes: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The URLs, with their passwords, of outboxes that are not in the storage; by their names."""
    outbox_wake: str = "notify"
    outbox_poll: timedelta = timedelta(milliseconds=100)
    namespace: str = ""
    """By default that of the broker's URL."""
    web_hide_args: bool = False
    """True: lists of the web pages show no arguments."""
    web_users: Mapping[str, User] = field(default_factory=dict, repr=False)
    web_secret: str | None = field(default=None, repr=False)
    """Signs the sessions of the web pages; None: a random one of each process."""
    web_oidc: Oidc | None = field(default=None, repr=False)
    """The provider at which people log in to the web pages."""

    @property
    def sweeps(self) -> bool:
        """True if tasks wait in a database, so that workers look for what is due."""
        return self.sweeps_storage or bool(self.outboxes)

    @property
    def sweeps_storage(self) -> bool:
        """True if tasks wait in the storage itself."""
        return self.schedule_eta or bool(self.outbox)

    def outbox_url(self, name: str) -> str:
        """The URL of an outbox, with its password. Raises `LookupError` if there is none."""
        try:
            return self.outboxes[name]
        except KeyError:
            known = ", ".join(map(repr, self.outboxes)) or "none"
            raise LookupError(
                f"there is no outbox {name!r}: fullresult_outboxes names {known}"
            ) from None

    @property
    def limits(self) -> Limits:
        return Limits(self.max_text, self.max_body)

    @classmethod
    def of(cls, app: Celery) -> Settings:
        """Read the configuration of *app*. Raises `ImproperlyConfigured`, which names the key."""
        check_names(app, READERS)
        given: dict[str, Any] = {}
        for setting in fields(cls):
            key = PREFIX + setting.name
            value = app.conf.get(key)
            if value is not None:
                given[setting.name] = READERS[setting.name](key, value)
        hide_passwords(app)
        waits = next(
            (key for key in ("schedule_eta", "outbox", "outboxes") if given.get(key)), None
        )
        if waits and "storage" not in given:
            raise ImproperlyConfigured(
                f"fullresult_{waits} needs fullresult_storage: the default is a file in each "
                "process's own directory, where a sweeper elsewhere would not find what is due"
            )
        _check_urls(given)
        if app.conf.get("fullresult_spool_directory", DEFAULT_SPOOL) is None:
            given["spool_directory"] = None
            if given.get("write_mode") == "spooled":
                raise wrong(
                    "fullresult_write_mode",
                    "spooled",
                    '"direct" where fullresult_spool_directory is None',
                )
        if "release" not in given and (release := os.environ.get(RELEASE)):
            given["release"] = READERS["release"](RELEASE, release)
        if "retention" not in given and (kept := _result_expires(app)) is not None:
            given["retention"] = Retention((("*", kept),))
        if not given.get("namespace"):
            given["namespace"] = namespace_of(app)
        return cls(**given)


def _check_urls(given: Mapping[str, Any]) -> None:
    """Raise `ImproperlyConfigured` for a URL that is that of the storage itself."""
    if same := [n for n, url in given.get("outboxes", {}).items() if url == given["storage"]]:
        raise ImproperlyConfigured(
            f"fullresult_outboxes[{same[0]!r}] is fullresult_storage, which has an outbox by "
            "fullresult_outbox = True: leave it out"
        )
    if "read_storage" in given and given["read_storage"] == given.get("storage"):
        raise ImproperlyConfigured(
            "fullresult_read_storage is fullresult_storage: name a replica of it, or leave it out"
        )


def _result_expires(app: Celery) -> timedelta | None:
    """Celery's `result_expires`, if it was changed and its results are our records."""
    if not str(app.conf.result_backend or "").startswith("fullresult"):
        return None
    expires = app.conf.result_expires
    if not expires or expires == _DEFAULT_EXPIRES:
        return None
    return read_time("result_expires", expires)


@lru_cache(maxsize=4096)
def is_recorded(name: str, ignored: tuple[str, ...]) -> bool:
    """True if tasks called *name* are recorded."""
    return not any(fnmatch.fnmatchcase(name, pattern) for pattern in (*NEVER_RECORDED, *ignored))


class Limits(NamedTuple):
    """The size of what is kept of one task."""

    text: int
    """Characters of each text that is shown or searched: arguments, results, tracebacks, …"""
    body: int
    """Bytes of the message body that is kept for sending the task again."""
