"""Rules about tasks that were never published: later steps of chains, bodies of chords."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import COMMAND, Evidence, Finding, word
from fullresult.insight.explain.signatures import body_in, find, id_of, list_of, name_of
from fullresult.insight.words import brief, count_of
from fullresult.record import FAILURE, FINISHED, SUCCESS, TaskRecord

_FAILED = FINISHED - {SUCCESS}


def never_published(case: Case) -> Finding | None:
    """No record: it is a later step, or the body, of something that is open or failed."""
    if case.record is not None or case.schedules:
        return None
    found = case.reading.naming(case.task_id)
    if found is None:
        return None
    record, embed = found
    body = body_in(embed)
    if find(body, case.task_id) is not None:
        return _chord(case, record, body)
    return _step(case, record, embed)


def _step(case: Case, record: TaskRecord, embed: Mapping[str, Any]) -> Finding:
    chain = [*reversed(list_of(embed.get("chain")))]
    place = next((n for n, each in enumerate(chain, 1) if find(each, case.task_id)), 0)
    name = name_of(find(embed, case.task_id))
    what = f"step {place} after" if place else "linked to"
    before = f"{record.name} ({record.task_id})"
    if record.state == FAILURE:
        when = f" at {case.at(record.date_done)}" if record.date_done else ""
        sentence = (
            f"It is {name}, {what} {before}, which failed{when} with {_error(record)}: so it was "
            "never published."
        )
        commands: tuple[str, ...] = (f"{COMMAND}resend {word(record.task_id)}",)
    else:
        sentence = f"It is {name}, {what} {before}, which is {record.state}: it comes after that."
        commands = (f"{COMMAND}explain {word(record.task_id)}",)
    said = f"{record.state}, and its links name {case.task_id}"
    evidence = (Evidence("record", record.date_updated, f"{record.task_id}: {said}"),)
    return Finding("never published", sentence, evidence=evidence, commands=commands)


def _chord(case: Case, record: TaskRecord, body: Any) -> Finding:
    group_id = record.group_id
    members = case.reading.group(group_id) if group_id else [record]
    if record.task_id not in {each.task_id for each in members}:
        members.append(record)
    size = body.get("chord_size") if isinstance(body, Mapping) else None
    whole = size if isinstance(size, int) and size >= len(members) else len(members)
    ended = [each for each in members if each.state == SUCCESS]
    failed = [each for each in members if each.state in _FAILED]
    open_ = [each for each in members if each.state not in FINISHED]
    waits = whole - len(ended)
    parts = [f"{each.task_id} failed ({_error(each)})" for each in failed[:3]]
    states = Counter(each.state for each in open_)
    parts += [f"{count} {state}" for state, count in sorted(states.items())]
    if whole > len(members):
        parts.append(f"{whole - len(members)} not recorded")
    told = f": {', '.join(parts)}" if parts else ""
    of = f"{waits} of {count_of(whole, 'member')}"
    own = find(body, case.task_id)
    is_body = own is body
    what = (
        "the body of a chord, and"
        if is_body
        else (f"which comes after {name_of(body)} ({id_of(body)}), the body of a chord that")
    )
    sentence = f"It is {name_of(own)}, {what} waits for {of}{told}."
    if failed:
        after = "" if is_body else ", nor what comes after it"
        sentence += f" A member that failed fails the chord: the body is not sent{after}."
    evidence = tuple(
        Evidence("record", each.date_updated, f"{each.task_id}: {each.state}")
        for each in (*failed[:3], *open_[:3])
    )
    commands = [f"{COMMAND}resend {word(each.task_id)}" for each in failed[:1]]
    commands += [f"{COMMAND}explain {word(each.task_id)}" for each in open_[:1]]
    return Finding("body of a chord", sentence, evidence=evidence, commands=tuple(commands))


def _error(record: TaskRecord) -> str:
    kind = (record.exception_type or record.state).rpartition(".")[2]
    return brief(f"{kind}: {record.exception_message or ''}").removesuffix(": ")
