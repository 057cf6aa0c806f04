"""Redaction: `fullresult_redact` applied to what is about to be recorded of a task."""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.saferepr import saferepr
from celery.utils.serialization import UnpickleableExceptionWrapper

from fullresult.config.redaction_rules import Path, PathRule, Redact, Rule
from fullresult.record import REDACTED, encoding
from fullresult.recording import masking
from fullresult.recording.masking import MARK
from fullresult.recording.message import Call

logger = logging.getLogger(__name__)

Hide = Callable[[str], str]
"""A text as it may be kept."""

_ARGUMENTS = ("args", "kwargs")
_LONGEST_NOTE = 200
_JSON = "application/json"
_NOT_READ = "not decoded"
_FAILED = "a rule of fullresult_redact failed"
_STRUCTURE = frozenset(
    {"lang", "task", "id", "eta", "expires", "group", "group_index", "retries", "timelimit"}
    | {"root_id", "parent_id", "origin", "ignore_result", "replaced_task_nesting"}
    | {"stamped_headers", "compression", "fullresult_original_id"}
)
"""Headers that tell which task it is, and what is to become of it, and nothing else."""
_OF_SIGNATURE = "subtask_type"
"""What stands in every serialised signature."""
_EACH = {"celery.map": False, "celery.starmap": True, "celery.chunks": True}
"""Celery's tasks that call another one for each item; whether the items are its arguments."""


class Redactor:
    """Applies the rules of one app. What a rule that fails might have hidden is hidden whole."""

    def __init__(self, app: Celery, rules: Iterable[Rule]) -> None:
        self._app = app
        known = tuple(rules)
        self._paths = [rule for rule in known if isinstance(rule, PathRule)]
        self._patterns = [rule for rule in known if isinstance(rule, re.Pattern)]
        self._functions: list[Redact] = [
            rule for rule in known if not isinstance(rule, (PathRule, re.Pattern))
        ]
        self._paths_of = lru_cache(4096)(self._find_paths)
        self._told: set[str] = set()

    # ---- messages

    def call(self, call: Call) -> Call:
        """*call* as it may be recorded; its `redacted` says what of it is not as it was."""
        if call.body is None:
            return self._closed(call, _NOT_READ)
        name = self._name(call.headers.get("task"))
        try:
            return self._redacted(call, name)
        except SoftTimeLimitExceeded:
            raise  # it is meant for the task that publishes
        except Exception as error:  # noqa: BLE001  (whatever it is, what it would have hidden stays)
            self._tell_failed(name, error)
            return self._closed(call, _FAILED)

    def _redacted(self, call: Call, name: str | None) -> Call:
        args, kwargs, embed = old = tuple(call.parts)
        args, kwargs = self._arguments(name, args, kwargs)
        if _may_hold_signatures(call):
            args, kwargs = self._signatures(args), self._signatures(kwargs)
        embed = self._signatures(embed)
        new = tuple(masking.matching(part, self._patterns) for part in (args, kwargs, embed))
        notes = {
            part: _note(masking.names_changed(was, now))
            for part, was, now in zip((*_ARGUMENTS, "embed"), old, new, strict=True)
            if was is not now
        }
        if notes or self._is_in_body(call):
            notes["body"] = REDACTED
        headers = self._headers(call, dict(zip(_ARGUMENTS, new, strict=False)), notes)
        return _remade(call, new, headers, notes) if notes else call

    def _headers(self, call: Call, new: Mapping[str, Any], notes: dict[str, str]) -> dict[str, Any]:
        headers = dict(call.headers)
        for part in _ARGUMENTS:
            shown = f"{part}repr"
            if part in notes and part not in call.hidden and headers.get(shown) is not None:
                headers[shown] = saferepr(new[part])
        changed = []
        for name in headers.keys() - _STRUCTURE if self._patterns else ():
            hidden = masking.matching(headers[name], self._patterns)
            if hidden is not headers[name]:
                headers[name] = hidden
                changed.append(encoding.key(name))
        if changed:
            notes["headers"] = _note(sorted(changed))
        return headers

    def _is_in_body(self, call: Call) -> bool:
        """Whether a body that is no JSON has more than its arguments show, as a pickle may."""
        payload = call.payload
        if not self._patterns or payload is None or payload.content_type == _JSON:
            return False
        data = payload.data if isinstance(payload.data, str) else payload.data.decode("latin-1")
        return any(pattern.search(text) for pattern in self._patterns for text in _readings(data))

    def _closed(self, call: Call, why: str) -> Call:
        """*call* with nothing of its arguments."""
        headers = dict(call.headers)
        for shown in ("argsrepr", "kwargsrepr"):
            if headers.get(shown) is not None:
                headers[shown] = MARK
        for name in headers.keys() - _STRUCTURE if self._patterns else ():
            headers[name] = self._or_mark(headers[name])
        notes = dict.fromkeys((*_ARGUMENTS, "embed", "body"), f"{REDACTED}: {why}")
        closed = _remade(call, ([], {}, None), headers, notes)
        return closed._replace(hidden=frozenset(_ARGUMENTS))

    def _or_mark(self, value: Any) -> Any:
        try:
            return masking.matching(value, self._patterns)
        except Exception:  # noqa: BLE001
            return MARK

    # ---- arguments

    def _arguments(self, name: str | None, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if paths := self._paths_of(name):
            args = self._positional(name, args, paths)
            kwargs = masking.at(kwargs, paths)
        for function in self._functions:
            args, kwargs = _asked(function, name or "", args, kwargs)
        if name in _EACH and isinstance(kwargs, Mapping):
            kwargs = self._items(kwargs, whole=_EACH[name])
        return args, kwargs

    def _positional(self, name: str | None, args: Any, paths: frozenset[Path]) -> Any:
        """*args*, each known by its number and, where the task is known here, by its name."""
        if not isinstance(args, (list, tuple)):
            return args
        names, rest = self._parameters(name)
        hidden = []
        for number, value in enumerate(args):
            keys = (str(number), *names[number : number + 1])
            further = masking.onward(paths, keys)
            if number >= len(names) and rest is not None:
                beyond = masking.onward(paths, (rest,))
                further |= {()} if () in beyond else set()
                further |= masking.onward(beyond - {()}, (str(number - len(names)),))
            hidden.append(masking.at(value, further))
        if all(a is b for a, b in zip(args, hidden, strict=True)):
            return args
        return tuple(hidden) if isinstance(args, tuple) else hidden

    def _parameters(self, name: str | None) -> tuple[list[str], str | None]:
        """The names of a task's positional parameters, and that of its `*args`."""
        try:
            task = self._app.tasks.get(name)
            parameters = inspect.signature(task.run).parameters.values() if task else ()
        except Exception:  # noqa: BLE001  (an app that may not be finalised, a run without one)
            return [], None
        names = [
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
        return names, rest[0] if rest else None

    def _items(self, kwargs: Mapping[str, Any], *, whole: bool) -> Mapping[str, Any]:
        """The arguments of `celery.starmap` and its like: those of the calls it makes."""
        inner, items = kwargs.get("task"), kwargs.get("it")
        if not isinstance(inner, Mapping) or not masking.is_container(items):
            return kwargs
        name = self._name(inner.get("task"))

        def hide(item: Any, _: tuple[str, ...]) -> Any:
            if whole:
                return self._arguments(name, item, {})[0]
            given = (item,)
            hidden = self._arguments(name, given, {})[0]
            return item if hidden is given else hidden[0]

        hidden = masking.mapped(items, hide)
        return kwargs if hidden is items else {**kwargs, "it": hidden}

    def _signatures(self, value: Any) -> Any:
        """*value* with the arguments of the signatures in it, at any depth, as they may be kept."""
        if not masking.is_container(value):
            return value
        inside = masking.mapped(value, lambda item, _: self._signatures(item))
        if not isinstance(inside, Mapping) or not _is_signature(inside):
            return inside
        args, kwargs = inside["args"], inside["kwargs"]
        hidden = self._arguments(self._name(inside["task"]), args, kwargs)
        if hidden[0] is args and hidden[1] is kwargs:
            return inside
        return {**inside, "args": hidden[0], "kwargs": hidden[1]}

    def covers(self, signature: Any) -> bool:
        """Whether something of a signature is not to be kept."""
        try:
            hidden = self._signatures(signature)
            return masking.matching(hidden, self._patterns) is not signature
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001
            return True

    def _find_paths(self, name: str | None) -> frozenset[Path]:
        """Those for tasks called *name*; all of them where nobody knows what it is called."""
        return frozenset(
            rule.path for rule in self._paths if name is None or fnmatchcase(name, rule.name)
        )

    def _name(self, name: Any) -> str | None:
        return None if name is None else encoding.safe_str(name)

    # ---- results and errors

    def result(self, name: str | None, value: Any) -> Any:
        """What a task returned, as it may be kept."""
        try:
            paths: Collection[Path] = self._paths_of(name)
            if not isinstance(value, Mapping):
                # A number is meant for a positional argument.
                paths = [path for path in paths if not path[0].isdecimal()]
            hidden = masking.at(value, paths) if masking.is_container(value) else value
            return masking.matching(hidden, self._patterns)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001
            self._tell_failed(name, error)
            return MARK

    def told(self, details: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the audit log is told of an action: the arguments that somebody searched for."""
        try:
            hidden = masking.mapped(details, self._asked_for)
            shown: Mapping[str, Any] = masking.matching(hidden, self._patterns)
        except Exception as error:  # noqa: BLE001
            self._tell_failed(None, error)
            return dict.fromkeys(details, MARK)
        return shown

    def _asked_for(self, value: Any, keys: tuple[str, ...]) -> Any:
        if keys == ("kwargs",):
            return masking.at(value, self._paths_of(None))
        return masking.mapped(value, self._asked_for) if isinstance(value, Mapping) else value

    def of_errors(self, name: str | None, args: Any, kwargs: Any) -> Hide:
        """What hides in the error of a task what is hidden of its arguments, and what matches."""
        try:
            found = self._secrets(name, args, kwargs)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001
            self._tell_failed(name, error)
            return lambda _: MARK

        def hide(text: str) -> str:
            for secret in found:
                text = text.replace(secret, MARK)
            return masking.in_text(text, self._patterns)

        return hide

    def _secrets(self, name: str | None, args: Any, kwargs: Any) -> list[str]:
        """What is hidden of the arguments, as it may stand in a text; the longest first."""
        new = self._arguments(name, args, kwargs)
        found = {*masking.secrets(args, new[0]), *masking.secrets(kwargs, new[1])}
        forms = {form for text in found for form in _forms(text)}
        return sorted(forms, key=len, reverse=True)

    def stored(
        self, name: str | None, value: Any, traceback: Any, hide: Hide | None = None
    ) -> tuple[Any, Any]:
        """What a result backend is given, and the traceback, as they may be kept.

        *hide* is what hides in errors, where *value* is one.
        """
        if hide is None:
            hidden = self.result(name, value)
            if hidden is not value:
                self._tell_result(name)
            return hidden, traceback
        text = None if traceback is None else hide(encoding.safe_str(traceback))
        try:
            return _hidden_error(value, hide), text
        except Exception as error:  # noqa: BLE001
            self._tell_failed(name, error)
            return _nameless(value), text

    # ---- logs

    def _tell_failed(self, name: str | None, error: Exception) -> None:
        if f"failed {name}" not in self._told:
            self._told.add(f"failed {name}")
            # Neither its message nor its traceback: they may have what is to be hidden.
            logger.error(
                "fullresult: a rule of fullresult_redact raised %s; nothing is kept of the "
                "arguments of tasks called %s that it cannot tell",
                type(error).__qualname__,
                name,
            )

    def _tell_result(self, name: str | None) -> None:
        if f"result {name}" not in self._told:
            self._told.add(f"result {name}")
            logger.warning(
                "fullresult: fullresult_redact hides some of what tasks called %s return, and "
                "whoever asks for the result gets it so: the records are the result backend",
                name,
            )


def _asked(function: Redact, name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """What *function* answers; the arguments themselves where it hides nothing."""
    given = list(masking.copied(args or ())), dict(masking.copied(kwargs or {}))
    new_args, new_kwargs = function(name, *given)
    if not isinstance(new_args, (list, tuple)) or not isinstance(new_kwargs, Mapping):
        raise TypeError("it must answer (args, kwargs)")
    return (
        args if masking.same(args or (), new_args) else list(new_args),
        kwargs if masking.same(kwargs or {}, new_kwargs) else dict(new_kwargs),
    )


def _remade(
    call: Call, parts: Sequence[Any], headers: dict[str, Any], notes: dict[str, str]
) -> Call:
    args, kwargs, embed = parts
    payload = call.payload
    if payload is not None and "body" in notes:
        payload = payload._replace(data=b"")
    if isinstance(call.body, dict):
        body: Any = {**headers, "args": args, "kwargs": kwargs, **(embed or {})}
        return call._replace(body=body, payload=payload, redacted=notes)
    how = {**call.how, "headers": headers}
    return call._replace(body=(args, kwargs, embed), payload=payload, how=how, redacted=notes)


def _note(names: Sequence[str]) -> str:
    told = ", ".join(name for name in names if MARK not in name)
    return f"{REDACTED}: {encoding.clip(encoding.clean(told), _LONGEST_NOTE)}" if told else REDACTED


def _may_hold_signatures(call: Call) -> bool:
    """Whether signatures may stand among the arguments: each serializer writes its keys as text."""
    if call.payload is None:
        return True
    data = call.payload.data
    return _OF_SIGNATURE in data if isinstance(data, str) else _OF_SIGNATURE.encode() in data


def _is_signature(value: Mapping[Any, Any]) -> bool:
    return isinstance(value.get("task"), str) and "args" in value and "kwargs" in value


def _readings(data: str) -> tuple[str, ...]:
    """Bytes, given as Latin-1, as what text they may hold."""
    try:
        return data, data.encode("latin-1").decode(errors="replace")
    except UnicodeEncodeError:  # it was text
        return (data,)


def _forms(text: str) -> set[str]:
    """How *text* stands in a message: as it is, in a repr, in JSON."""
    return {text, repr(text)[1:-1], json.dumps(text)[1:-1]}


def _hidden_error(value: Any, hide: Hide) -> Any:
    """An error as a result backend is given it: an exception, or a dict for JSON to hold."""
    if isinstance(value, Mapping):
        return {**value, "exc_message": masking.texts(value.get("exc_message"), hide)}
    if not isinstance(value, BaseException):
        return masking.texts(value, hide)
    told = (value.args, vars(value), getattr(value, "__notes__", ()))
    text = encoding.safe_str(value)
    if masking.texts(told, hide) is told and hide(text) == text:
        return value
    # Not one of its own class, whose making is its own affair.
    args = [encoding.safe_repr(each) for each in masking.texts(list(value.args), hide)]
    return _stand_in(value, args, hide(text))


def _nameless(value: Any) -> Any:
    """An error of which nothing but the class may be kept."""
    if isinstance(value, Mapping):
        return {**value, "exc_message": [MARK]}
    return _stand_in(value, [MARK], MARK) if isinstance(value, BaseException) else MARK


def _stand_in(error: BaseException, args: list[str], text: str) -> UnpickleableExceptionWrapper:
    kind = type(error)
    return UnpickleableExceptionWrapper(kind.__module__, kind.__name__, args, text=text)
