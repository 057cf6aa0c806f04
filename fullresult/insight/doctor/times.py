"""Risks of time: runs and ETAs beyond the visibility timeout, no limits, prefetch, chords."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from fullresult.insight.doctor.patient import Patient
from fullresult.insight.doctor.risk import Risk
from fullresult.insight.explain.history import by_timeout
from fullresult.insight.words import count_of, span
from fullresult.record import RETRY, SCHEDULED_SENT, Execution, TaskRecord

_LONG = 3600.0
"""Seconds of a run that should have had a limit."""
_BEHIND = 60.0
"""Seconds that a task may wait in a worker behind others."""


def runs_beyond_timeout(patient: Patient) -> Iterator[Risk]:
    timeout = patient.visibility_timeout
    if timeout is None:
        return
    for name in patient.runs:
        found = patient.of_runs(name)
        longest = found.p99 if found else max(patient.runs[name])
        if longest <= timeout or not patient.is_late(name):
            continue
        newest = patient.newest(name)
        twice = [record for record in newest if _ran_twice(patient, record, timeout)]
        runs = count_of(len(patient.runs[name]), "run")
        evidence = [
            f"99 of 100 runs of {name} end within {span(longest)}"
            if found
            else f"the longest of {runs} of {name} took {span(longest)}"
        ]
        evidence.append(f"the visibility timeout is {span(timeout)}")
        evidence.append(f"{len(twice)} of the newest {len(newest)} ran twice by it")
        evidence += [f"ran twice: {record.task_id}" for record in twice[:3]]
        yield Risk(
            "visibility timeout",
            "serious",
            f"{name} runs for up to {span(longest)}, longer than the visibility timeout.",
            tuple(evidence),
            "It is acknowledged late: after that time Redis gives it to another worker while the "
            "first still runs it, and it runs twice.",
            f"broker_transport_options = {{'visibility_timeout': {int(longest * 2) + 1}}}, for "
            "publishers and workers",
        )


def _ran_twice(patient: Patient, record: TaskRecord, timeout: float) -> bool:
    """True if a run went on when the next began: of a worker that was killed, none does."""
    return any(
        a.retries == b.retries and by_timeout(a, b, timeout) and _went_on(patient, a, b)
        for a, b in pairwise(record.executions)
    )


def _went_on(patient: Patient, first: Execution, second: Execution) -> bool:
    if first.date_done is not None or second.date_started is None:
        return first.date_done is not None
    return patient.lived(first.worker_id, second.date_started)


def etas_beyond_timeout(patient: Patient) -> Iterator[Risk]:
    timeout = patient.visibility_timeout
    if timeout is None:
        return
    beyond = [
        record
        for record in patient.waiting
        if record.eta
        and record.eta > patient.now
        and record.date_published
        and _ahead(record) > timeout
    ]
    if not beyond:
        return
    furthest = max(beyond, key=_ahead)
    yield Risk(
        "eta beyond visibility timeout",
        "serious",
        f"{count_of(len(beyond))} {'waits' if len(beyond) == 1 else 'wait'} on the broker for an "
        "ETA beyond the visibility timeout.",
        (
            f"{furthest.name} ({furthest.task_id}) was sent {span(_ahead(furthest))} ahead",
            f"the visibility timeout is {span(timeout)}",
        ),
        "A worker holds it unacknowledged until then: Redis gives it to more and more workers, and "
        "each runs it.",
        "fullresult_schedule_eta = True: the storage holds what is not due",
    )


def _ahead(record: TaskRecord) -> float:
    """Seconds from when it was given to the broker last to its ETA."""
    if record.eta is None:
        return 0.0
    published = record.date_published or record.date_created
    given = record.date_updated if record.state in (RETRY, SCHEDULED_SENT) else published
    return (record.eta - given).total_seconds()


def no_time_limit(patient: Patient) -> Iterator[Risk]:
    if not patient.living:
        return
    running = _running(patient)
    for name in sorted({*patient.runs, *filter(None, running)}):
        ended, still = max(patient.runs.get(name, [0.0])), running.get(name, 0.0)
        longest = max(ended, still)
        if longest < _LONG or patient.has_limit(name):
            continue
        usual = patient.of_runs(name)
        than = f"; half of its runs end within {span(usual.p50)}" if usual else ""
        how = "has run for" if still > ended else "ran for"
        yield Risk(
            "no time limit",
            "notable",
            f"{name} has no time limit, and one of its tasks {how} {span(longest)}.",
            (f"the longest run of a week: {span(longest)}{than}",),
            "A task that hangs holds a process of its worker for ever.",
            f"time_limit and soft_time_limit of {name}, or task_time_limit for all",
        )


def _running(patient: Patient) -> dict[str | None, float]:
    """Seconds for which living workers run the oldest task of each name; orphans do not hang."""
    found: dict[str | None, float] = {}
    alive = (
        (each for each in patient.fleet.workers if each.state == "alive") if patient.fleet else ()
    )
    for task in (task for each in alive for task in each.running):
        if task.since is not None:
            lasts = (patient.now - task.since).total_seconds()
            found[task.name] = max(found.get(task.name, 0.0), lasts)
    return found


def prefetch(patient: Patient) -> Iterator[Risk]:
    every = sorted(seconds for runs in patient.runs.values() for seconds in runs)
    if len(every) < 20:  # noqa: PLR2004  (of fewer, 95 of 100 says nothing)
        return
    p95 = every[int(len(every) * 0.95)]
    for life in patient.living:
        card = life.card
        if card is None or not card.prefetch or not card.processes:
            continue
        ahead = card.prefetch - card.processes
        behind = ahead / card.processes * p95
        if ahead <= 0 or behind < _BEHIND:
            continue
        yield Risk(
            "prefetch",
            "notable",
            f"A task that {life.worker.name} has taken may wait {span(behind)} in it, while other "
            "workers are free.",
            (
                f"it takes up to {card.prefetch} messages, and runs {card.processes} at once",
                f"95 of 100 runs end within {span(p95)}",
            ),
            "A worker gives back nothing that it has taken until it ends.",
            "worker_prefetch_multiplier = 1, with task_acks_late where tasks may run twice",
        )


def chords_beyond_expiry(patient: Patient) -> Iterator[Risk]:
    expires = patient.result_expires
    if expires is None:
        return
    old = [
        record
        for record in patient.waiting
        if record.group_id
        and patient.now - record.date_created > expires
        and record.embed.get("chord")
    ]
    if not old:
        return
    first = old[0]
    age = span((patient.now - first.date_created).total_seconds())
    yield Risk(
        "chord beyond result_expires",
        "serious",
        f"{count_of(len(old), 'member')} of chords {'has' if len(old) == 1 else 'have'} waited "
        "longer than result_expires.",
        (
            f"{first.name} ({first.task_id}) of the group {first.group_id} waits for {age}",
            f"result_expires is {span(expires.total_seconds())}",
        ),
        "A backend such as Redis forgets then how many members ended, and never sends the body.",
        "result_expires longer than the longest chord",
    )


RULES = (runs_beyond_timeout, etas_beyond_timeout, no_time_limit, prefetch, chords_beyond_expiry)
