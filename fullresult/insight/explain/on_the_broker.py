"""Rules about its queue: who consumes it, and if the message is still there."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from fullresult.insight.explain.brokers import doubt_of
from fullresult.insight.explain.case import Case, from_epoch
from fullresult.insight.explain.explanation import (
    COMMAND,
    Confidence,
    Evidence,
    Finding,
    names,
    resend,
    word,
)
from fullresult.insight.explain.paused import pause_of
from fullresult.insight.fleet import Life
from fullresult.insight.live import QueueNow
from fullresult.insight.queues import sentence as left_alone
from fullresult.insight.words import count_of, span
from fullresult.record import TaskRecord

_DELAYED = "celery_delayed"
LOST = "lost"
"""The verdict of `lost`."""
_TWICE_IF_NOT_LOST = "it runs twice, if it is not lost"


def gone(case: Case) -> Finding | None:
    """RabbitMQ knows no queue of this name."""
    queue = case.queue_now
    if not case.is_waiting or queue is None or queue.exists is not False:
        return None
    if _delayed_until(case) is not None:
        return None
    doubt, mute = doubt_of(case), _mute(case)
    there = f"There is no queue {queue.name} on this app's broker"
    sentence = f"{there}: what waited there is gone with it{doubt}"
    sentence += f", or {names(mute)} may have taken it before" if mute else ""
    return Finding(
        "queue is gone",
        f"{sentence}.",
        "possible" if doubt or mute else "likely",
        evidence=(case.of_broker(f"no queue {queue.name}"),),
        commands=(resend(case.task_id, _TWICE_IF_NOT_LOST if doubt or mute else ""),),
    )


def delayed(case: Case) -> Finding | None:
    """RabbitMQ itself holds it until its ETA, as Celery has it do with quorum queues."""
    until = _delayed_until(case)
    if until is None:
        return None
    left = span((until - case.now).total_seconds())
    sentence = f"It waits in RabbitMQ's own delay until {case.at(until)}, for {left} more."
    assert case.record is not None
    said = f"published to {case.record.exchange} with the ETA {case.at(until)}"
    return Finding("delayed by RabbitMQ", sentence, "likely", (case.of_record(said),))


def _delayed_until(case: Case) -> datetime | None:
    record = case.record
    if not case.is_waiting or record is None or record.eta is None or record.eta <= case.now:
        return None
    return record.eta if _DELAYED in (record.exchange or "") else None


def not_consumed(case: Case) -> Finding | None:
    """Workers live, and none of them consumes its queue."""
    queue, now = case.queue, case.queue_now
    if not case.is_waiting or queue is None or queue in case.consumed:
        return None
    if pause_of(case) or not (case.answers or any(life.card for life in case.alive)):
        return None
    if now is not None and (now.consumers or now.taken_at is not None):
        return None
    if case.live and case.live.workers.strangers:
        return None
    counted = now is not None and now.consumers == 0
    said = left_alone(queue, proven=counted)[:-1]
    sentence = f"{said}; {_who(case)} {names([*case.consumed]) or 'no queue'}."
    evidence = [
        case.of_answer(a, f"consumes {names([*a.queues]) or 'no queue'}") for a in case.answers
    ]
    evidence += [case.of_card(life) for life in case.silent if life.card]
    if not evidence:
        evidence = [case.of_card(life) for life in case.alive if life.card]
    if counted:
        evidence.append(case.of_broker(f"{queue} has 0 consumers"))
    commands = [f"celery -A proj control add_consumer {word(queue)}"]
    is_away = now is not None and _is_away(case, now)
    in_doubt = case.live is not None and bool(case.unknown)
    if is_away:
        lost = _lost_since(case)
        who = _one_of(case, lost) if lost else "a worker that is not known"
        sentence += f" Nor is it in {queue}: {who} may have it, or it is lost."
        evidence += map(case.of_life, lost[:3])
    dropping = [each.worker for each in case.answers if case.task_id in each.revoked]
    if dropping:
        sentence += f" It was revoked, too, as {names(dropping)} knows."
    elif case.consumed:
        to = f" --queue {word(case.consumed[0])}"
        but = _TWICE_IF_NOT_LOST if is_away else f"it runs twice, if {_if_consumed(now)}"
        commands.append(resend(case.task_id, but, to))
    return Finding(
        "nobody consumes its queue",
        sentence,
        "possible" if is_away else "certain" if counted else "possible" if in_doubt else "likely",
        tuple(evidence),
        tuple(commands),
    )


def _is_away(case: Case, queue: QueueNow) -> bool:
    """True if the broker says that its message does not wait in its queue."""
    if case.is_young:
        return False
    return queue.found is False or (queue.exists is True and queue.ready == 0)


def _if_consumed(queue: QueueNow | None) -> str:
    """What would run it, of a queue that nobody consumes."""
    later = "its queue is consumed later"
    if queue is not None and queue.found:
        return f"{later}: its message is still there"
    if queue is not None and queue.ready:
        return f"{later}: its message may be among the {queue.ready:,} there"
    return f"a worker has it, or {later}"


def _lost_since(case: Case) -> tuple[Life, ...]:
    """The workers that may have taken it since it was published, and are not heard of any more."""
    since = case.published
    return () if since is None else case.lost_since(since)


def _one_of(case: Case, lives: tuple[Life, ...]) -> str:
    """`w1@web, last heard of at 14:02:10 UTC`."""
    last = max(life.worker.date_seen for life in lives)
    known = sorted({life.worker.name for life in lives})
    if len(known) == 1:
        return f"{known[0]}, last heard of at {case.at(last)},"
    return f"one of {names(known, 3)}, the last heard of at {case.at(last)},"


def _who(case: Case) -> str:
    known = {answer.worker for answer in case.answers}
    known |= {life.worker.name for life in (*case.alive, *case.perhaps)}
    return f"{names(sorted(known), 3)} {'consumes' if len(known) == 1 else 'consume'}"


def waits_in_queue(case: Case) -> Finding | None:
    """It is in the queue, or nothing says that it is not."""
    queue, record = case.queue_now, case.record
    if not case.is_waiting or queue is None or record is None or queue.ready is None:
        return None
    usual = case.reading.median_wait(record)
    than = f"; half of the tasks of this name wait {span(usual)} at most" if usual else ""
    if queue.found:
        ahead = queue.ahead or 0
        pace = case.reading.begun_per_second(queue.name)
        soon = f"; at {pace:.2g} a second, {span(ahead / pace)}" if pace and ahead else ""
        sentence = (
            f"It waits in {queue.name}, with {count_of(ahead, 'message')} before it{soon}{than}."
        )
        said = f"found in {queue.name}, {ahead} of {queue.ready} before it"
        return Finding("waits in its queue", sentence, evidence=(case.of_broker(said),))
    if queue.found is False or not queue.ready or _overtaken(case, record):
        return None
    workers = "" if queue.consumers is None else f" and {count_of(queue.consumers, 'consumer')}"
    sentence = (
        f"It most likely waits in {queue.name}, which has {count_of(queue.ready, 'message')}"
        f"{workers}: no later task of it was begun{than}."
    )
    said = f"{queue.ready} ready in {queue.name}{workers}{_looked(queue)}"
    return Finding("waits in its queue", sentence, case.by_exclusion, (case.of_broker(said),))


def _looked(queue: QueueNow) -> str:
    """How far it was looked for, where that was not to the end."""
    return f"; it is none of the first {queue.looked:,}" if queue.looked else ""


def taken(case: Case) -> Finding | None:
    """On Redis: a worker took it and did not acknowledge it, and none that answers has it."""
    queue = case.queue_now
    if not case.is_waiting or queue is None or queue.taken_at is None:
        return None
    when = from_epoch(queue.taken_at)
    again = _again(case, queue, when)
    gone_since = _gone_after(case, when)
    sentence = (
        f"A worker took it at {case.at(when)} and has not acknowledged it, and none that answers "
        f"has it: {_whose(case, gone_since)}."
    )
    if again is not None:
        sentence += f" The broker delivers it again after {case.at(again)} (visibility timeout)."
    said = f"not acknowledged since {case.at(when)}"
    is_likely = bool(gone_since) and not _mute(case) and case.by_exclusion == "likely"
    until = f"wait until {case.at(again)}" if again else "wait until the broker delivers it again"
    return Finding(
        "taken and not acknowledged",
        sentence,
        "likely" if is_likely else "possible",
        (case.of_broker(said), *map(case.of_life, gone_since)),
        (f"{until}: sent again, it runs twice",),
    )


def _whose(case: Case, gone_since: list[Life]) -> str:
    """Who may have what none that answers has."""
    if case.live is None or case.live.workers.problem:
        return "workers could not be asked"
    mute = _mute(case)
    if mute:
        return f"{names(mute)} may have it"
    if gone_since:
        who = names([life.worker.name for life in gone_since])
        return f"most likely {who}, gone since; else one that is busy and has no FullResult"
    return "that worker may be gone, or busy and without FullResult, or cut off from the broker"


def _mute(case: Case) -> list[str]:
    """The workers that live and may have it, and did not say."""
    workers = case.live.workers if case.live else None
    if workers is None:
        return []
    return [*(life.worker.name for life in case.silent), *workers.strangers, *workers.failed]


def _again(case: Case, queue: QueueNow, when: datetime) -> datetime | None:
    """When it will be delivered again; None if that is beyond all dates."""
    mine = [c for c in (life.card for life in case.lives) if c]
    known = (c.visibility_timeout for c in mine if c.namespace == case.settings.namespace)
    timeout = next(filter(None, known), None)
    with suppress(OverflowError, ValueError, OSError):
        if timeout:
            return when + timedelta(seconds=timeout)
        return from_epoch(queue.again_at) if queue.again_at else None
    return None


def _gone_after(case: Case, when: datetime) -> list[Life]:
    """The workers of its queue that lived *when* it was taken, and are gone."""
    ours = (None, case.settings.namespace)
    return [
        life
        for life in case.lives
        if life.worker.is_gone(case.now)
        and life.worker.date_started <= when
        and life.worker.date_seen > when - timedelta(minutes=1)
        and (life.card and life.card.namespace) in ours
        and case.could_take(life)
    ][:3]


def lost(case: Case) -> Finding | None:
    """It is nowhere: not in its queue, and no worker has it."""
    queue, record = case.queue_now, case.record
    if not case.is_waiting or queue is None or record is None or queue.ready is None:
        return None
    if case.is_young or queue.problem or queue.found or (case.live and case.live.workers.problem):
        return None
    over = _overtaken(case, record)
    if queue.found is None and queue.ready and not over:
        return None
    unheard = _lost_since(case)
    evidence = [case.of_broker(_depth(queue)), *map(case.of_life, unheard[:3])]
    evidence += [case.of_answer(answer, "does not have it") for answer in case.answers]
    where = "the queue is empty"
    if queue.ready:
        there = count_of(queue.ready, "message")
        looked = queue.found is False
        where = f"it is not among the {there} there" if looked else f"{there} wait there"
    if over:
        evidence.append(
            Evidence("record", over.date_published, f"{over.task_id} came later and was begun")
        )
    overtaken = f", a later task of {queue.name} was begun" if over else ""
    doubt = doubt_of(case)
    confidence: Confidence = case.by_exclusion
    if doubt or unheard or not case.answers or _may_be_with_others(case, queue):
        confidence = "possible"
    is_likely = confidence == "likely"
    none = "no worker that answers has it" if case.answers else "no worker answers"
    sentence = (
        f"It {'is most likely' if is_likely else 'may be'} lost: {where}{overtaken}, and {none}. "
        f"{_how_lost(case, queue, unheard)}{doubt}."
    )
    return Finding(
        LOST,
        sentence,
        confidence,
        tuple(evidence),
        _if_lost(case, is_likely=is_likely),
    )


def _how_lost(case: Case, queue: QueueNow, unheard: tuple[Life, ...]) -> str:
    expires = case.record.expires if case.record else None
    if expires and expires <= case.now and queue.exists:
        return (
            f"It expired at {case.at(expires)}: RabbitMQ drops what expires in a queue, and tells "
            "nobody"
        )
    who = "a worker that is not known acknowledged it and"
    if unheard:
        who = f"{_one_of(case, unheard)} took it, and is frozen or"
    return (
        f"Then {queue.name} was purged, or the broker was started anew without it, or {who} died "
        "before its start was written"
    )


def _if_lost(case: Case, *, is_likely: bool) -> tuple[str, ...]:
    """To send it again, and before that what tells if it is lost."""
    if is_likely:
        return (resend(case.task_id, "it runs twice, if a worker without FullResult has it"),)
    return (
        f"{COMMAND}workers, and every worker's log, say if one of them has it",
        resend(case.task_id, _TWICE_IF_NOT_LOST),
    )


def _may_be_with_others(case: Case, queue: QueueNow) -> bool:
    """True if there are workers that may have it, and that were not asked or did not answer."""
    answering = sum(queue.name in answer.queues for answer in case.answers)
    is_more = queue.consumers is not None and queue.consumers > answering
    return is_more or bool(_mute(case))


def _depth(queue: QueueNow) -> str:
    return f"{queue.name} has {count_of(queue.ready or 0, 'message')} ready{_looked(queue)}"


def _overtaken(case: Case, record: TaskRecord) -> TaskRecord | None:
    """A task of its queue that came later and was begun."""
    since = case.ready_since
    return None if since is None else case.reading.overtaken_by(record, since)


def waits(case: Case) -> Finding | None:
    """All that is known is that it was published."""
    record = case.record
    if not case.is_waiting or record is None or case.published is None:
        return None
    lasts = span((case.now - case.published).total_seconds())
    over = _overtaken(case, record)
    sentence = f"It was given to the broker {lasts} ago, and no start of it is recorded."
    evidence = [case.of_record(record.state, case.published)]
    if over:
        sentence = (
            f"{sentence[:-1]}, but {over.task_id}, a later task of {record.queue}, was begun."
        )
        evidence.append(Evidence("record", over.date_published, f"{over.task_id} was begun"))
    return Finding("not begun", sentence, "possible", tuple(evidence))
