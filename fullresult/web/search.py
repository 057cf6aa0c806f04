"""The search box: `state:FAILURE name:shop.* since:2h "timeout"` to a query, and back to text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from fullresult.insight import dates
from fullresult.insight.unresolved import unresolved_first
from fullresult.record import STATES, encoding
from fullresult.storage import TaskQuery

QUALIFIERS = {
    "state": "a state, such as FAILURE; several mean any of them; -state: none of them",
    "name": "a task's name, or a glob such as shop.*",
    "queue": "the queue it was sent to",
    "worker": "the worker of its latest run",
    "kwargs": "a keyword argument: kwargs.order_id:42",
    "args": "a positional argument by its place, from 0: args.0:42",
    "exception": "the type of its exception: ValueError, shop.errors.Declined, or just Declined",
    "since": "created since: 2h, 1d, 2026-01-31, 2026-01-31T14:00 (UTC)",
    "until": "created before; like since",
    "root": "the whole workflow that this task began",
    "group": "the members of this group",
    "retry_of": "the re-sends of this task",
    "failure": "in this group of failures",
    "sort": "newest or oldest first; no index has another order",
    "resent": "no, yes or any: yes is what is dealt with, because it was sent again or resolved; of"
    " failures, it is left out without any",
}
_ARGUMENTS = ("kwargs", "args")
_PLAIN = ("name", "queue", "worker", "root", "group", "retry_of", "failure", "exception")
_FIELDS = {"root": "root_id", "group": "group_id", "failure": "fingerprint"}
_ORDERS = ("newest", "oldest")
_RESENT = {"no": True, "yes": False, "any": None}
_QUALIFIED = re.compile(r"-?[A-Za-z_]\w*(?:\.[^\s:\"]+)?:")
_LONGEST = 4000


class NotUnderstood(ValueError):
    """The text is no search; the message says why."""


def until_of(text: str, now: datetime) -> datetime:
    """The time before which tasks were created, for a deed that makes new ones; else *now*."""
    try:
        return dates.past(text, now) if text else now
    except ValueError as error:
        raise NotUnderstood(str(error)) from None


class Term(NamedTuple):
    """One condition."""

    qualifier: str
    """`name`, `kwargs.order_id`, `-state`; empty for any text."""
    value: str
    """As typed. A text has lost its quotes; an argument is JSON or a bare word, all visible."""


@dataclass(frozen=True)
class Search:
    """A search, term by term."""

    terms: tuple[Term, ...] = ()

    @classmethod
    def read(cls, text: str) -> Search:
        """Parse *text*. Raises `NotUnderstood`."""
        if len(text) > _LONGEST:
            raise NotUnderstood(f"A search has {_LONGEST:,} characters at most.")
        terms: list[Term] = []
        at = 0
        while (at := _skip_space(text, at)) < len(text):
            found = _QUALIFIED.match(text, at)
            qualifier = found[0][:-1] if found else ""
            before, dot, path = qualifier.partition(".")
            if dot and before.lower() in _ARGUMENTS:
                qualifier = f"{before.lower()}.{path}"
            value, at = _value(text, found.end() if found else at, _is_argument(qualifier))
            terms.append(Term(_known(qualifier), _argument(qualifier, value)))
        return cls(tuple(terms))

    def __str__(self) -> str:
        """The text to type for it."""
        return " ".join(map(_shown, self.terms))

    def all(self, qualifier: str) -> list[str]:
        return [term.value for term in self.terms if term.qualifier == qualifier]

    def having(self, qualifier: str, *values: str) -> Search:
        """The same search with *values* of *qualifier* instead of those it has."""
        rest = [term for term in self.terms if term.qualifier != qualifier]
        return Search((*(Term(qualifier, value) for value in values), *rest))

    def details(self) -> dict[str, Any]:
        """For the audit log: the arguments apart from the rest, so that they can be hidden."""
        rest = Search(tuple(term for term in self.terms if not _is_argument(term.qualifier)))
        return {"q": str(rest), **self._arguments()}

    def query(self, now: datetime, **page: Any) -> TaskQuery:
        """The query; *page* are more fields of it. Raises `NotUnderstood`."""
        asked: dict[str, Any] = {}
        for name in _PLAIN:
            if (value := self._one(name)) is not None:
                asked[_FIELDS.get(name, name)] = value
        for name in ("since", "until"):
            if (value := self._one(name)) is not None:
                asked[name] = _date(name, value, now)
        if states := self.all("state"):
            asked["state"] = tuple(map(_state, states))
        if states := self.all("-state"):
            asked["not_state"] = tuple(map(_state, states))
        if texts := self.all(""):
            asked["text"] = " ".join(texts)
        asked |= self._arguments()
        if (order := self.sort) is not None:
            asked["order"] = order
        try:
            return self._dealt_with(TaskQuery(**{**asked, **page}))
        except ValueError as error:
            raise NotUnderstood(str(error)) from None

    def _dealt_with(self, query: TaskQuery) -> TaskQuery:
        resent = self.resent
        if resent is None:
            return unresolved_first(query)
        return replace(query, unresolved=_RESENT[resent])

    @property
    def sort(self) -> str | None:
        """`newest` or `oldest`. Raises `NotUnderstood`."""
        value = self._one("sort")
        if value is not None and value.lower() not in _ORDERS:
            raise NotUnderstood(
                f"sort:{value[:40]} would read and sort every task, as no index is in this order; "
                "there are sort:newest and sort:oldest, by when tasks were created."
            )
        return value and value.lower()

    @property
    def resent(self) -> str | None:
        """`no`, `yes` or `any`; None if it does not say. Raises `NotUnderstood`."""
        value = self._one("resent")
        if value is not None and value.lower() not in _RESENT:
            raise NotUnderstood(
                f"resent:{value[:40]} is none of resent:no, resent:yes, resent:any."
            )
        return value and value.lower()

    def _one(self, qualifier: str) -> str | None:
        values = self.all(qualifier)
        if len(values) > 1:
            raise NotUnderstood(f"{qualifier}: stands there twice; a task has one.")
        return values[0] if values else None

    def _arguments(self) -> dict[str, Any]:
        """`kwargs` and `args_at`, as far as they are asked for."""
        found = {"kwargs": self._below("kwargs"), "args_at": self._below("args")}
        return {name: value for name, value in found.items() if value}

    def _below(self, part: str) -> dict[str, Any]:
        kwargs: dict[str, Any] = {}
        for term in self.terms:
            if term.qualifier.startswith(f"{part}."):
                inner = kwargs
                *path, last = term.qualifier.split(".")[1:]
                for key in path:
                    inner = inner.setdefault(key, {})
                    if not isinstance(inner, dict):
                        raise NotUnderstood(f"{term.qualifier}: cannot be inside of a value.")
                inner[last] = _json(term.value)
        return kwargs


def like(qualifier: str, value: str) -> str:
    """The text to type for all tasks with this *value*."""
    return str(Search((Term(qualifier, value),)))


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _is_argument(qualifier: str) -> bool:
    return qualifier.startswith(("kwargs.", "args."))


def _known(qualifier: str) -> str:
    name = qualifier if _is_argument(qualifier) else qualifier.lower()
    if not name.isprintable():
        raise NotUnderstood("An argument's name with characters that do not show is not searched.")
    if name in ("", "-state") or _is_argument(name):
        if "" in name.split(".")[1:]:
            raise NotUnderstood(f"{name}: an argument has a name.")
        if name.startswith("args.") and not name.split(".")[1].isdecimal():
            raise NotUnderstood(f"{name[:40]}: a place is a number from 0, as in args.0:42.")
        return name
    if name in QUALIFIERS and name not in _ARGUMENTS:
        return name
    if name.startswith("-"):
        raise NotUnderstood(f"{name}: only states can be left out, as in -state:SUCCESS.")
    if name in _ARGUMENTS:
        example = "kwargs.order_id:42" if name == "kwargs" else "args.0:42"
        raise NotUnderstood(f"{name}: which one? Write {example}.")
    known = ", ".join(QUALIFIERS)
    raise NotUnderstood(
        f"{name[:40]}: is no qualifier; there are {known}. Quotes around it make it a text."
    )


def _value(text: str, at: int, of_argument: bool) -> tuple[str, int]:
    """(value, end) of the value that begins at *at*."""
    if of_argument or text[at : at + 1] == '"':
        try:
            read, end = json.JSONDecoder().raw_decode(text, at)
        except (ValueError, RecursionError):
            if text[at : at + 1] == '"':
                raise NotUnderstood('A quote " is not closed.') from None
        else:
            if end == len(text) or text[end].isspace():
                return (text[at:end] if of_argument else str(read)), end
            if text[at] == '"':
                raise NotUnderstood("After a quoted text there must be a space.")
    end = at
    while end < len(text) and not text[end].isspace():
        end += 1
    return text[at:end], end


def _shown(term: Term) -> str:
    before = f"{term.qualifier}:" if term.qualifier else ""
    if _is_argument(term.qualifier):
        return before + term.value
    value = term.value
    plain = value.isprintable() and not value.startswith('"') and not re.search(r"\s", value)
    if plain and (term.qualifier or (value and not _QUALIFIED.match(value))):
        return before + value
    return before + json.dumps(value)


def _argument(qualifier: str, value: str) -> str:
    """*value*; of an argument as JSON that means the same, where something in it does not show."""
    if value.isprintable() or not _is_argument(qualifier):
        return value
    return json.dumps(_json(value))


def _state(text: str) -> str:
    return text.upper() if text.upper() in STATES else text


def _date(name: str, text: str, now: datetime) -> datetime:
    try:
        return dates.past(text, now)
    except ValueError as error:
        raise NotUnderstood(f"{name}: {error}") from None


def _json(text: str) -> Any:
    try:
        return encoding.loads_strict(text)
    except (ValueError, RecursionError):
        return text
