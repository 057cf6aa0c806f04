"""`doctor`: asks each rule about one app."""

from __future__ import annotations

from collections.abc import Iterator

from fullresult.insight.doctor import memory, people, times
from fullresult.insight.doctor.patient import Patient
from fullresult.insight.doctor.risk import Checkup

RULES = (*times.RULES, *people.RULES, *memory.RULES)


def examine(patient: Patient) -> Checkup:
    """All risks of one app, with the evidence of each. Raises `StorageError`."""
    risks = [risk for rule in RULES for risk in rule(patient)]
    risks.sort(key=lambda risk: risk.severity != "serious")
    return Checkup(patient.now, tuple(risks), tuple(_unknown(patient)), len(patient.samples))


def _unknown(patient: Patient) -> Iterator[str]:
    if patient.live is None:
        yield "workers: they were not asked"
    elif patient.live.workers.problem:
        yield f"workers: {patient.live.workers.problem}"
    else:
        for name in patient.live.workers.failed:
            yield f"worker {name}: it answered with an error, which its log has"
    if patient.periodic_problem:
        yield f"periodic tasks: {patient.periodic_problem}"
    if not patient.living:
        yield "limits, prefetch and visibility timeout: no worker that lives has a card"
