"""Plugins: the adapter for a storage URL, the router, and functions that redact."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult import hookspecs
from fullresult.config import Settings, without_password
from fullresult.config.redaction_rules import Redact
from fullresult.config.router import EtaRouter, Router
from fullresult.recording.redaction import Redactor
from fullresult.storage import Storage

GROUP = "fullresult.storage"
OTHERS = "fullresult"
"""The group of entry points for plugins that are not storages."""


def open_storage(settings: Settings) -> Storage:
    """The storage that `fullresult_storage` names, not yet connected.

    Raises `ImproperlyConfigured` for a scheme that no installed adapter serves, or that two do.
    """
    url = settings.storage
    try:
        storage = _adapter(url).hook.fullresult_open_storage(url=url, settings=settings)
    except ValueError:
        # Python's, of a host in wrong brackets, say. Its message may hold the password.
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r} is no URL that can be read"
        ) from None
    if storage is None:
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r}: its adapter does not take this URL"
        )
    opened: Storage = storage
    return opened


def router(settings: Settings, plugins: Iterable[object]) -> Router:
    """The router of a plugin, which decides which tasks wait in the storage; else `EtaRouter`.

    The last of *plugins* is asked first, and installed plugins after all of them.
    """
    manager = _with_others(plugins)
    chosen: Router | None = manager.hook.fullresult_router(settings=settings)
    if chosen is None:
        return EtaRouter(settings.schedule_min_delay)
    if not callable(getattr(chosen, "diverts", None)):
        raise ImproperlyConfigured(
            f"fullresult_router answered {chosen!r}: a router has a method diverts(outgoing)"
        )
    return chosen


def outbox_writer(plugins: Iterable[object]) -> Callable[[object], object | None]:
    """What plugins know of a caller's connection that the storage does not know."""
    hook = _with_others(plugins).hook.fullresult_outbox_writer
    return lambda connection: hook(connection=connection)


def redactor(app: Celery, settings: Settings, plugins: Iterable[object]) -> Redactor | None:
    """The redactor with the rules of the settings and of plugins; None if there are none."""
    manager = _with_others(plugins)
    found = manager.hook.fullresult_redact.get_hookimpls()
    rules = (*settings.redact, *(_redact_of(manager, each.plugin) for each in reversed(found)))
    return Redactor(app, rules) if rules else None


def _redact_of(manager: pluggy.PluginManager, plugin: object) -> Redact:
    others = [each for each in manager.get_plugins() if each is not plugin]
    ask = manager.subset_hook_caller("fullresult_redact", others)

    def redact(name: str, args: Any, kwargs: Any) -> Any:
        (answer,) = ask(name=name, args=args, kwargs=kwargs)
        return answer

    return redact


def _with_others(plugins: Iterable[object]) -> pluggy.PluginManager:
    """A manager of *plugins*, and of installed plugins that are not storages."""
    manager = _manager()
    manager.load_setuptools_entrypoints(OTHERS)
    for plugin in plugins:
        if not manager.is_registered(plugin):
            manager.register(plugin)
    manager.check_pending()
    return manager


def schema_sql(settings: Settings) -> str | None:
    """The SQL that `setup` would run on an empty database; None if the adapter has none."""
    answers = _adapter(settings.storage).hook.fullresult_schema_sql(
        url=settings.storage, settings=settings
    )
    return answers[0] if answers else None


def _adapter(url: str) -> pluggy.PluginManager:
    scheme = url.partition("://")[0]
    _check(scheme, url)
    # One manager per storage: pluggy refuses one module under two names.
    manager = _manager()
    manager.load_setuptools_entrypoints(GROUP, name=scheme)
    manager.check_pending()
    return manager


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _check(scheme: str, url: str) -> None:
    offered = entry_points(group=GROUP)
    found = [point for point in offered if point.name == scheme]
    if not found or "://" not in url:
        known = ", ".join(sorted({point.name for point in offered})) or "none"
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r}: no installed adapter serves the "
            f"scheme {scheme!r}; known schemes: {known}"
        )
    if len(makers := {_maker(point) for point in found}) > 1:
        raise ImproperlyConfigured(
            f"fullresult_storage = {without_password(url)!r}: the scheme {scheme!r} is served by "
            f"{' and '.join(sorted(makers))}; uninstall one"
        )


def _maker(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value
