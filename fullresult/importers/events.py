"""The event that a row of another program makes: it yields to all that was recorded itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from fullresult.config import Settings, is_recorded
from fullresult.importers.routes import Routes
from fullresult.importers.row import Row, Unreadable
from fullresult.importers.values import Given, as_arguments
from fullresult.record import (
    PENDING,
    SCHEDULED_SENT,
    Message,
    Outcome,
    TaskRecord,
    encoding,
)
from fullresult.record.dates import from_milliseconds, to_milliseconds
from fullresult.record.headers import ENTRY_NAME
from fullresult.record.stamps import Attempt, Moment
from fullresult.record.states import FINISHED, is_open
from fullresult.recording.capture import capture_known
from fullresult.recording.fingerprint import of_text
from fullresult.recording.masking import MARK
from fullresult.recording.message import EMBEDS, Call, serialise
from fullresult.recording.optional_redactor import OptionalRedactor
from fullresult.recording.outcomes import NO_RESULT, Failure, Result, encode_result
from fullresult.recording.redaction import Redactor

IMPORTED = "imported from"
"""Begins the note on a message that was imported."""
_LAST_MESSAGE = "999999999FF"
"""Begins the stamp of an imported message: that of any other is less, and so counts."""
_RECEIVED = "RECEIVED"
_FAILED = frozenset({"FAILURE", "RETRY", "REVOKED", "REJECTED"})
_OF_MESSAGE = ("name", "queue", "exchange", "routing_key", "group_id", "parent_id", "root_id")


class Ignored(Exception):
    """The task is not to be recorded, or would be deleted at once."""


class Events:
    """Makes events of the rows of one source."""

    NO_MOMENT = Moment(from_milliseconds(0), "")

    def __init__(
        self,
        source: str,
        missing: str,
        settings: Settings,
        redactor: Redactor | None,
        routes: Routes,
    ) -> None:
        self._routes = routes
        self._source = source
        self._note = f"{IMPORTED} {source}; not known: {missing}"
        self._settings = settings
        self._redactor = redactor
        self._optional = OptionalRedactor(redactor)

    def of(self, row: Row, known: TaskRecord | None, now: datetime) -> TaskRecord:
        """The event of *row*. *known* is the record that there is, if any.

        Raises `Ignored`, `ValueError`.
        """
        row = _with_arguments(row)
        if not is_recorded(row.name or "", self._settings.ignore):
            raise Ignored("fullresult_ignore names it")
        created, updated = _dates(row, known, now)
        moment = self.moment(row.task_id, updated)
        outcome = self._outcome(row, moment, updated)
        if outcome.expire_at is not None and outcome.expire_at <= now:
            raise Ignored("fullresult_retention would delete it")
        return TaskRecord(
            encoding.key(row.task_id),
            created,
            updated,
            date_published=row.published,
            outcome=outcome,
            message=self.message(row, moment.tail),
        )

    def moment(self, task_id: str, at: datetime) -> Moment:
        """The moment of a row: before any of our own, and the same whenever it is read."""
        digest = hashlib.sha256(f"{self._source}\0{task_id}".encode(errors="replace")).hexdigest()
        # Our own moments count microseconds: these milliseconds are less than any of them.
        return Moment(at, f"{max(to_milliseconds(at), 0):014x}{digest[:12]}")

    # ---- outcome

    def _outcome(self, row: Row, moment: Moment, updated: datetime) -> Outcome:
        state = PENDING if row.state == _RECEIVED else encoding.key(row.state)
        over = state in FINISHED or (state == SCHEDULED_SENT and row.result.exact)
        attempt, failure = Attempt.of(0, row.retries), self._failure(row)
        outcome = Outcome(
            attempt.stamp(state, moment),
            state,
            is_open(state) and not over,
            attempt.retries,
            row.worker,
            row.started,
            updated if over else None,
            max(updated, row.eta) if row.eta else updated,
            row.runtime,
            *(NO_RESULT if state in _FAILED else self._result(row)),
            *failure[:3],
            json.dumps(row.children) if row.children else None,
            fingerprint=of_text(row.name, *failure[:3]) if over else None,
        )
        retention = self._settings.retention
        return outcome if retention is None else retention.of(outcome, row.name)

    def _result(self, row: Row) -> Result:
        given, settings = row.result, self._settings
        limit = settings.limits.text
        if given.exact:
            value = self._optional.result(row.name, given.value)
            if value is None and row.state != "SUCCESS":
                return NO_RESULT
            return encode_result(value, as_json=True, force_json=settings.force_json, limit=limit)
        if given.text is None:
            return NO_RESULT
        text = MARK if self._hides(row.name) else self._optional.result(row.name, given.text)
        return Result(
            result_text=encoding.clip(encoding.clean(str(text)), limit), result_form="repr"
        )

    def _failure(self, row: Row) -> Failure:
        if row.exception_type is None and row.exception_message is None and row.traceback is None:
            return Failure()
        kind = None if row.exception_type is None else encoding.key(row.exception_type)
        return Failure(
            kind, self._error_text(row, row.exception_message), self._error_text(row, row.traceback)
        )

    def _error_text(self, row: Row, text: str | None) -> str | None:
        if text is None:
            return None
        if self._redactor is not None:
            if self._hides(row.name) and not (row.args.exact and row.kwargs.exact):
                return MARK  # of arguments that are not known none can be looked for
            for hide in self._optional.errors(row.name, row.args.value, row.kwargs.value):
                text = hide(text)
        return encoding.clip(encoding.clean(text), self._settings.limits.text)

    def _hides(self, name: str | None) -> bool:
        return self._redactor is not None and self._redactor.may_hide_arguments(name)

    # ---- message

    def message(self, row: Row, tail: str) -> Message | None:
        """The message that the task was published with, as far as it is known."""
        given = row.args != Given() or row.kwargs != Given()
        if not given and all(getattr(row, part) is None for part in _OF_MESSAGE):
            return None
        stamp = f"{_LAST_MESSAGE}{tail}"
        call, notes = self._call(row)
        captured = capture_known(call, notes, stamp, self._settings.limits, self._optional.call)
        placed = row.queue is not None or row.routing_key is not None
        return captured._replace(
            queue=captured.queue if placed else None,  # today's is only for a re-send
            root_id=row.root_id,
            parent_id=row.parent_id,
            group_id=row.group_id,
        )

    def call_to_send(self, row: Row) -> Call:
        """The publish of a task whose arguments are known. Raises `Unreadable`."""
        row = _with_arguments(row)
        if not (row.args.exact and row.kwargs.exact):
            raise Unreadable("its arguments are not known")
        call, _ = self._call(row)
        return call._replace(how={**call.how, "correlation_id": row.task_id})

    def _call(self, row: Row) -> tuple[Call, dict[str, str]]:
        notes = {"encoding": self._note}
        for part, given in (("args", row.args), ("kwargs", row.kwargs)):
            if not given.exact:
                notes[part] = _why_not(given, self._source)
        how = {"headers": _headers(row), "priority": row.priority, **self._routes.of(row)}
        if len(notes) == 1:
            whole = (row.args.value, row.kwargs.value, dict.fromkeys(EMBEDS))
            return Call(whole, serialise(whole, "json"), how), notes
        notes["body"] = f"{self._source} does not have the arguments themselves"
        if self._hides(row.name) and (row.args.text or row.kwargs.text):
            return Call(None, None, how), notes  # which hides the texts, too
        parts = (row.args.value or (), row.kwargs.value or {}, None)
        return Call(parts, None, how), notes


def _with_arguments(row: Row) -> Row:
    """*row*, whose arguments are exact only if a task can be called with them."""
    args, kwargs = as_arguments(row.args, (list, tuple)), as_arguments(row.kwargs, dict)
    if args is row.args and kwargs is row.kwargs:
        return row
    return replace(row, args=args, kwargs=kwargs)


def _why_not(given: Given, source: str) -> str:
    return f"{source} has only a text of it" if given.text is not None else f"not in {source}"


def _headers(row: Row) -> dict[str, Any]:
    """The headers that Celery's message protocol 2 needs, and what is known of the others."""
    headers: dict[str, Any] = {
        "lang": "py",
        "task": row.name,
        "id": row.task_id,
        "shadow": None,
        "eta": None if row.eta is None else row.eta.isoformat(),
        "expires": None if row.expires is None else row.expires.isoformat(),
        "group": row.group_id,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": row.root_id or row.task_id,
        "parent_id": row.parent_id,
        "argsrepr": _shown(row.args),
        "kwargsrepr": _shown(row.kwargs),
        "origin": None,
        "ignore_result": False,
    }
    if row.periodic_entry is not None:
        headers[ENTRY_NAME] = row.periodic_entry
    if row.stamps:
        headers.update(stamps=row.stamps, stamped_headers=list(row.stamps))
    return headers


def _shown(given: Given) -> str | None:
    if given.text is not None:
        return encoding.clean(given.text)
    return encoding.safe_repr(given.value) if given.exact else None


def _dates(row: Row, known: TaskRecord | None, now: datetime) -> tuple[datetime, datetime]:
    """When the task was created and last changed. Without any date: as recorded, or now."""
    dates = [d for d in (row.created, row.published, row.started, row.changed) if d is not None]
    if dates:
        return min(dates), row.changed or max(dates)
    if known is not None:
        return known.date_created, known.date_updated
    return now, now


def adds(event: TaskRecord, known: TaskRecord | None) -> bool:
    """True if *event* changes the record *known*."""
    if known is None:
        return True
    newer = event.outcome and (not known.outcome or event.outcome.stamp > known.outcome.stamp)
    first = event.message and (not known.message or event.message.stamp < known.message.stamp)
    dated = event.date_created < known.date_created or event.date_updated > known.date_updated
    published = event.date_published and (
        known.date_published is None or event.date_published < known.date_published
    )
    return bool(newer or first or dated or published)
