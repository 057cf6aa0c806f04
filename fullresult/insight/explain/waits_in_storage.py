"""Rules about tasks that wait in the storage until they are due."""

from __future__ import annotations

from datetime import timedelta

from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import COMMAND, Evidence, Finding, word
from fullresult.insight.words import brief, span
from fullresult.record.replay import HELD
from fullresult.record.schedule import Schedule
from fullresult.storage import NOT_YET

_LATE = timedelta(seconds=30)
"""A sweeper that is later than this is taken to be gone."""


def not_due(case: Case) -> Finding | None:
    first = _first(case)
    if first is None or first.due <= case.now:
        return None
    if first.due >= NOT_YET:
        return _held(case, first)
    left = span((first.due - case.now).total_seconds())
    return Finding(
        "not due",
        f"It waits in the storage and is due in {left}, at {case.at(first.due)}.",
        evidence=(_of(case, first),),
        commands=(f"{COMMAND}reschedule {word(case.task_id)} --in …",),
    )


def _held(case: Case, first: Schedule) -> Finding:
    """A replay has taken it, and does not send it yet."""
    stored = Evidence("schedule", first.date_scheduled, "held, without a time")
    old_id = case.record.retry_of if case.record else None
    replay = case.reading.replay_of(old_id, case.task_id) if old_id else None
    if replay is None:
        sentence = "It is held in the storage, as by a replay that is paused; which is not known."
        commands = (f"{COMMAND}replay list",)
        return Finding("held by a replay", sentence, "likely", (stored,), commands)
    why = f" ({brief(replay.reason)})" if replay.reason else ""
    sentence = f"It is held by the replay {replay.replay_id}, which is {replay.state}{why}."
    told = Evidence(f"replay {replay.replay_id}", case.now, f"{replay.state}{why}")
    verb = "resume" if replay.state in HELD else "show"
    commands = (f"{COMMAND}replay {verb} {word(replay.replay_id)}",)
    return Finding("held by a replay", sentence, evidence=(stored, told), commands=commands)


def not_sent(case: Case) -> Finding | None:
    """Due, and not sent: foreign, claimed, or without a sweeper."""
    first = _first(case)
    if first is None or first.due > case.now:
        return None
    overdue = span((case.now - first.due).total_seconds())
    evidence = (_of(case, first),)
    if first.namespace != case.settings.namespace:
        sentence = (
            f"It has been due for {overdue}, and is for another broker, {first.namespace}: "
            f"sweepers of {case.settings.namespace} do not send it."
        )
        return Finding("for another broker", sentence, evidence=evidence)
    if first.claimed and first.date_claimed:
        return _claimed(case, first, evidence)
    return _not_swept(case, first, overdue)


def _claimed(case: Case, first: Schedule, evidence: tuple[Evidence, ...]) -> Finding:
    assert first.date_claimed is not None
    why = f": {first.problem}" if first.problem else ""
    if not first.problem and case.now - first.date_claimed < timedelta(minutes=1):
        sentence = (
            f"A sweeper took it at {case.at(first.date_claimed)}, and is about to send it unless "
            "that sweeper is gone."
        )
        return Finding("being sent", sentence, "likely", evidence)
    sentence = (
        f"A sweeper took it at {case.at(first.date_claimed)} and did not say that it was sent"
        f"{why}: maybe it was sent, maybe not."
    )
    release = f"{COMMAND}release {word(case.task_id)}  # it runs twice, if it was sent"
    commands = (f"{COMMAND}stale-scheduled", release)
    return Finding("claimed", sentence, evidence=evidence, commands=commands)


def _not_swept(case: Case, first: Schedule, overdue: str) -> Finding:
    last = case.reading.last_sweep(case.settings.namespace)
    if last is None or case.now - last > _LATE:
        none = "no sweeper has ever been at work"
        if last is not None:
            none = f"no sweeper has been at work since {case.at(last)}"
        sentence = f"It has been due for {overdue}, and {none}."
        told = Evidence("sweepers", last, "last at work" if last else "never at work")
        commands = (f"{COMMAND}sweep --loop",)
        return Finding("no sweeper", sentence, evidence=(_of(case, first), told), commands=commands)
    sentence = (
        f"It has been due for {overdue}; a sweeper was at work at {case.at(last)} and has not "
        "reached it yet."
    )
    return Finding("sweeper is behind", sentence, "likely", (_of(case, first),))


def _first(case: Case) -> Schedule | None:
    return case.schedules[0] if case.schedules else None


def _of(case: Case, schedule: Schedule) -> Evidence:
    claimed = f", claimed {case.at(schedule.date_claimed)}" if schedule.date_claimed else ""
    home = ", in an outbox" if schedule.is_in_outbox else ""
    said = f"due {case.at(schedule.due)}{claimed}{home}"
    return Evidence("schedule", schedule.date_scheduled, said)
