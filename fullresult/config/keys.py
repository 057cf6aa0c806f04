"""The names of the `fullresult_*` keys, and the error for a name that does not exist."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from types import ModuleType

from celery import Celery
from celery.app.defaults import SETTING_KEYS
from celery.exceptions import ImproperlyConfigured

PREFIX = "fullresult_"
_CELERY = "celery_"
_NEAR = 0.8
"""How alike two names must be for one to be taken for the other, misspelt."""
RENAMED = {
    "write": "write_mode",
    "timeout": "storage_timeout",
    "max_size": "max_text",
    "spool": "spool_directory",
}
"""Names that settings had before, and those they have now."""


def check_names(app: Celery, names: Collection[str]) -> None:
    """Raise `ImproperlyConfigured` if *app* has a `fullresult_*` key that is none of *names*."""
    given = [key for key in app.conf if isinstance(key, str)]
    namespace = app.conf.prefix or ""  # known only after the keys were asked for
    problems = [
        _problem(key, prefix, keys)
        for prefix in {PREFIX, _in_namespace(PREFIX, namespace)}
        for keys in [[_key(prefix, name) for name in names]]
        for key in given
        if key.startswith(prefix) and key not in keys and _is_ours(app, key, namespace)
    ]
    problems += _in_capitals(given, namespace, names)
    if problems:
        raise ImproperlyConfigured("; ".join(sorted(problems)))


def _in_namespace(key: str, namespace: str) -> str:
    """*key* as Celery looks it up in *namespace*: CELERY_FULLRESULT_STORAGE in "CELERY_"."""
    whole = key if key.startswith(namespace) else namespace + key
    return whole.upper() if namespace.isupper() else whole.lower()


def _key(prefix: str, name: str) -> str:
    return prefix + (name.upper() if prefix.isupper() else name)


def _is_ours(app: Celery, key: str, namespace: str) -> bool:
    """False for a setting of Celery's, and for what a module of settings imports or defines."""
    is_celerys = bool(namespace) and key.removeprefix(namespace).lower() in SETTING_KEYS
    value = app.conf.get(key)
    # A function under another name is a value: of a key that is misspelt.
    is_defined = isinstance(value, ModuleType) or getattr(value, "__name__", None) == key
    return not is_celerys and not is_defined


def _in_capitals(given: Collection[str], namespace: str, names: Collection[str]) -> list[str]:
    """The problems of keys in capitals that Celery does not read in this *namespace*."""
    read = _in_namespace(PREFIX, namespace)
    prefixes = [f"{_CELERY}{PREFIX}".upper(), PREFIX.upper()]
    return [
        _not_read(key, _key(read, name), namespace)
        for key in given
        for prefix in prefixes
        if prefix != read and key.startswith(prefix)
        for name in _meant(key[len(prefix) :].lower(), names)
    ]


def _meant(name: str, names: Collection[str]) -> list[str]:
    """The name that *name* is or nearly is; none for what others may have called so."""
    successor = RENAMED.get(name)
    return [successor] if successor else get_close_matches(name, names, n=1, cutoff=_NEAR)


def _not_read(key: str, right: str, namespace: str) -> str:
    remedy = f"{key} is not read: call it {right}"
    if namespace or not key.startswith(_CELERY.upper()):
        return remedy
    return f'{remedy}, or give config_from_object the namespace="CELERY"'


def _problem(key: str, prefix: str, keys: Collection[str]) -> str:
    if successor := RENAMED.get(key[len(prefix) :].lower()):
        return f"there is no setting {key}: it is called {_key(prefix, successor)}"
    [nearest] = get_close_matches(key, keys, n=1, cutoff=0)
    return f"there is no setting {key}: the nearest is {nearest}"
