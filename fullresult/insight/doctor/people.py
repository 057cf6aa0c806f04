"""Risks of those who take part: workers, publishers, beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from fullresult.insight.doctor.patient import Patient
from fullresult.insight.doctor.risk import Risk
from fullresult.insight.explain.explanation import at, names
from fullresult.insight.fleet import in_force
from fullresult.insight.queues import left_alone
from fullresult.insight.words import count_of, span

_SILENT = timedelta(minutes=5)
"""Beat may be late by so much."""
_SKEW = 2.0
"""Seconds by which a clock may be wrong."""


def gone_workers(patient: Patient) -> Iterator[Risk]:
    fleet = patient.fleet
    if fleet is None or not (fleet.gone or fleet.orphans):
        return
    gone = [each for each in fleet.workers if each.state == "gone"]
    told = [
        f"{each.name} was last heard of at {at(each.date_seen, fleet.at)}, and ran "
        f"{count_of(len(each.running))}"
        for each in gone[:5]
    ]
    if not fleet.orphans:
        yield Risk(
            "workers gone",
            "notable",
            f"{count_of(fleet.gone, 'worker')} gone, with 0 orphans.",
            tuple(told),
            "They were killed or are cut off, and ran nothing that is known; what waits has fewer "
            "workers.",
            "start as many as are missing; celery -A proj fullresult workers names them",
        )
        return
    yield Risk(
        "workers gone",
        "serious",
        f"{count_of(fleet.gone, 'worker')} gone, with {count_of(fleet.orphans, 'orphan')}.",
        tuple(told),
        "They were killed or are cut off; what they ran is lost unless it is acknowledged late, or "
        "they live on without the storage.",
        "celery -A proj fullresult orphans; then resend --orphans, which has run twice what the "
        "broker delivers again",
    )


def unconsumed(patient: Patient) -> Iterator[Risk]:
    waiting = Counter(record.queue for record in patient.waiting if record.queue)
    for queue, number in sorted(waiting.items()):
        mine = [record for record in patient.waiting if record.queue == queue][:1]
        for sentence in left_alone(patient.storage, patient.settings, mine):
            yield Risk(
                "queue without a consumer",
                "serious",
                sentence,
                (f"{count_of(number)} of the {len(patient.waiting)} looked at wait in {queue}",),
                "What is sent there is not run until a worker consumes it.",
                "a worker with -Q, or the right queue in task_routes",
            )


def strangers(patient: Patient) -> Iterator[Risk]:
    if patient.live is None or not patient.live.workers.strangers:
        return
    who = patient.live.workers.strangers
    yield Risk(
        "workers without FullResult",
        "serious",
        f"{names([*who])} {'has' if len(who) == 1 else 'have'} no FullResult.",
        tuple(f"{each} does not know the question of explain" for each in who[:5]),
        "What they run looks as if it were never begun, and what they lose is not missed.",
        "FullResult(app) in the module that they start with",
    )


def publishers(patient: Patient) -> Iterator[Risk]:
    unrecorded = [s for s in patient.samples if s.date_published is None and s.first_started]
    if not unrecorded:
        return
    whose = sorted({s.name or "?" for s in unrecorded})
    yield Risk(
        "publishers without FullResult",
        "notable",
        f"{count_of(len(unrecorded))} of a week {'was' if len(unrecorded) == 1 else 'were'} "
        "published by programs without FullResult, or imported.",
        (
            f"of {count_of(len(patient.samples), 'record')} looked at",
            f"tasks: {names(whose)}",
        ),
        "Such a task that is lost before a worker begins it leaves no trace.",
        "FullResult(app) where they are published, or fullresult_track_publish = True",
    )


def periodic(patient: Patient) -> Iterator[Risk]:
    for entry in patient.periodic:
        if not entry.enabled or entry.next_due is None or entry.last_run is None:
            continue
        late = patient.now - entry.next_due
        if late < _SILENT:
            continue
        last = at(entry.last_run.date_created, patient.now)
        yield Risk(
            "periodic task went silent",
            "serious",
            f"The periodic task {entry.name} should have been sent {span(late.total_seconds())} "
            "ago.",
            (f"{entry.task}, {entry.schedule}; last sent at {last}",),
            "Beat does not run, or runs with another plan, or what it sends is not recorded.",
            "celery -A proj beat; fullresult trigger sends it once",
        )


def clocks(patient: Patient) -> Iterator[Risk]:
    wrong = [
        f"{life.worker.name} ({life.card.host}) is {_ahead(life.card.clock_ahead)}"
        for life in patient.living
        if life.card and abs(life.card.clock_ahead) >= _SKEW
    ]
    if abs(patient.clock_ahead) >= _SKEW:
        wrong.append(f"this process is {_ahead(patient.clock_ahead)}")
    if wrong:
        yield Risk(
            "clocks differ",
            "notable",
            f"{count_of(len(wrong), 'clock')} {'differs' if len(wrong) == 1 else 'differ'} from "
            "the storage's.",
            tuple(wrong[:10]),
            "Dates of one task come from several clocks: waits look negative or long, ETAs are "
            "early or late.",
            "NTP on these hosts",
        )


def _ahead(seconds: float) -> str:
    return f"{span(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"


def versions(patient: Patient) -> Iterator[Risk]:
    known = {life.card.versions.get("celery") for life in patient.living if life.card} - {None}
    if len(known) > 1:
        yield Risk(
            "versions differ",
            "notable",
            f"Workers run {len(known)} versions of Celery.",
            tuple(
                f"{life.worker.name}: {life.card.versions.get('celery')}"
                for life in patient.living[:10]
                if life.card
            ),
            "Messages of a newer version may mean something else to an older one.",
            "one version everywhere",
        )


def shared_names(patient: Patient) -> Iterator[Risk]:
    living = in_force(patient.living)
    count = Counter(life.worker.name for life in living)
    shared = sorted(name for name, number in count.items() if number > 1)
    if shared:
        yield Risk(
            "node name is shared",
            "serious",
            f"{names(shared)} {'is' if len(shared) == 1 else 'are'} the name of several workers.",
            tuple(
                f"{life.worker.name} on {life.card.host}, process {life.card.pid}, since "
                f"{at(life.worker.date_started, patient.now)}"
                for life in living
                if life.card and life.worker.name in shared
            )[:10],
            "Commands to that name, and records, cannot tell them apart; on RabbitMQ, Celery 5.7 "
            "does not start the second.",
            "celery worker -n with another name for each, such as -n w1@%h",
        )


RULES = (
    gone_workers,
    unconsumed,
    strangers,
    publishers,
    periodic,
    clocks,
    versions,
    shared_names,
)
