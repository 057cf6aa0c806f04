"""Rules about tasks that have ended: refused, dropped, failed, late."""

from __future__ import annotations

from datetime import datetime, timedelta

from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import (
    COMMAND,
    Evidence,
    Finding,
    names,
    resend,
    word,
)
from fullresult.insight.explain.remedy import run_again
from fullresult.insight.fleet import Life
from fullresult.insight.timeline import waited
from fullresult.insight.words import brief, count_of, span
from fullresult.record import (
    FAILURE,
    IGNORED,
    NOT_RUN,
    REJECTED,
    REVOKED,
    SUCCESS,
    UNSENT,
    TaskRecord,
)
from fullresult.record.stamps import worker_in

_LATE = 2.0
"""Seconds of waiting that are worth a word, if it is also more than thrice the median."""
_REMEMBERED = timedelta(days=29)
"""Workers that are gone for 30 days are deleted."""
_FORGOTTEN = 10_000
"""And so are those beyond this number."""

_DEEDS = {"revoked": ("cancel", "revoke"), "terminated": ("terminate",)}
"""The deeds that end a task so."""


def without_a_start(case: Case) -> Finding | None:
    """The end of a task that no worker ever had: a step before it failed."""
    record = case.record
    if record is None or record.executions or record.worker:
        return None
    # Older versions, and other backends' records, say FAILURE without a message.
    if record.state != NOT_RUN and (record.state != FAILURE or record.message):
        return None
    failed = _first_failure(case, record)
    what = "a member of its chord" if _is(record, "ChordError") else "a step before it"
    sentence = f"It never ran: {what} failed"
    if record.state != NOT_RUN and failed is None:
        sentence = (
            "Nothing is known of a run of it: a step before it may have failed, or it was "
            "imported, or its worker was not recorded"
        )
    commands: tuple[str, ...] = ()
    if failed is not None:
        sentence += f", {failed.name} ({failed.task_id}), with {_error(failed)}"
        commands = (run_again(failed),)
    said = f"{record.state} with {_error(record)}, without a message and without a run"
    return Finding(
        "step before it failed",
        f"{sentence}.",
        "certain" if failed or record.state == NOT_RUN else "possible",
        (case.of_record(said, record.date_done),),
        commands,
    )


def _first_failure(case: Case, record: TaskRecord) -> TaskRecord | None:
    found = case.reading.naming(record.task_id)
    return found[0] if found and found[0].state == FAILURE else None


def not_registered(case: Case) -> Finding | None:
    record = case.record
    if record is None or record.state != FAILURE or not _is(record, "NotRegistered"):
        return None
    knowing = _knowing(case)
    sentence = f"{record.worker or 'The worker'} does not know {case.name}"
    life = _life(case, record)
    if life:
        sentence += _of(life)
    if knowing:
        known = [f"{each.worker.name}{_of(each)}" for each in knowing]
        sentence += f"; {names(known)} {'knows' if len(known) == 1 else 'know'} it"
    elif case.living and all(life.names_id for life in case.living):
        sentence += "; no living worker with a card knows it"
    return Finding(
        "not registered",
        f"{sentence}.",
        evidence=(
            case.of_record(f"FAILURE: {_error(record)}", record.date_done),
            *map(case.of_card, knowing),
        ),
        commands=(f"{COMMAND}check", run_again(record)),
    )


def _knowing(case: Case) -> list[Life]:
    cards: dict[str, list[str]] = {}
    for life in case.living:
        if life.card and life.names_id:
            cards.setdefault(life.names_id, []).append(life.worker.worker_id)
    knowing = {*case.reading.knowing(case.name, cards)}
    return [life for life in case.living if life.worker.worker_id in knowing]


def _life(case: Case, record: TaskRecord) -> Life | None:
    """The life of the worker that ended it; None if its name has had several, and none is told."""
    told = case.life_of(worker_in(record.outcome.stamp)) if record.outcome else None
    named = [each for each in case.lives if each.worker.name == record.worker]
    return told or (named[0] if len(named) == 1 else None)


def _of(life: Life) -> str:
    return f" (release {life.card.release})" if life.card and life.card.release else ""


def content_disallowed(case: Case) -> Finding | None:
    record = case.record
    if record is None or record.state != REJECTED or not _is(record, "ContentDisallowed"):
        return None
    life = _life(case, record)
    accepts = names([*life.card.accept_content]) if life and life.card else ""
    kind = record.message.content_type if record.message else None
    sentence = f"{record.worker or 'The worker'} refuses {_serializer(kind)}"
    sentence += f"; it accepts {accepts}" if accepts else ""
    return Finding(
        "content not accepted",
        f"{sentence}.",
        evidence=(case.of_record(f"REJECTED: {_error(record)}", record.date_done),)
        + ((case.of_card(life),) if life else ()),
        commands=(f"set accept_content to allow {_serializer(kind)}, or publish as {accepts}",)
        if accepts
        else (),
    )


def _serializer(content_type: str | None) -> str:
    return (
        (content_type or "its content")
        .rpartition("/")[2]
        .removeprefix("x-python-")
        .replace("serialize", "pickle")
    )


def revoked(case: Case) -> Finding | None:
    record = case.record
    if record is None or record.state != REVOKED:
        return None
    if record.exception_message == "expired":
        return _expired(case, record)
    how = "terminated" if record.exception_message == "terminated" else "revoked"
    deeds = case.reading.audit(case.task_id)
    who = next((e for e in deeds if e.action in _DEEDS[how] and e.outcome == "done"), None)
    by = f" by {who.actor} at {case.at(who.at)}" if who else ""
    where = f", and {record.worker} dropped it" if record.worker and how == "revoked" else ""
    ended = f" at {case.at(record.date_done)}" if record.date_done else ""
    evidence = [case.of_record(f"REVOKED: {record.exception_message}", record.date_done)]
    if who:
        evidence.append(Evidence("audit log", who.at, f"{who.actor}: {who.action}"))
    return Finding(
        how,
        f"It was {how}{by}{where}{ended}.",
        evidence=tuple(evidence),
        commands=(run_again(record, "if it should run after all"),),
    )


def _expired(case: Case, record: TaskRecord) -> Finding:
    sentence = "It had expired"
    done, published = record.date_done, record.date_published or record.date_created
    if record.expires and done:
        before = max((done - record.expires).total_seconds(), 0)
        who = record.worker or "a worker"
        sentence = f"It expired {span(before)} before {who} was to begin it"
    if done:
        sentence += f": it waited {span((done - published).total_seconds())}"
        usual = case.reading.median_wait(record)
        if usual is not None:
            sentence += f", and half of the tasks of this name wait {span(usual)} at most"
    said = f"expires {case.at(record.expires)}" if record.expires else "expired"
    return Finding(
        "expired",
        f"{sentence}.",
        evidence=(case.of_record(f"REVOKED: {said}", done),),
        commands=(run_again(record),),
    )


def unsent(case: Case) -> Finding | None:
    record = case.record
    if record is None or record.state != UNSENT:
        return None
    return Finding(
        "never sent",
        f"Its publish failed: {_error(record)}. Its publisher was told so, and no start of it is "
        "recorded.",
        evidence=(case.of_record("UNSENT", record.date_updated),),
        commands=(resend(case.task_id, "if its publisher did not send another instead"),),
    )


def ended(case: Case) -> Finding | None:
    """How it ended, where no other rule says why."""
    record = case.record
    if record is None or record.state not in (SUCCESS, FAILURE, IGNORED, REJECTED):
        return None
    when = f" at {case.at(record.date_done)}" if record.date_done else ""
    where = f" on {record.worker}" if record.worker else ""
    # Negative where the clocks of two hosts differ.
    ran = max(record.runtime or 0.0, 0.0)
    after = f" after {span(ran)}" if ran else ""
    evidence = (case.of_record(record.state, record.date_done),)
    if record.state == SUCCESS:
        return Finding("succeeded", f"It succeeded{where}{when}{after}.", evidence=evidence)
    if record.state == FAILURE:
        attempt = f"attempt {record.retries + 1}" if record.executions else "it"
        sentence = f"It failed: {attempt}{where} ended{when}{after} with {_error(record)}."
        commands = (f"{COMMAND}show {word(case.task_id)}", run_again(record))
        return Finding("failed", sentence, evidence=evidence, commands=commands)
    why = f" ({_error(record)})" if record.exception_type else ""
    then = "has it ignored: it has no result" if record.state == IGNORED else "rejected it"
    sentence = f"{record.worker or 'Its worker'} {then}{when}{why}."
    if record.state == REJECTED and record.executions:
        sentence += " If it asked to be queued anew and is acknowledged late, it comes again."
    return Finding(record.state.lower(), sentence, evidence=evidence)


def late(case: Case) -> Finding | None:
    """A long wait, and what there was in the time of it."""
    record = case.record
    if record is None:
        return None
    length, waits = waited(record, case.now)
    first = record.start.date_started if record.start else record.date_started
    if length is None or waits or first is None:
        return None
    seconds = length.total_seconds()
    usual = case.reading.median_wait(record)
    if seconds < _LATE or (usual is not None and seconds < 3 * usual):
        return None
    began = first - length
    idle = _without_consumer(case, record.queue, began, first)
    parts, evidence = [], [case.of_record(f"published {case.at(began)}, begun {case.at(first)}")]
    if idle:
        parts.append(f"{span(idle)} of it without a known consumer of {record.queue}")
    if rest := _behind(case, record, began + timedelta(seconds=idle), first):
        parts.append(rest)
    usually = f"; half of the tasks of this name wait {span(usual)} at most" if usual else ""
    told = f": {', '.join(parts)}" if parts else ""
    return Finding(
        "late",
        f"It waited {span(seconds)}{told}{usually}.",
        "likely",
        tuple(evidence),
    )


def _without_consumer(case: Case, queue: str | None, since: datetime, until: datetime) -> float:
    """Seconds between two times in which no worker with a card consumed *queue*."""
    mine = [life for life in case.lives if life.card and queue in life.card.queues]
    if not mine or not _all_known(case, since, until):
        return 0.0
    free, reached = 0.0, since
    for life in sorted(mine, key=lambda each: each.worker.date_started):
        end = min(_end(case, life), until)
        if life.worker.date_started > reached:
            free += (min(life.worker.date_started, until) - reached).total_seconds()
        reached = max(reached, end)
        if reached >= until:
            break
    free += max((until - reached).total_seconds(), 0.0)
    return free if free >= 1 else 0.0


def _all_known(case: Case, since: datetime, until: datetime) -> bool:
    """True if every worker that lived in this time is known, with its card."""
    if case.now - since > _REMEMBERED or len(case.lives) >= _FORGOTTEN:
        return False
    return all(
        life.card is not None
        for life in case.lives
        if life.worker.date_started < until and _end(case, life) > since
    )


def _end(case: Case, life: Life) -> datetime:
    return life.worker.gone_since if life.worker.is_gone(case.now) else case.now


def _behind(case: Case, record: TaskRecord, since: datetime, until: datetime) -> str | None:
    """For how long its worker had no process free, and the runs that had them."""
    life = _life(case, record)
    size = life.card.processes if life and life.card else None
    if record.worker is None or not size or (until - since).total_seconds() < 1:
        return None
    ran = case.reading.ran_on(record.worker, since, until)
    others = [each for each in ran if each.task_id != record.task_id and each.date_started]
    busy = _full(others, size, since, until)
    if busy < 1:
        return None
    longest = max(others, key=lambda each: each.runtime or 0)
    took = f", the longest {longest.name} with {span(longest.runtime)}" if longest.runtime else ""
    return f"{span(busy)} behind {count_of(len(others), 'run')} on {record.worker}{took}"


def _full(runs: list[TaskRecord], size: int, since: datetime, until: datetime) -> float:
    """Seconds between two times in which at least *size* of *runs* went on."""
    turns: list[tuple[datetime, int]] = []
    for each in runs:
        began = each.date_started or until
        turns += [(max(began, since), 1), (min(each.date_done or until, until), -1)]
    going, reached, full = 0, since, 0.0
    for when, step in sorted(turns):
        full += (when - reached).total_seconds() if going >= size else 0.0
        going, reached = going + step, when
    return full


def _is(record: TaskRecord, error: str) -> bool:
    return (record.exception_type or "").rpartition(".")[2] == error


def _error(record: TaskRecord) -> str:
    kind = (record.exception_type or "no error").rpartition(".")[2]
    message = brief(record.exception_message or "")
    return f"{kind}: {message}" if message else kind
