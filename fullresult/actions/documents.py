"""What was done, as values that JSON can hold: what `--json` prints and the HTTP API answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fullresult.insight.document import plain

if TYPE_CHECKING:
    from fullresult.actions.batch import Fate, Report
    from fullresult.actions.pausing import Told
    from fullresult.actions.replay_preview import Preview
    from fullresult.actions.replays import Progress
    from fullresult.record.replay import Replay


def report_document(report: Report, ids: Sequence[str]) -> dict[str, Any]:
    """The outcome of a deed that was to be done to the tasks *ids*."""
    return {
        "done": [{"task_id": fate.task_id, "new_id": fate.new_id} for fate in report.done],
        "spared": [_problem(fate) for fate in report.spared],
        "failed": [_problem(fate) for fate in report.failed],
        "left": report.left(ids),
        "stopped": report.stopped,
    }


def _problem(fate: Fate) -> dict[str, Any]:
    return {"task_id": fate.task_id, "problem": fate.problem}


def told_document(queue: str, told: Told, *, paused: bool) -> dict[str, Any]:
    """What became of a pause, or of its end."""
    return {
        "queue": queue,
        "paused": paused,
        "strangers": [*told.strangers],
        "problem": told.problem,
        "asks_within": told.asks_within,
    }


def replay_document(replay: Replay) -> dict[str, Any]:
    known: dict[str, Any] = plain({**asdict(replay), "query": replay.filters})
    return known


def progress_document(replay: Replay, progress: Progress) -> dict[str, Any]:
    """A replay, and what became of what it took."""
    told = {**asdict(progress), "under_way": progress.under_way}
    return {**replay_document(replay), "progress": told}


def preview_document(seen: Preview, a_second: float) -> dict[str, Any]:
    """What a replay would send, at the rate *a_second*."""
    kinds = [{**kind._asdict(), "count": number} for kind, number in seen.kinds.items()]
    loads = [
        {**asdict(load), "rate": a_second * load.share, "busy": load.busy(a_second)}
        for load in seen.loads
    ]
    return {
        "count": seen.count,
        "at_least": seen.at_least,
        "looked_at": seen.looked_at,
        "left_out": seen.left_out,
        "kinds": kinds,
        "seconds": seen.drains_in(a_second).total_seconds(),
        "swept": seen.swept,
        "oldest": plain(seen.oldest),
        "newest": plain(seen.newest),
        "loads": loads,
        "warnings": list(seen.warnings),
        "advice": list(seen.advice),
    }
