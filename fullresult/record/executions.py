"""The runs of a task, folded at read time from what was kept of each run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fullresult.record.parts import Entry, Execution, Outcome, Start
from fullresult.record.stamps import Attempt, is_redelivery, named_by, release_in, worker_in
from fullresult.record.states import FINISHED, NOT_RUN, RETRY, STARTED

_RAN = FINISHED - {NOT_RUN} | {STARTED, RETRY}
_ATTEMPT = slice(0, 9)
"""The part of a stamp that names the attempt: nesting and retries."""


def executions_of(
    start: Start | None, entries: Iterable[Entry], outcome: Outcome | None
) -> tuple[Execution, ...]:
    """Every run of the task, oldest first.

    One run may have several ends: a hard time limit is reported twice, a kill by the child and by
    its parent. They make one execution, with the end of the greatest stamp. A task that ended
    without a start (revoked, expired, unknown to the worker) had no run.
    """
    runs: list[Entry] = []
    for entry in sorted(known_of_runs(start, entries, outcome), key=_by_attempt):
        twin = _same_run(runs, entry)
        if twin is None:
            runs.append(entry)
        else:
            runs[twin] = _one(runs[twin], entry)
    started = (entry for entry in sorted(runs, key=_by_attempt) if entry.date_started)
    return tuple(map(_execution, started))


def _execution(entry: Entry) -> Execution:
    return Execution(
        *entry[1:],
        redelivered=is_redelivery(entry.stamp),
        worker_id=worker_in(entry.stamp) or None,
        release=release_in(entry.stamp) or None,
    )


def known_of_runs(
    start: Start | None, entries: Iterable[Entry], outcome: Outcome | None
) -> Iterator[Entry]:
    """Starts and ends of the runs of the task, each by itself."""
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
    # An end without a start comes last, and then finds its run among those that have one.
    start = entry.date_started
    return (
        entry.stamp[_ATTEMPT],
        start is None,
        start.timestamp() if start else 0.0,
        entry.stamp,
    )


def _same_run(runs: list[Entry], entry: Entry) -> int | None:
    """The index of the latest run of the attempt with the same start, if *entry* has a start."""
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
        stamp=named_by(best.stamp, other.stamp),
        date_started=run.date_started or end.date_started,
        worker=best.worker or other.worker,
        date_done=best.date_done or other.date_done,
    )
