"""The databases of Django's settings: where an alias leads to now, and what tests do there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

_NOT_LIBPQS = frozenset(
    {"pool", "isolation_level", "server_side_binding", "assume_role", "cursor_factory"}
    | {"client_encoding", "prepare_threshold", "context", "connection_factory", "autocommit"}
)
"""Options that Django, psycopg or psycopg2 keep for themselves."""


class Place(NamedTuple):
    """One database, and how to come there."""

    vendor: str
    url: str
    is_memory: bool
    may_be_used: bool
    """False for the database of the real site while tests run."""
    in_tests: bool


def place_of(connection: Any) -> Place:
    """The database that *connection*, one of Django's, is for now."""
    settings, vendor = connection.settings_dict, connection.vendor
    in_tests = tests_run()
    may_be_used = not in_tests or is_test_database(settings)
    if vendor == "postgresql":
        return Place(vendor, _postgresql_url(settings), False, may_be_used, in_tests)
    in_memory = is_memory(str(settings["NAME"]))
    url = "" if in_memory else f"sqlite:///{quote(str(Path(settings['NAME']).absolute()))}"
    return Place(vendor, url, in_memory, may_be_used, in_tests)


def tests_run() -> bool:
    """True if Django's test environment is set up.

    A `mail.outbox` does not say so: a site that keeps its mail in memory has one, too.
    """
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    return hasattr(state, "saved_data")


def is_test_database(settings: Mapping[str, Any]) -> bool:
    """True if the database of these *settings* is one that Django's test runner made."""
    name, given = str(settings["NAME"]), settings.get("TEST", {}).get("NAME")
    root = Path(str(given)).with_suffix("") if given else None
    return (
        is_memory(name)
        or Path(name).name.startswith("test_")
        or (root is not None and name.startswith(str(root)))
    )


def is_memory(name: str) -> bool:
    return name == ":memory:" or "mode=memory" in name


def _postgresql_url(settings: Mapping[str, Any]) -> str:
    given = {k: v for k, v in settings.get("OPTIONS", {}).items() if k not in _NOT_LIBPQS}
    options = {name: str(value) for name, value in given.items() if _is_plain(value)}
    if role := settings.get("OPTIONS", {}).get("assume_role"):
        options["options"] = f"{options.get('options', '')} -c role={role}".strip()
    host, port = str(settings.get("HOST") or ""), str(settings.get("PORT") or "")
    if host.startswith(("/", "@")) or "," in host:
        options["host"], host = host, ""
        if port:
            options["port"], port = port, ""
    user, password = settings.get("USER"), settings.get("PASSWORD")
    who = quote(str(user), safe="") if user else ""
    who += f":{quote(str(password), safe='')}" if password else ""
    where = f"{host}:{port}" if port else host
    address = f"{who}@{where}" if who else where
    query = f"?{urlencode(options, quote_via=quote)}" if options else ""
    return f"postgresql://{address}/{quote(str(settings.get('NAME') or ''), safe='')}{query}"


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def is_in_testcase(connection: Any) -> bool:
    """True inside a Django `TestCase`, which rolls back all that *connection* did."""
    blocks = getattr(connection, "atomic_blocks", ())
    return any(getattr(block, "_from_testcase", False) for block in blocks)


def is_joined(connection: Any, place: Place) -> bool:
    """True if the storage uses *connection* itself, and so its transaction."""
    if place.vendor == "sqlite":
        return bool(connection.in_atomic_block)
    return is_in_testcase(connection)


def is_forbidden(connection: Any) -> bool:
    """True in a test without a database: Django or pytest-django made an error of connecting."""
    blocked = getattr(connection.ensure_connection, "__name__", "") == "_blocking_wrapper"
    return blocked or type(connection.connect).__name__ == "_DatabaseFailure"
