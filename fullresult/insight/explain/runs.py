"""Rules about a run that is not over, by the record: its worker lives, is gone, or forgot it."""

from __future__ import annotations

from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import COMMAND, Confidence, Finding, resend
from fullresult.insight.fleet import Life
from fullresult.insight.orphans import NOT_RUNNING
from fullresult.record import TaskRecord
from fullresult.record.stamps import worker_in


def interrupted(case: Case) -> Finding | None:
    """It was begun, and the worker that began it is gone."""
    record = _running(case)
    life = case.life_of(worker_in(record.outcome.stamp)) if record and record.outcome else None
    if record is None or life is None or not life.worker.is_gone(case.now):
        return None
    late = _is_late(case, life)
    again = (
        "; it is acknowledged late, so that the broker delivers it again"
        if late
        else "; it was acknowledged, so that the broker does not deliver it again"
        if late is not None
        else ""
    )
    began = f" since {case.at(record.date_started)}" if record.date_started else ""
    ended = life.worker.date_stopped is not None
    how = "ended" if ended else "was last heard of"
    sentence = (
        f"{life.worker.name} ran it{began}, and {how} at {case.at(life.worker.gone_since)}: "
        f"it is an orphan{again}"
    )
    sentence += "." if ended else ", unless that worker lives on, cut off from the storage."
    return Finding(
        "orphan",
        sentence,
        "likely",
        (
            case.of_record(f"{record.state} on {life.worker.name}", record.date_started),
            case.of_life(life),
        ),
        _again(case, late=late, ended=ended),
    )


def _again(case: Case, *, late: bool | None, ended: bool) -> tuple[str, ...]:
    """How to run an orphan again, and what would make it run twice."""
    if late:
        return (resend(case.task_id, "it runs twice, if the broker delivers it again, too"),)
    but = "" if ended else "it runs twice, if that worker lives on"
    return (resend(case.task_id, but), f"{COMMAND}orphans")


def _is_late(case: Case, life: Life) -> bool | None:
    """True if the worker acknowledges the task when it has ended; None if that is not known."""
    if life.card is None or case.record is None:
        return None
    options = case.reading.options_of(case.record.name, life.names_id)
    return bool(options.get("acks_late", False)) if options is not None else life.card.acks_late


def forgotten(case: Case) -> Finding | None:
    """By the record a worker runs it, and that worker says that it does not."""
    record = _running(case)
    worker_id = worker_in(record.outcome.stamp) if record and record.outcome else ""
    answer = next((each for each in case.answers if each.worker_id == worker_id), None)
    if record is None or answer is None or not worker_id:
        return None
    began = f" at {case.at(record.date_started)}" if record.date_started else ""
    sentence = (
        f"{answer.worker} began it{began}, and does not run it any more: how it ended was not "
        "written, or not yet."
    )
    return Finding(
        "end is not recorded",
        sentence,
        "possible",
        (
            case.of_record(record.state, record.date_started),
            case.of_answer(answer, "does not have it"),
        ),
        (f"{COMMAND}spool status", "see the log of that worker"),
    )


def runs(case: Case) -> Finding | None:
    """By the record, a worker that lives runs it."""
    record = _running(case)
    if record is None or record.outcome is None:
        return None
    began = f", begun at {case.at(record.date_started)}" if record.date_started else ""
    life = case.life_of(worker_in(record.outcome.stamp))
    where = record.worker or "a worker"
    if life is None:
        sentence = f"{where} ran it when it was last heard of{began}; if it lives is not known."
        return Finding("running", sentence, "possible", (case.of_record(record.state),))
    sentence = (
        f"{where} runs it, by the record{began}, and was heard of at "
        f"{case.at(life.worker.date_seen)}."
    )
    evidence = (case.of_record(record.state, record.date_started), case.of_life(life))
    confidence: Confidence = "likely" if case.live is None else case.by_exclusion
    return Finding("running", sentence, confidence, evidence)


def _running(case: Case) -> TaskRecord | None:
    """Its record, if a run of it is not over by that."""
    record = case.record
    if record is None or record.outcome is None or not record.outcome.open:
        return None
    return None if record.outcome.state in NOT_RUNNING else record
