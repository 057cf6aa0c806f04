"""Rules about its past: who made it, and why it ran more than once."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import Confidence, Evidence, Finding, names
from fullresult.insight.words import brief, span
from fullresult.record import NOT_RUN, Execution, TaskRecord
from fullresult.record.audit import AuditEntry

_SCAN = 120.0
"""Seconds within which Redis looks again for what is to be delivered anew."""
_DEED = timedelta(minutes=1)
"""A deed is told in the audit log within this time."""


def ran_twice(case: Case) -> Finding | None:
    """Several executions of one attempt."""
    runs = case.record.executions if case.record else ()
    for first, second in pairwise(runs):
        if first.retries == second.retries:
            return _twice(case, first, second)
    return None


def _twice(case: Case, first: Execution, second: Execution) -> Finding | None:
    if first.date_started is None or second.date_started is None:
        return None
    between = (second.date_started - first.date_started).total_seconds()
    evidence = [
        case.of_record(f"begun on {run.worker or '?'}{_again(run)}", run.date_started)
        for run in (first, second)
    ]
    begin = f"It ran twice: {first.worker} began it at {case.at(first.date_started)}"
    gave = "the broker gave it to" if second.redelivered else "it was begun by"
    life = case.life_of(first.worker_id)
    if life and life.worker.is_gone(case.now) and life.worker.date_seen <= second.date_started:
        is_over = first.date_done is not None and first.state not in ("STARTED", "INTERRUPTED")
        when = "after it had ended" if is_over else "before its end was told"
        how = "ended" if life.worker.date_stopped else "was last heard of"
        sentence = (
            f"{begin} and {how} at {case.at(life.worker.gone_since)} {when}; {gave} "
            f"{second.worker} at {case.at(second.date_started)}."
        )
        evidence.append(case.of_life(life))
        return Finding("ran twice", sentence, "likely", tuple(evidence))
    card = life.card if life else None
    timeout = card.visibility_timeout if card else None
    if life and timeout and by_timeout(first, second, timeout):
        took = _took(first)
        ran = f", and it ran for {took}" if took else ""
        sentence = (
            f"{begin}, and {second.worker} {span(between)} later, when the visibility timeout of "
            f"{span(timeout)} was over{ran}."
        )
        said = f"visibility timeout {timeout:.0f} s"
        evidence.append(Evidence(f"card of {life.worker.name}", None, said))
        advice = "set broker_transport_options visibility_timeout above the longest run"
        confidence: Confidence = "certain" if second.redelivered else "likely"
        return Finding("ran twice", sentence, confidence, tuple(evidence), (advice,))
    delivered = "its message came twice, or its id was published twice"
    if second.redelivered:
        delivered = "the broker delivered it again"
    elif case.record and case.record.published_again:
        delivered = "its id was published twice"
    sentence = f"{begin}, and {second.worker} {span(between)} later: {delivered}."
    return Finding("ran twice", sentence, "likely", tuple(evidence))


def by_timeout(first: Execution, second: Execution, timeout: float) -> bool:
    """True if *second* began when Redis took *first* for lost, though it went on."""
    if first.date_started is None or second.date_started is None:
        return False
    if first.state == "INTERRUPTED" or (first.date_done and first.date_done < second.date_started):
        return False
    between = (second.date_started - first.date_started).total_seconds()
    return timeout <= between + 1 and between < timeout + _SCAN


def _again(run: Execution) -> str:
    return ", redelivered" if run.redelivered else ""


def _took(run: Execution) -> str:
    if run.date_started is None or run.date_done is None:
        return ""
    return span((run.date_done - run.date_started).total_seconds())


def _sender(case: Case, task_id: str, again: TaskRecord) -> AuditEntry | None:
    """Who sent *task_id* again as *again*: the deed is told at once after it."""
    near = [
        each
        for each in case.reading.audit(task_id)
        if each.action.startswith("resend") and abs(each.at - again.date_created) < _DEED
    ]
    return min(near, key=lambda each: abs(each.at - again.date_created), default=None)


def tried_again(case: Case) -> Finding | None:
    """Several attempts of its own, or re-sends by people."""
    record = case.record
    if record is None:
        return None
    parts, evidence = [], []
    if record.retries:
        errors = [run.exception_type for run in record.executions if run.state == "RETRY"]
        kinds = names(sorted({each.rpartition(".")[2] for each in errors if each}))
        after = f", after {kinds}" if kinds else ""
        times = "once" if record.retries == 1 else f"{record.retries} times"
        parts.append(f"it was retried {times}{after}")
        evidence.append(case.of_record(f"attempt {record.retries + 1}"))
    for again in case.reading.resends(record.task_id):
        who = _sender(case, record.task_id, again)
        by = f" by {who.actor}" if who else ""
        parts.append(f"it was sent again{by} as {again.task_id}, which is {again.state}")
        evidence.append(Evidence("record", again.date_created, f"{again.task_id} re-sends it"))
    if not parts:
        return None
    sentence = "; ".join(parts)
    return Finding(
        "several attempts", f"{sentence[0].upper()}{sentence[1:]}.", evidence=tuple(evidence)
    )


def made_by(case: Case) -> Finding | None:
    """Who made it."""
    record = case.record
    if record is None or not _is_made(record):
        return None
    by = f" by {record.origin}" if record.origin else ""
    if record.date_published is not None:
        sentence = f"Published{by} at {case.at(record.date_published)}"
        evidence = [case.of_record(f"published{by}", record.date_published)]
    else:  # by a program that does not record, or it was imported
        sentence = f"Published{by} before {case.at(record.date_created)}"
        evidence = [case.of_record("first known", record.date_created)]
    if record.periodic_entry:
        who = "a person, for" if record.triggered else "beat, for"
        sentence += f", by {who} the entry {record.periodic_entry!r}"
    elif record.periodic:
        sentence += ", by beat"
    if record.retry_of:
        sentence += f", to send {record.retry_of} again{_by_whom(case, record, evidence)}"
    elif record.parent_id and record.parent_id != record.task_id:
        parent = case.reading.get(record.parent_id)
        named = f"{parent.name} " if parent and parent.name else ""
        sentence += f", by the task {named}({record.parent_id})"
    if record.root_id and record.root_id not in (record.task_id, record.parent_id):
        sentence += f", in the workflow of {record.root_id}"
    return Finding("made by", f"{sentence}.", evidence=tuple(evidence))


def _is_made(record: TaskRecord) -> bool:
    """True if somebody published it: of a step that never ran, its name is all that is known."""
    return record.date_published is not None or (
        record.message is not None and record.state != NOT_RUN
    )


def _by_whom(case: Case, record: TaskRecord, evidence: list[Evidence]) -> str:
    """Who sent a task again as *record*: a replay, or a person, whose deed becomes evidence."""
    old_id = record.retry_of or ""
    replay = case.reading.replay_of(old_id, record.task_id)
    if replay:
        return f", by the replay {replay.replay_id} of {brief(replay.actor) or '?'}"
    sender = _sender(case, old_id, record)
    if sender is None:
        return ""
    evidence.append(Evidence("audit log", sender.at, f"{sender.actor}: {sender.action}"))
    return f" ({sender.actor})"
