"""Rules about workers: which of them has the task, and which of them could run it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fullresult.insight.explain.case import Case, since
from fullresult.insight.explain.explanation import (
    COMMAND,
    Confidence,
    Evidence,
    Finding,
    names,
    word,
)
from fullresult.insight.fleet import Life
from fullresult.insight.live import Answer
from fullresult.insight.orphans import NOT_RUNNING
from fullresult.insight.words import count_of, span
from fullresult.record.stamps import worker_in


def held(case: Case) -> Finding | None:
    """A worker says that it has the task."""
    for answer in case.answers:
        if case.task_id in answer.held:
            has = answer.held[case.task_id]
            return _HOW[str(has["as"])](case, answer, has)
    return None


def _running(case: Case, answer: Answer, has: Mapping[str, Any]) -> Finding:
    usual = case.reading.p95_run(case.record.name if case.record else None)
    than = f"; 95 of 100 of this name end within {span(usual)}" if usual is not None else ""
    lasts = _for(has["since"], answer)
    sentence = f"{answer.worker} runs it{f',{lasts} now' if lasts else ''}{than}."
    return Finding("running", sentence, evidence=(case.of_answer(answer, f"runs it{lasts}"),))


def _for(began: float, answer: Answer) -> str:
    """` for 3 s`; empty if it is not known since when."""
    known = began and answer.at
    return f" for {span(since(began, answer).total_seconds())}" if known else ""


def _reserved(case: Case, answer: Answer, _: Mapping[str, Any]) -> Finding:
    evidence = (case.of_answer(answer, "has taken it, and not begun"),)
    size = answer.processes or 1
    if answer.running_count < size:
        sentence = f"{answer.worker} has taken it and is about to run it."
        return Finding("about to run", sentence, evidence=evidence)
    runs = [f"{each.name}{_for(each.since, answer)}" for each in answer.running]
    waits = "waits" if answer.reserved_count == 1 else "wait"
    processes = "its 1 process runs" if size == 1 else f"its {size} processes run"
    sentence = (
        f"{answer.worker} has taken it, and has no process free: {processes} {names(runs, 3)}"
        f"; {count_of(answer.reserved_count)} {waits} in it."
    )
    advice = ("set worker_prefetch_multiplier = 1, so that workers take what they can run",)
    return Finding("worker is full", sentence, evidence=evidence, commands=advice)


def _eta(case: Case, answer: Answer, has: Mapping[str, Any]) -> Finding:
    due: datetime | None = has["eta"]
    if due is None:
        sentence = f"{answer.worker} holds it until its ETA."
        evidence = (case.of_answer(answer, "holds it until its ETA"),)
        return Finding("held until its ETA", sentence, evidence=evidence, commands=_DIVERT)
    left = span(max((due - case.now).total_seconds(), 0))
    sentence = f"{answer.worker} holds it until its ETA, in {left}, at {case.at(due)}."
    return Finding(
        "held until its ETA",
        sentence,
        evidence=(case.of_answer(answer, f"holds it until {case.at(due)}"),),
        commands=_DIVERT,
    )


_DIVERT = ("set fullresult_schedule_eta = True, so that the storage holds what is not due",)


def _limited(case: Case, answer: Answer, has: Mapping[str, Any]) -> Finding:
    before = count_of(has["ahead"])
    sentence = (
        f"{answer.worker} holds it back: {case.name} is limited to {has['rate']}, and {before} of "
        "its name come before it."
    )
    said = f"in the bucket of {case.name}, {before} before it"
    commands = (f"celery -A proj control rate_limit {word(case.name)} …",)
    return Finding(
        "rate limit", sentence, evidence=(case.of_answer(answer, said),), commands=commands
    )


_HOW = {"running": _running, "reserved": _reserved, "eta": _eta, "limited": _limited}


def will_be_dropped(case: Case) -> Finding | None:
    """Revoked while it waits: workers drop it when it comes."""
    dropping = [each for each in case.answers if case.task_id in each.revoked]
    if not dropping or not case.is_waiting:
        return None
    who = names([each.worker for each in dropping])
    sentence = f"It was revoked: {who} will drop it when it comes."
    evidence = tuple(case.of_answer(each, "its id is revoked") for each in dropping)
    return Finding("revoked, and waits", sentence, evidence=evidence)


def no_worker(case: Case) -> Finding | None:
    if not case.is_waiting or not case.keeps_workers or case.living or case.answers:
        return None
    if case.live and case.live.workers.strangers:
        return None
    if not case.lives:
        sentence = "No worker has ever told this storage that it lives, and none answers."
        return Finding("no worker", sentence, "possible", commands=("celery -A proj worker",))
    last = case.lives[0]
    how = "ended as it should" if last.worker.date_stopped else "was killed, or cut off"
    sentence = (
        f"No worker lives since {case.at(last.worker.gone_since)}; the last, {last.worker.name}, "
        f"{how}."
    )
    queue = f" -Q {word(case.queue)}" if case.queue else ""
    return Finding(
        "no worker",
        sentence,
        evidence=(case.of_life(last),),
        commands=(f"celery -A proj worker{queue}",),
    )


def elsewhere(case: Case) -> Finding | None:
    """Workers live, but all of them on another broker."""
    if not case.is_waiting or case.alive or not case.living or case.answers:
        return None
    others = [life for life in case.living if life.card]
    where = names(sorted({life.card.namespace for life in others if life.card}))
    who = names([life.worker.name for life in others])
    sentence = (
        f"{who} {'lives' if len(others) == 1 else 'live'}, but on {where}; this task went to "
        f"{case.settings.namespace}."
    )
    return Finding(
        "on another broker",
        sentence,
        evidence=tuple(map(case.of_card, others)),
        commands=("set broker_url to the same for publishers and workers",),
    )


def silent(case: Case) -> Finding | None:
    """The workers that consume its queue live, and none of them answers."""
    if not case.is_waiting or case.live is None or case.live.workers.problem:
        return None
    able = [life for life in case.alive if _could(case, life)]
    mute = [life for life in able if life in case.silent]
    if not mute or len(mute) < len(able) or any(case.queue in a.queues for a in case.answers):
        return None
    if case.queue_now is not None and case.queue_now.consumers == 0:
        return None  # they are cut off from the broker, or dead
    told = [_busy(case, life) for life in mute]
    if all(each is not None for each in told):
        sentence = " ".join(each.sentence for each in told if each)
        evidence = tuple(one for each in told if each for one in each.evidence)
        return Finding("worker is busy", sentence, "certain", evidence)
    who = names([life.worker.name for life in mute])
    one = len(mute) == 1
    sentence = (
        f"{who} {'lives' if one else 'live'}, as the storage was told, and "
        f"{'does' if one else 'do'} not answer: frozen, cut off from the broker, or busy."
    )
    return Finding("no answer", sentence, "possible", tuple(map(case.of_life, mute)))


def _could(case: Case, life: Life) -> bool:
    return case.queue is None or life.card is None or case.queue in life.card.queues


def _busy(case: Case, life: Life) -> Finding | None:
    """A solo pool answers nothing while it runs a task."""
    if life.card is None or life.card.pool != "solo":
        return None
    running = [
        record
        for record in case.reading.running_on(life.worker.name)
        if record.outcome and worker_in(record.outcome.stamp) == life.worker.worker_id
    ]
    if not running or running[0].date_started is None:
        return None
    first = running[0]
    lasts = span((case.now - running[0].date_started).total_seconds())
    sentence = (
        f"{life.worker.name} runs {first.name} for {lasts}, and with its solo pool takes and "
        "answers nothing meanwhile."
    )
    said = f"{first.task_id} is STARTED on {life.worker.name}"
    evidence = (Evidence("record", first.date_started, said), case.of_card(life))
    return Finding("worker is busy", sentence, evidence=evidence)


def interrupted(case: Case) -> Finding | None:
    """It was begun, and the worker that began it is gone."""
    record = case.record
    if record is None or record.outcome is None or not record.outcome.open:
        return None
    if record.outcome.state in NOT_RUNNING:
        return None
    life = case.life_of(worker_in(record.outcome.stamp))
    if life is None or not life.worker.is_gone(case.now):
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
    how = "ended" if life.worker.date_stopped else "was last heard of"
    sentence = (
        f"{life.worker.name} ran it{began}, and {how} at {case.at(life.worker.gone_since)}: "
        f"it is an orphan{again}."
    )
    return Finding(
        "orphan",
        sentence,
        "likely",
        (
            case.of_record(f"{record.state} on {life.worker.name}", record.date_started),
            case.of_life(life),
        ),
        (f"{COMMAND}resend {word(case.task_id)}", f"{COMMAND}resend --orphans"),
    )


def _is_late(case: Case, life: Life) -> bool | None:
    """True if the worker acknowledges the task when it has ended; None if that is not known."""
    if life.card is None or case.record is None:
        return None
    options = case.reading.options_of(case.record.name, life.names_id)
    return bool(options.get("acks_late", False)) if options is not None else life.card.acks_late


def runs(case: Case) -> Finding | None:
    """By the record, a worker that lives runs it."""
    record = case.record
    if record is None or record.outcome is None or not record.outcome.open:
        return None
    if record.outcome.state in NOT_RUNNING:
        return None
    began = f", begun at {case.at(record.date_started)}" if record.date_started else ""
    life = case.life_of(worker_in(record.outcome.stamp))
    where = record.worker or "a worker"
    if life is None:
        sentence = f"{where} ran it when it was last heard of{began}; if it lives is not known."
        return Finding("running", sentence, "possible", (case.of_record(record.state),))
    sentence = f"{where} runs it{began}, and was heard of at {case.at(life.worker.date_seen)}."
    evidence = (case.of_record(record.state, record.date_started), case.of_life(life))
    confidence: Confidence = "likely" if case.live is None else case.by_exclusion
    return Finding("running", sentence, confidence, evidence)
