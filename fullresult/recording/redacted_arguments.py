"""The arguments of tasks, redacted by the rules that are paths or functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from celery import Celery, Task

from fullresult.config.redaction_rules import Path, PathRule, Redact
from fullresult.record import encoding
from fullresult.record.query import place_of
from fullresult.recording import masking

_EACH = {"celery.map": False, "celery.starmap": True, "celery.chunks": True}
"""Celery's tasks that call another one for each item; True if an item is all its arguments."""
Parameters = tuple[tuple[str, ...], str | None, bool]
_UNKNOWN: Parameters = ((), None, True)


class RedactedArguments:
    """Applies the rules of one app to arguments. Raises what a rule raises."""

    def __init__(self, app: Celery, paths: Iterable[PathRule], functions: Iterable[Redact]) -> None:
        self._app = app
        self._paths = list(paths)
        self._functions = list(functions)
        self.paths_of = lru_cache(4096)(self._find_paths)
        self._parameters_of: dict[str, tuple[object, object, Parameters]] = {}
        """By the names of tasks: the task and its function whose parameters were asked for."""

    def has_rules_for(self, name: str | None) -> bool:
        return bool(self._functions or self.paths_of(name))

    def of_task(self, name: str | None, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments of a task called *name*, as they may be kept."""
        if paths := self.paths_of(name):
            args = self._positional(name, args, paths)
            kwargs = masking.at(kwargs, paths)
        for function in self._functions:
            args, kwargs = _asked(function, name or "", args, kwargs)
        if name in _EACH and isinstance(kwargs, Mapping):
            kwargs = self._items(kwargs, whole=_EACH[name])
        return args, kwargs

    def _positional(self, name: str | None, args: Any, paths: frozenset[Path]) -> Any:
        """*args*, each found by its number and, if the task is registered here, by its name."""
        if not isinstance(args, (list, tuple)):
            return args
        names, rest, is_known = self._parameters(name)
        beyond_names = {()} if not is_known and any(not p[0].isdecimal() for p in paths) else set()
        hidden = []
        for number, value in enumerate(args):
            keys = (str(number), *names[number : number + 1])
            further = masking.onward(paths, keys)
            if number >= len(names):
                further |= beyond_names
            if number >= len(names) and rest is not None:
                beyond = masking.onward(paths, (rest,))
                further |= {()} if () in beyond else set()
                further |= masking.onward(beyond - {()}, (str(number - len(names)),))
            hidden.append(masking.at(value, further))
        if all(a is b for a, b in zip(args, hidden, strict=True)):
            return args
        return tuple(hidden) if isinstance(args, tuple) else hidden

    def _parameters(self, name: str | None) -> Parameters:
        """The names of a task's positional parameters, that of its `*args`, and if these are all.

        They are not if a decorator has put a function of its own before the task's, without
        `functools.wraps`.
        """
        try:
            task = self._app.tasks.get(name)
            return self._of(task) if task else _UNKNOWN
        except Exception:  # noqa: BLE001  (an app that may not be finalised, a run without one)
            return _UNKNOWN

    def _of(self, task: Task) -> Parameters:
        run = task.run
        function = getattr(run, "__func__", run)  # a method is another object each time
        known = self._parameters_of.get(task.name)
        if known is not None and known[0] is task and known[1] is function:
            return known[2]
        found = _parameters(run)
        self._parameters_of[task.name] = task, function, found
        return found

    def _items(self, kwargs: Mapping[str, Any], *, whole: bool) -> Mapping[str, Any]:
        """The arguments of `celery.starmap` and its like: those of the calls it makes."""
        inner, items = kwargs.get("task"), kwargs.get("it")
        if not isinstance(inner, Mapping) or not masking.is_container(items):
            return kwargs
        name = text_of(inner.get("task"))

        def hide(item: Any, _: tuple[str, ...]) -> Any:
            if whole:
                return self.of_task(name, item, {})[0]
            given = (item,)
            hidden = self.of_task(name, given, {})[0]
            return item if hidden is given else hidden[0]

        hidden = masking.mapped(items, hide)
        return kwargs if hidden is items else {**kwargs, "it": hidden}

    def in_signatures(self, value: Any) -> Any:
        """*value* with the arguments of each signature in it, at any depth, as they may be kept."""
        if not masking.is_container(value):
            return value
        inside = masking.mapped(value, lambda item, _: self.in_signatures(item))
        if not isinstance(inside, Mapping) or not _is_signature(inside):
            return inside
        args, kwargs = inside["args"], inside["kwargs"]
        hidden = self.of_task(text_of(inside["task"]), args, kwargs)
        if hidden[0] is args and hidden[1] is kwargs:
            return inside
        return {**inside, "args": hidden[0], "kwargs": hidden[1]}

    def in_details(self, details: Mapping[str, Any]) -> Mapping[str, Any]:
        """*details* of an action, with the arguments in them, at any depth, as they may be kept.

        Which task an action is about is not said: paths for any task apply, and of positional
        arguments none can be told by its name.
        """
        hidden: Mapping[str, Any] = masking.mapped(details, self._in_detail)
        return hidden

    def _in_detail(self, value: Any, keys: tuple[str, ...]) -> Any:
        if keys == ("kwargs",) and isinstance(value, Mapping):
            return self.in_signatures(self.of_task(None, (), value)[1])
        if keys == ("args",) and isinstance(value, (list, tuple)):
            return self._in_order(value)
        if keys == ("args_at",) and isinstance(value, Mapping):
            return self._by_place(value)
        if isinstance(value, Mapping) and _is_signature(value):
            return self.in_signatures(value)
        if masking.is_container(value):
            return masking.mapped(value, self._in_detail)
        return value if masking.is_plain(value) or not self.paths_of(None) else masking.MARK

    def _in_order(self, args: Any) -> Any:
        paths = self.paths_of(None)
        named = any(not path[0].isdecimal() for path in paths)
        return masking.MARK if named else self.in_signatures(self.of_task(None, args, {})[0])

    def _by_place(self, args: Mapping[Any, Any]) -> Any:
        """The same of some arguments, each with its place, as `TaskQuery.args_at` has them."""
        try:
            places = [place_of(key) for key in args]
        except ValueError:
            return masking.MARK
        whole: list[Any] = [None] * (max(places, default=-1) + 1)
        for place, value in zip(places, args.values(), strict=True):
            whole[place] = value
        hidden = self._in_order(whole)
        if hidden == masking.MARK:
            return hidden
        return {key: hidden[place] for place, key in zip(places, args, strict=True)}

    def _find_paths(self, name: str | None) -> frozenset[Path]:
        """The paths for tasks called *name*; all paths if the name is not known."""
        return frozenset(
            rule.path for rule in self._paths if name is None or fnmatchcase(name, rule.name)
        )


def _calls_another(run: Any) -> bool:
    """True if *run* is a wrapper: an object, or a function that holds another one."""
    function = inspect.unwrap(getattr(run, "__func__", run))
    function = getattr(function, "__func__", function)  # `autoretry_for` wraps a method
    if not inspect.isfunction(function):
        return True
    return any(callable(_content(cell)) for cell in function.__closure__ or ())


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty yet
        return None


def text_of(name: Any) -> str | None:
    """The name of a task as text, whatever a message has in its place."""
    return None if name is None else encoding.safe_str(name)


def _asked(function: Redact, name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The answer of *function*; the arguments themselves if it hides nothing."""
    given = list(masking.copied(args or ())), dict(masking.copied(kwargs or {}))
    new_args, new_kwargs = function(name, *given)
    if not isinstance(new_args, (list, tuple)) or not isinstance(new_kwargs, Mapping):
        raise TypeError("it must answer (args, kwargs)")
    return (
        args if masking.same(args or (), new_args) else list(new_args),
        kwargs if masking.same(kwargs or {}, new_kwargs) else dict(new_kwargs),
    )


def _parameters(run: Callable[..., Any]) -> Parameters:
    parameters = inspect.signature(run).parameters.values()
    names = tuple(
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    )
    rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    if not rest:
        return names, None, True
    return names, rest[0], not _calls_another(run)


def _is_signature(value: Mapping[Any, Any]) -> bool:
    return isinstance(value.get("task"), str) and "args" in value and "kwargs" in value
