"""Rules about workers: which of them has the task, and which of them could run it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fullresult.insight.explain.case import Case, since
from fullresult.insight.explain.explanation import (
    Confidence,
    Evidence,
    Finding,
    names,
    word,
)
from fullresult.insight.fleet import Life
from fullresult.insight.live import Answer
from fullresult.insight.words import count_of, span
from fullresult.record.stamps import worker_in


def held(case: Case) -> Finding | None:
    """A worker says that it has the task."""
    for answer in case.answers:
        if case.task_id in answer.held:
            has = answer.held[case.task_id]
            finding = _HOW[str(has["as"])](case, answer, has)
            return _but_revoked(finding, answer) if case.task_id in answer.revoked else finding
    return None


def _but_revoked(finding: Finding, answer: Answer) -> Finding:
    """*finding*, of a task whose id the worker knows to be revoked."""
    sentence = f"{finding.sentence} It was revoked, as {answer.worker} knows"
    if finding.verdict in _DROPPED:
        # Until then nothing takes it out; a pool of threads may have what was taken already.
        return finding._replace(sentence=f"{sentence}, and is dropped then.", commands=())
    return finding._replace(sentence=f"{sentence}.")


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
    slot = _SLOTS.get(answer.pool, "slot")
    slots = f"its 1 {slot} runs" if size == 1 else f"its {size} {slot}{_PLURAL.get(slot, 's')} run"
    sentence = (
        f"{answer.worker} has taken it, and has no {slot} free: {slots} {names(runs, 3)}"
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
    before = f"{count_of(has['ahead'])} of its name {'comes' if has['ahead'] == 1 else 'come'}"
    sentence = (
        f"{answer.worker} holds it back: {case.name} is limited to {has['rate']}, and {before} "
        "before it."
    )
    said = f"in the bucket of {case.name}, {before} before it"
    commands = (f"celery -A proj control rate_limit {word(case.name)} …",)
    return Finding(
        "rate limit", sentence, evidence=(case.of_answer(answer, said),), commands=commands
    )


_SLOTS = {
    "prefork": "process",
    "solo": "process",
    "threads": "thread",
    "gevent": "greenlet",
    "eventlet": "green thread",
}
"""Where a worker of each pool runs a task."""
_PLURAL = {"process": "es"}
_DROPPED = ("held until its ETA", "rate limit")
"""Where a worker looks if it was revoked before it goes on."""
_HOW = {"running": _running, "reserved": _reserved, "eta": _eta, "limited": _limited}


def will_be_dropped(case: Case) -> Finding | None:
    """Revoked while it waits: the workers of its queue that know so drop it when it comes."""
    mine = [each for each in case.answers if case.queue is None or case.queue in each.queues]
    dropping = [each for each in mine if case.task_id in each.revoked]
    if not dropping or not case.is_waiting:
        return None
    who = names([each.worker for each in dropping])
    evidence = [case.of_answer(each, "its id is revoked") for each in dropping]
    others = [each for each in mine if each not in dropping]
    evidence += [case.of_answer(each, "its id is not revoked") for each in others]
    mute = [life.worker.name for life in case.silent if case.could_take(life)]
    mute += [*case.live.workers.strangers, *case.live.workers.failed] if case.live else []
    if not others and not mute:
        sentence = f"It was revoked: {who} will drop it when it comes."
        return Finding("revoked, and waits", sentence, evidence=tuple(evidence))
    doubts = [f"{names([each.worker for each in others])} will run it"] if others else []
    doubts += [f"{names(mute)} may run it"] if mute else []
    sentence = f"It was revoked, and {who} will drop it when it comes, but {', and '.join(doubts)}."
    command = f"celery -A proj control revoke {word(case.task_id)}"
    return Finding("revoked, and waits", sentence, "possible", tuple(evidence), (command,))


def no_worker(case: Case) -> Finding | None:
    """No worker that this storage knows lives, and none answers."""
    if not case.is_waiting or not case.keeps_workers or case.living or case.answers:
        return None
    if case.live and case.live.workers.strangers:
        return None
    counted = case.queue_now.consumers if case.queue_now else None
    queue = f" -Q {word(case.queue)}" if case.queue else ""
    evidence = () if counted is None else (case.of_broker(f"{case.queue} has {counted} consumers"),)
    but = ""
    if counted:
        of = f"{count_of(counted, 'consumer')} of {case.queue}"
        but = (
            f"; but the broker counts {of}: frozen, cut off from the storage, or without FullResult"
        )
    if not case.lives:
        asked = ", and none answers" if case.live else ""
        sentence = f"No worker has ever told this storage that it lives{asked}{but}."
        commands = (f"celery -A proj worker{queue}",)
        return Finding("no worker", sentence, "possible", evidence, commands)
    last = case.lives[0]
    how = "ended as it should" if last.worker.date_stopped else "was killed, or cut off"
    sentence = (
        f"No worker that is known has lived since {case.at(last.worker.gone_since)}; the last, "
        f"{last.worker.name}, {how}{but}."
    )
    confidence: Confidence = "certain" if counted == 0 else case.by_exclusion
    return Finding(
        "no worker",
        sentence,
        "possible" if counted else confidence,
        (case.of_life(last), *evidence),
        () if counted else (f"celery -A proj worker{queue}",),
    )


def silent(case: Case) -> Finding | None:
    """The workers that consume its queue live, and none of them answers."""
    if not case.is_waiting or case.live is None or case.live.workers.problem:
        return None
    able = [life for life in case.alive if case.could_take(life)]
    mute = [life for life in able if life in case.silent]
    if not mute or len(mute) < len(able) or any(case.queue in a.queues for a in case.answers):
        return None
    if case.queue_now is not None and case.queue_now.consumers == 0:
        return None  # they are cut off from the broker, or dead
    told = [_busy(case, life) for life in mute]
    if all(each is not None for each in told):
        sentence = " ".join(each.sentence for each in told if each)
        evidence = tuple(one for each in told if each for one in each.evidence)
        return Finding("worker is busy", sentence, "likely", evidence)
    who = names([life.worker.name for life in mute])
    one = len(mute) == 1
    sentence = (
        f"{who} {'lives' if one else 'live'}, as the storage was told, and "
        f"{'does' if one else 'do'} not answer: frozen, cut off from the broker, or busy."
    )
    return Finding("no answer", sentence, "possible", tuple(map(case.of_life, mute)))


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
        f"{life.worker.name} runs {first.name} for {lasts}, by the records, and with its solo pool "
        "takes and answers nothing meanwhile."
    )
    said = f"{first.task_id} is STARTED on {life.worker.name}"
    evidence = (Evidence("record", first.date_started, said), case.of_card(life))
    return Finding("worker is busy", sentence, evidence=evidence)
