"""Result backends, of the app and of tasks, while tests run whose results must not outlive them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NamedTuple

from celery.app import backends
from celery.backends.base import Backend, DisabledBackend, KeyValueStoreBackend

from fullresult.results.backend import FullResultBackend

_OF_DJANGO = "django_celery_results.backends.database"
_AT_THE_END = "remove_pending_result"
"""Celery calls it for each result that is deleted: no backend need be made for that."""


def hold_results(
    app: Any,
    must_stay: Callable[[], bool],
    tests_run: Callable[[], bool],
    owners: Callable[[], Sequence[Any]],
) -> None:
    """Have *app* keep in memory, while *must_stay* does, what its result backend would be given.

    A chord, a group, a cancelled task and a task that runs in a test write there without a message.
    What is kept goes with the last of *owners* that there is.
    """
    real, kept = app._get_backend, Kept(owners)  # noqa: SLF001  (Celery's own seam)

    def get_backend() -> Any:
        if not (tests_run() and leaves(app)):
            return real()
        thread_safe = bool(app.conf.get("result_backend_thread_safe"))
        return HeldBackend(must_stay, real, lambda: KeptResults(kept, app=app), thread_safe)

    app._get_backend = get_backend  # noqa: SLF001


def hold_own_backends(
    app: Any, must_stay: Callable[[], bool], owners: Callable[[], Sequence[Any]]
) -> None:
    """Have tasks with a `backend` of their own keep in memory what it would be given, likewise.

    So do those that *app* learns of later. The same backend of several tasks stays the same.
    """
    tasks = app._tasks  # noqa: SLF001  (the registry; `app.tasks` would make all tasks now)
    kind: Any = type(tasks)
    if hasattr(kind, "fullresult_holds"):
        return
    held: dict[int, HeldBackend] = {}

    def hold(task: Any) -> None:
        real = _own_backend(task)
        if real is None or not _leaves(type(real), str(getattr(real, "backend", ""))):
            return
        if id(real) not in held:
            kept = Kept(owners)
            held[id(real)] = HeldBackend(
                must_stay, lambda: real, lambda: KeptResults(kept, app=app), real.thread_safe
            )
        task.backend = held[id(real)]

    class Held(kind):
        fullresult_holds = True

        def __setitem__(self, name: Any, task: Any) -> None:
            hold(task)
            super().__setitem__(name, task)

    tasks.__class__ = Held
    for task in list(tasks.values()):
        hold(task)


def _own_backend(task: Any) -> Any:
    """The backend that was given to *task*, or to its class; None if it has the app's."""
    own = getattr(task, "_backend", None)
    if own is None:
        own = inspect.getattr_static(task, "backend", None)
    return own if isinstance(own, Backend) else None


def make_anew(app: Any) -> None:
    """Have *app* forget a result backend that it made before tests ran."""
    made = app._backend  # noqa: SLF001
    if made is not None and type(made) is not HeldBackend and leaves(app):
        app._backend_cache = None  # noqa: SLF001
        vars(app._local).pop("backend", None)  # noqa: SLF001


def leaves(app: Any) -> bool:
    """True if results go further than the process and Django's own transaction."""
    try:
        kind = _class_of(app)
    except Exception:  # noqa: BLE001  (it says so when it is made)
        return False
    cache = str(app.conf.result_backend).partition("+")[2] or str(app.conf.cache_backend)
    return _leaves(kind, cache)


def _leaves(kind: type, cache: str) -> bool:
    """True of a backend of *kind*; if it is Celery's of caches, *cache* says which."""
    if issubclass(kind, (FullResultBackend, DisabledBackend)):
        return False
    names = [f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__]
    if "celery.backends.cache.CacheBackend" in names:
        return not cache.startswith("memory")
    return not any(name.startswith(_OF_DJANGO) for name in names)


def _class_of(app: Any) -> Any:
    return backends.by_url(app.backend_cls or app.conf.result_backend, app.loader)[0]


class Kept:
    """Values by key, each as long as the test in which it came."""

    def __init__(self, owners: Callable[[], Sequence[Any]]) -> None:
        self._owners = owners
        self._layers: list[tuple[Any, dict[Any, Any]]] = []
        self._lock = Lock()

    def layers(self) -> list[dict[Any, Any]]:
        """Those of the owners that there are, the last one's last; those of others are dropped."""
        owners = self._owners()
        with self._lock:
            known = {id(owner): layer for owner, layer in self._layers}
            self._layers = [(owner, known.get(id(owner), {})) for owner in owners]
            return [layer for _, layer in self._layers]


class KeptResults(KeyValueStoreBackend):
    """Results in memory. Outside of every owner it keeps none."""

    implements_incr = True
    supports_autoexpire = True

    def __init__(self, kept: Kept, app: Any) -> None:
        self._kept = kept
        super().__init__(app, max_cached_results=-1)

    def get(self, key: Any) -> Any:
        for layer in reversed(self._kept.layers()):
            if key in layer:
                return layer[key]
        return None

    def mget(self, keys: Any) -> list[Any]:
        return [self.get(key) for key in keys]

    def set(self, key: Any, value: Any) -> None:
        for layer in self._kept.layers()[-1:]:
            layer[key] = value

    def incr(self, key: Any) -> int:
        number = int(self.get(key) or 0) + 1
        self.set(key, number)
        return number

    def delete(self, key: Any) -> None:
        for layer in self._kept.layers():
            layer.pop(key, None)

    def expire(self, key: Any, value: Any) -> None:
        """It goes with the test."""


class _Both(NamedTuple):
    must_stay: Callable[[], bool]
    make: Callable[[], Any]
    make_kept: Callable[[], Any]
    made: dict[str, Any]

    def of(self, name: str) -> Any:
        """The backend whose attribute *name* is asked for now."""
        real = self.made.get("real")
        if self.must_stay() or (real is None and name == _AT_THE_END):
            if "kept" not in self.made:
                self.made["kept"] = self.make_kept()
            return self.made["kept"]
        if real is None:
            real = self.made["real"] = self.make()
        return real


class HeldBackend:
    """The app's own result backend or the one in memory, as it must be at each call."""

    __slots__ = ("_both", "thread_safe")
    _both: _Both
    thread_safe: bool

    def __init__(
        self,
        must_stay: Callable[[], bool],
        make: Callable[[], Any],
        make_kept: Callable[[], Any],
        thread_safe: bool,
    ) -> None:
        object.__setattr__(self, "_both", _Both(must_stay, make, make_kept, {}))
        object.__setattr__(self, "thread_safe", thread_safe)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._both.of(name), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._both.of(name), name, value)
