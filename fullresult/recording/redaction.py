"""Redaction: the rules of `fullresult_redact`, applied to all that is recorded of a task."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from celery import Celery
from celery.utils.saferepr import saferepr

from fullresult.config.redaction_rules import Path, PathRule, Redact, Rule
from fullresult.record import REDACTED, encoding
from fullresult.record.interruptions import spare
from fullresult.recording import disguises, masking, redacted_errors
from fullresult.recording.masking import MARK
from fullresult.recording.message import Call
from fullresult.recording.redacted_arguments import RedactedArguments, text_of
from fullresult.recording.redacted_errors import Hide
from fullresult.recording.running_tasks import RunningTask

logger = logging.getLogger(__name__)

_ARGUMENTS = ("args", "kwargs")
_LONGEST_NOTE = 200
_LONGEST_REPR = 1024
"""As Celery's."""
_JSON = "application/json"
_NOT_READ = "not decoded"
_FAILED = "a rule of fullresult_redact failed"
_STRUCTURE = frozenset(
    {"lang", "task", "id", "eta", "expires", "group", "group_index", "retries", "timelimit"}
    | {"root_id", "parent_id", "origin", "ignore_result", "replaced_task_nesting"}
    | {"stamped_headers", "compression", "fullresult_original_id"}
)
"""Headers that say which task it is and how it is to run. No pattern is applied to them."""
_ROUTING = frozenset(
    {"headers", "exchange", "routing_key", "declare", "serializer", "compression", "priority"}
    | {"delivery_mode", "expiration", "retry", "retry_policy", "timeout", "confirm_timeout"}
)
"""Keywords of a publish that say where it goes and how. No pattern is applied to them."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OF_SIGNATURE = "subtask_type"
"""A key of every serialised signature."""


class Redactor:
    """Applies the rules of one app. If a rule fails, everything that it might hide is hidden."""

    def __init__(self, app: Celery, rules: Iterable[Rule]) -> None:
        known = tuple(rules)
        paths = [rule for rule in known if isinstance(rule, PathRule)]
        self._patterns = [rule for rule in known if isinstance(rule, re.Pattern)]
        functions: list[Redact] = [
            rule for rule in known if not isinstance(rule, (PathRule, re.Pattern))
        ]
        self._arguments = RedactedArguments(app, paths, functions)
        self._logged: set[str] = set()

    # ---- messages

    def call(self, call: Call) -> Call:
        """*call* as it may be recorded; its `redacted` names the parts that were changed."""
        if call.body is None:
            return self._closed(call, _NOT_READ)
        name = text_of(call.headers.get("task"))
        try:
            return self._redacted(call, name)
        except Exception as error:  # noqa: BLE001  (whatever a rule raises)
            spare(error)
            self._log_failed(name, error)
            return self._closed(call, _FAILED)

    def _redacted(self, call: Call, name: str | None) -> Call:
        args, kwargs, embed = old = tuple(call.parts)
        args, kwargs = self._arguments.of_task(name, args, kwargs)
        if _may_hold_signatures(call):
            args, kwargs = (
                self._arguments.in_signatures(args),
                self._arguments.in_signatures(kwargs),
            )
        embed = self._arguments.in_signatures(embed)
        new = tuple(masking.matching(part, self._patterns) for part in (args, kwargs, embed))
        notes = {
            part: _note(masking.names_changed(was, now))
            for part, was, now in zip((*_ARGUMENTS, "embed"), old, new, strict=True)
            if was is not now
        }
        if notes or self._is_in_body(call):
            notes["body"] = REDACTED
        headers = self._headers(call, dict(zip(_ARGUMENTS, new, strict=False)), notes)
        how = self._how(call, notes)
        return _remade(call._replace(how=how), new, headers, notes) if notes else call

    def _headers(self, call: Call, new: Mapping[str, Any], notes: dict[str, str]) -> dict[str, Any]:
        headers = dict(call.headers)
        for part in _ARGUMENTS:
            shown = f"{part}repr"
            if part in notes and part not in call.hidden and headers.get(shown) is not None:
                headers[shown] = saferepr(new[part], _LONGEST_REPR)
        if changed := self._hide_items(headers, headers.keys() - _STRUCTURE):
            notes["headers"] = _note(sorted(changed))
        return headers

    def _how(self, call: Call, notes: dict[str, str]) -> dict[str, Any]:
        """The other keywords of the publish. Those that patterns match are left out."""
        how = dict(call.how)
        names = {name for name in how.keys() - _ROUTING if not _is_uuid(how[name])}
        if how.get("correlation_id") == call.headers.get("id"):
            names.discard("correlation_id")
        changed = self._hide_items(how, names)
        if changed:
            notes["properties"] = _note(sorted(changed))
        return {name: value for name, value in how.items() if name not in changed}

    def _hide_items(self, items: dict[str, Any], names: Iterable[str]) -> list[str]:
        """Hide what patterns match in *items*, of those called *names*; returns which, as shown."""
        changed = []
        for name in list(names) if self._patterns else ():
            shown = masking.in_text(encoding.key(name), self._patterns)
            hidden = self._or_mark(items[name])
            if hidden is not items[name] or MARK in shown:
                del items[name]
                items[shown if MARK in shown else name] = hidden
                changed.append(shown)
        return changed

    def _is_in_body(self, call: Call) -> bool:
        """True if a pattern matches a body that is not JSON, such as a pickle."""
        payload = call.payload
        if not self._patterns or payload is None or payload.content_type == _JSON:
            return False
        data = payload.data if isinstance(payload.data, str) else payload.data.decode("latin-1")
        return any(pattern.search(text) for pattern in self._patterns for text in _readings(data))

    def _closed(self, call: Call, why: str) -> Call:
        """*call* without any of its arguments."""
        headers = dict(call.headers)
        for shown in ("argsrepr", "kwargsrepr"):
            if headers.get(shown) is not None:
                headers[shown] = MARK
        notes = dict.fromkeys((*_ARGUMENTS, "embed", "body"), f"{REDACTED}: {why}")
        self._hide_items(headers, headers.keys() - _STRUCTURE)
        how = self._how(call, notes)
        closed = _remade(call._replace(how=how), ([], {}, None), headers, notes)
        return closed._replace(hidden=frozenset(_ARGUMENTS))

    def _or_mark(self, value: Any) -> Any:
        try:
            return masking.matching(value, self._patterns)
        except Exception as error:  # noqa: BLE001
            spare(error)
            return MARK

    def may_hide_arguments(self, name: str | None) -> bool:
        """True if some rule looks for arguments of tasks called *name*, or of any if it is None."""
        return self._arguments.has_rules_for(name)

    def covers(self, signature: Any) -> bool:
        """True if something of *signature* is not to be kept."""
        try:
            hidden = self._arguments.in_signatures(signature)
            return masking.matching(hidden, self._patterns) is not signature
        except Exception as error:  # noqa: BLE001
            spare(error)
            return True

    # ---- results and errors

    def result(self, name: str | None, value: Any) -> Any:
        """The result of a task called *name*, as it may be kept."""
        try:
            paths: Collection[Path] = self._arguments.paths_of(name)
            if not isinstance(value, Mapping):
                # A number is meant for a positional argument.
                paths = [path for path in paths if not path[0].isdecimal()]
            hidden = masking.at(value, paths) if masking.is_container(value) else value
            return masking.matching(hidden, self._patterns)
        except Exception as error:  # noqa: BLE001
            spare(error)
            self._log_failed(name, error)
            return MARK

    def details(self, details: Mapping[str, Any]) -> Mapping[str, Any]:
        """The details of an action as the audit log may keep them.

        What is hidden of the arguments in them is hidden in all their texts.
        """
        try:
            known = self._arguments.in_details(details)
            hide = disguises.hider(masking.secrets(details, known))
            shown: Mapping[str, Any] = masking.texts(known, hide)
            return masking.matching(shown, self._patterns)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001
            spare(error)
            self._log_failed(None, error)
            return dict.fromkeys(details, MARK)

    def of_errors(self, tasks: Sequence[RunningTask]) -> Hide:
        """A function that hides, in the texts of an error, the hidden arguments of *tasks*."""
        try:
            found = self._secrets(tasks)
        except Exception as error:  # noqa: BLE001
            spare(error)
            self._log_failed(tasks[0].name, error)
            return lambda _: MARK

        hide = disguises.hider(found)
        return lambda text: masking.in_text(hide(text), self._patterns)

    def _secrets(self, tasks: Sequence[RunningTask]) -> set[str]:
        """The texts that are hidden of the arguments."""
        found: set[str] = set()
        for name, args, kwargs in tasks:
            new = self._arguments.of_task(name, args, kwargs)
            found |= {*masking.secrets(args, new[0]), *masking.secrets(kwargs, new[1])}
        return found

    def stored(
        self, name: str | None, value: Any, traceback: Any, hide: Hide | None = None
    ) -> tuple[Any, Any]:
        """A result or error that a result backend was given, and the traceback, as may be kept.

        If *value* is an error, *hide* is the answer of `of_errors`.
        """
        if hide is None:
            hidden = self.result(name, value)
            if hidden is not value:
                self._log_result(name)
            return hidden, traceback
        text = None if traceback is None else hide(encoding.safe_str(traceback))
        try:
            return redacted_errors.hidden_error(value, hide), text
        except Exception as error:  # noqa: BLE001
            spare(error)
            self._log_failed(name, error)
            return redacted_errors.nameless(value), text

    # ---- logs

    def _log_failed(self, name: str | None, error: Exception) -> None:
        if f"failed {name}" not in self._logged:
            self._logged.add(f"failed {name}")
            # Neither its message nor its traceback, which may contain the very values to be hidden.
            logger.error(
                "fullresult: a rule of fullresult_redact raised %s; the arguments of tasks called "
                "%s are hidden whenever it does",
                type(error).__qualname__,
                name,
            )

    def _log_result(self, name: str | None) -> None:
        if f"result {name}" not in self._logged:
            self._logged.add(f"result {name}")
            logger.warning(
                "fullresult: fullresult_redact hides parts of the results of tasks called %s, and "
                "callers get them so, because the records are the result backend",
                name,
            )


def _is_uuid(value: Any) -> bool:
    """True for what Celery makes, in which a pattern for digits may find some by chance."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


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
    shown = ", ".join(name for name in names if MARK not in name)
    return (
        f"{REDACTED}: {encoding.clip(encoding.clean(shown), _LONGEST_NOTE)}" if shown else REDACTED
    )


def _may_hold_signatures(call: Call) -> bool:
    """True if there may be signatures among the arguments.

    Every serializer writes the keys of a signature as text, so the body is searched for one.
    """
    if call.payload is None:
        return True
    data = call.payload.data
    return _OF_SIGNATURE in data if isinstance(data, str) else _OF_SIGNATURE.encode() in data


def _readings(data: str) -> tuple[str, ...]:
    """The texts that *data*, bytes read as Latin-1, may stand for."""
    try:
        return data, data.encode("latin-1").decode(errors="replace")
    except UnicodeEncodeError:  # it was text
        return (data,)
