"""Failures, an optional part of the contract: groups that are asked for, never counted into."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from fullresult.record import Decision, FailureGroup, FailureQuery


class Grouped(NamedTuple):
    """The fingerprint of a failure that was recorded without one."""

    task_id: str
    stamp: str
    """Of its outcome."""
    fingerprint: str


@runtime_checkable
class FailureStorage(Protocol):
    """Optional: finds failures by their fingerprints, and keeps what people decide about them."""

    def find_failures(self, query: FailureQuery) -> list[FailureGroup]:
        """The groups of *query*, of which those that failed last come first.

        Of a million failures this must not read more than each group's first and last, and those
        that are counted. A failure without a date of its end is in no group.
        """
        ...

    def keep_decision(self, decision: Decision) -> None:
        """Keep *decision* in place of an earlier one of its fingerprint."""
        ...

    def find_decisions(self, fingerprints: Collection[str] | None = None) -> list[Decision]:
        """The decisions about *fingerprints*, or all, in any order."""
        ...

    def set_fingerprints(self, grouped: Sequence[Grouped]) -> int:
        """Give these fingerprints to the records that have none. Returns how many got theirs.

        A record whose outcome is another one meanwhile stays as it is.
        """
        ...
