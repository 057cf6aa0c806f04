"""Decisions about groups of failures: resolved, muted, open again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fullresult.insight.document import plain
from fullresult.insight.failures import Failures
from fullresult.record import FAILURE, REJECTED, REVOKED, Decision, TaskRecord, encoding
from fullresult.recording.fingerprint import of_text
from fullresult.recording.outcomes import is_grouped
from fullresult.storage import FailureStorage, Grouped, StorageError, TaskQuery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fullresult.actions.audit import Trail
    from fullresult.insight.failures import Failure
    from fullresult.record.failure import Status
    from fullresult.storage import Storage

_LONGEST_NOTE = 2_000
_LONGEST_MUTE = timedelta(days=3650)
_PAGE = 500
_GROUPED = (FAILURE, REVOKED, REJECTED)


def check_until(until: datetime, now: datetime) -> None:
    """Raises `ValueError` if a group cannot be muted until then."""
    words = until.isoformat(sep=" ", timespec="minutes")
    if until <= now:
        raise ValueError(f"{words} is past; say until when, such as in 2h")
    if until - now > _LONGEST_MUTE:
        raise ValueError(
            f"{words} is more than {_LONGEST_MUTE.days:,} days away; say an earlier time, or none "
            "to mute it for good"
        )


class FailureDeeds:
    """What one actor decides. Every method raises `StorageError`.

    Those that name a group raise `LookupError` if no failure is recorded in it.
    """

    def __init__(
        self,
        storage: Storage,
        actor: str,
        trail: Callable[[str, Mapping[str, Any]], Trail],
    ) -> None:
        self._storage = storage
        self._actor = actor
        self._trail = trail

    def resolve(
        self, fingerprint: str, note: str = "", *, seen: datetime | None = None
    ) -> Decision:
        """The failures of the group until now are dealt with; it regresses if it fails again.

        With *seen*, the end of the last one that was seen, those after it are not.
        """
        if seen is not None and seen.tzinfo is None:
            raise ValueError(f"seen must be an aware datetime, not {seen!r}")
        return self._decide(fingerprint, "resolved", note, seen=seen)

    def mute(
        self,
        fingerprint: str,
        note: str = "",
        *,
        until: datetime | None = None,
        count: int | None = None,
    ) -> Decision:
        """Leave the group out of listings *until* a time, or until it fails *count* times more.

        Raises `ValueError` for a time that is past, or more than ten years away.
        """
        if until is not None:
            if until.tzinfo is None:
                raise ValueError(f"until must be an aware datetime, not {until!r}")
            check_until(until, self._storage.now())
        if count is not None and count < 1:
            raise ValueError(f"count must be 1 or more, not {count!r}")
        return self._decide(fingerprint, "muted", note, until, count)

    def reopen(self, fingerprint: str, note: str = "") -> Decision:
        """Take back what was decided about the group."""
        return self._decide(fingerprint, "open", note)

    def group_old(self) -> int:
        """Give failures that were recorded without a group one, from their texts.

        Goes through all failures, a page at a time. Returns how many got one.
        """
        storage, number = self._storage, 0
        if not isinstance(storage, FailureStorage):
            raise StorageError("this storage does not group failures")
        trail = self._trail("group-old", {})
        query = TaskQuery(state=_GROUPED, order="oldest", limit=_PAGE)
        try:
            while records := storage.find(query):
                number += storage.set_fingerprints([*_without_group(records)])
                query = replace(query, after=records[-1].cursor)
        finally:
            if number:
                trail.write([], {"grouped": number})
        return number

    def _decide(
        self,
        fingerprint: str,
        status: Status,
        note: str,
        until: datetime | None = None,
        count: int | None = None,
        seen: datetime | None = None,
    ) -> Decision:
        storage = self._storage
        if not isinstance(storage, FailureStorage):
            raise StorageError("this storage does not group failures")
        action = {"resolved": "resolve", "muted": "mute", "open": "reopen"}[status]
        trail = self._trail(action, {"group": encoding.key(fingerprint)})
        try:
            group = self._group(fingerprint)
        except LookupError as error:
            trail.write_problem([], error)
            raise
        when, before = min(filter(None, (storage.now(), seen))), group.decision
        if status == "resolved" and before is not None and before.is_resolved:
            # An older page takes nothing back of what somebody resolved since.
            when = max(when, before.date_decided)
        decision = Decision(
            group.fingerprint,
            status,
            when,
            until,
            count,
            group.release,
            encoding.key(self._actor),
            encoding.clip(encoding.clean(note), _LONGEST_NOTE),
        )
        storage.keep_decision(decision)
        told = {"name": group.name, "until": plain(until), "count": count, "note": decision.note}
        trail.write([], {name: value for name, value in told.items() if value not in (None, "")})
        return decision

    def _group(self, fingerprint: str) -> Failure:
        group = Failures(self._storage).get(encoding.key(fingerprint))
        if group is None:
            raise LookupError(f"no failure is recorded in the group {fingerprint!r}")
        return group


def _without_group(records: Sequence[TaskRecord]) -> Iterator[Grouped]:
    for record in records:
        outcome = record.outcome
        if outcome is None or outcome.fingerprint is not None:
            continue
        if not is_grouped(outcome.state, outcome.exception_message):
            continue
        told = (outcome.exception_type, outcome.exception_message, outcome.traceback)
        group = of_text(record.name, *told)
        if group is not None:
            yield Grouped(record.task_id, outcome.stamp, group)
