"""`full.failures`: groups of failures, asked about and decided about."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fullresult.actions.audit import actor_here
from fullresult.actions.deeds import Deeds
from fullresult.actions.failures import FailureDeeds
from fullresult.insight.failures import SHOWN, Failure, FailureDetails, Failures

if TYPE_CHECKING:
    from fullresult.extension.parts import Parts
    from fullresult.record import Decision
    from fullresult.storage import Storage


class FailuresAPI:
    """The groups of failures of one app. Every method raises `StorageError`."""

    def __init__(self, parts: Parts, storage: Storage) -> None:
        """What is asked is of *storage*; what is decided is written to the app's own."""
        self._parts = parts
        self._storage = storage

    def find(
        self,
        since: datetime | timedelta = timedelta(days=1),
        *,
        name: str | None = None,
        new_since: datetime | str | None = None,
        all: bool = False,  # noqa: A002  # As `--all` of the command.
        limit: int = SHOWN,
    ) -> list[Failure]:
        """The groups that failed *since*, a time or a length of time; the last ones first.

        At most *limit* of them, of the 2,000 that failed last. *name* is a glob. *new_since*, a
        time or a release, leaves out groups that had failed before. Without *all*, those are left
        out in which nothing is left to be done: all sent again, resolved, or muted. Raises
        `LookupError` for a release of which no worker left a card.
        """
        return self._failures.find(since, name=name, new_since=new_since, all=all, limit=limit)

    def get(self, fingerprint: str) -> Failure | None:
        """One group, with all of its failures that are kept; None if there is none."""
        return self._failures.get(fingerprint)

    def show(self, fingerprint: str, affected: str | None = None) -> FailureDetails | None:
        """One group in detail. *affected* names a keyword argument whose values are counted."""
        return self._failures.show(fingerprint, affected)

    def resolve(
        self,
        fingerprint: str,
        note: str = "",
        *,
        seen: datetime | None = None,
        actor: str | None = None,
    ) -> Decision:
        """The failures of the group until now are dealt with; it regresses if it fails again.

        With *seen*, the `date_last` of the `Failure` that was looked at, those after it are not.
        Raises `LookupError` for a group of which no failure is recorded.
        """
        return self._deeds(actor).resolve(fingerprint, note, seen=seen)

    def mute(
        self,
        fingerprint: str,
        note: str = "",
        *,
        until: datetime | None = None,
        count: int | None = None,
        actor: str | None = None,
    ) -> Decision:
        """Leave the group out of listings *until* a time, or until it fails *count* times more.

        Raises like `resolve`, and `ValueError` for a naive date or a count below 1.
        """
        return self._deeds(actor).mute(fingerprint, note, until=until, count=count)

    def reopen(self, fingerprint: str, note: str = "", *, actor: str | None = None) -> Decision:
        """Take back what was decided about the group. Raises like `resolve`."""
        return self._deeds(actor).reopen(fingerprint, note)

    def group_old(self, *, actor: str | None = None) -> int:
        """Give failures that an older version recorded their groups, from their texts.

        Returns how many.
        """
        return self._deeds(actor).group_old()

    @property
    def _failures(self) -> Failures:
        return Failures(self._storage)

    def _deeds(self, actor: str | None) -> FailureDeeds:
        parts = self._parts
        who = actor_here("python", actor)
        return Deeds(parts.app, parts.settings, parts.storage, parts.recorder, who).failures
