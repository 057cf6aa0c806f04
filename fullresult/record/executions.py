"""The runs of a task, folded at read time from what was kept of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fullresult.record.parts import Entry, Execution, Outcome, Start
from fullresult.record.stamps import Attempt
from fullresult.record.states import FINISHED, RETRY, STARTED

_RAN = FINISHED | {STARTED, RETRY}
_ATTEMPT = slice(0, 9)
"""The part of a stamp that names the attempt: nesting and retries."""


def executions_of(
    start: Start | None, entries: Iterable[Entry], outcome: Outcome | None
) -> tuple[Execution, ...]:
    """Every run of the task, oldest first.

    Several ends of one run (a hard time limit is told twice, a kill is told by the child and by
    its parent) make one execution, with the end of the greatest stamp. What ended without having
    started (revoked, expired, unknown to the worker) was no run.
    """
    runs: list[Entry] = []
    for entry in sorted(known_of_runs(start, entries, outcome), key=_by_attempt):
        twin = _same_run(runs, entry)
        if twin is None:
            runs.append(entry)
        else:
            runs[twin] = _one(runs[twin], entry)
    started = (entry for entry in sorted(runs, key=_by_attempt) if entry.date_started)
    return tuple(Execution(*entry[1:]) for entry in started)


def known_of_runs(
    start: Start | None, entries: Iterable[Entry], outcome: Outcome | None
) -> Iterator[Entry]:
    """All that was kept of the runs of the task, their beginnings and ends apart."""
    if start:
        yield _started(start)
    yield from entries
    if outcome and outcome.state in _RAN and (outcome.date_started or outcome.worker):
        yield Entry(
            outcome.stamp,
            outcome.retries,
            outcome.state,
            outcome.worker,
            outcome.date_started,
            outcome.date_done,
            outcome.exception_type,
            outcome.exception_message,
            outcome.traceback,
        )


def _started(start: Start) -> Entry:
    retries = Attempt.in_stamp(start.stamp).retries
    return Entry(
        start.stamp, retries, STARTED, start.worker, start.date_started, None, None, None, None
    )


def _by_attempt(entry: Entry) -> tuple[str, bool, float, str]:
    # An end that does not know its start comes after those that do, to find its run among them.
    start = entry.date_started
    return (
        entry.stamp[_ATTEMPT],
        start is None,
        start.timestamp() if start else 0.0,
        entry.stamp,
    )


def _same_run(runs: list[Entry], entry: Entry) -> int | None:
    """The latest run of the same attempt that started when *entry* did, if it knows when."""
    for index in range(len(runs) - 1, -1, -1):
        run = runs[index]
        if run.stamp[_ATTEMPT] != entry.stamp[_ATTEMPT]:
            return None
        if None in (run.date_started, entry.date_started) or run.date_started == entry.date_started:
            return index
    return None


def _one(run: Entry, end: Entry) -> Entry:
    best, other = (end, run) if end.stamp > run.stamp else (run, end)
    return best._replace(
        date_started=run.date_started or end.date_started,
        worker=best.worker or other.worker,
        date_done=best.date_done or other.date_done,
    )
