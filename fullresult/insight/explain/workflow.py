"""The rule about tasks that were never published: later steps of chains, bodies of chords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fullresult.insight.explain.case import Case
from fullresult.insight.explain.chords import error_of, waits_for_chord
from fullresult.insight.explain.explanation import (
    COMMAND,
    Confidence,
    Evidence,
    Finding,
    word,
)
from fullresult.insight.explain.remedy import run_again
from fullresult.insight.explain.signatures import body_in, find, list_of, name_of
from fullresult.record import FAILURE, TaskRecord


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
        return waits_for_chord(case, record, body)
    return _step(case, record, embed)


def _step(case: Case, record: TaskRecord, embed: Mapping[str, Any]) -> Finding:
    chain = [*reversed(list_of(embed.get("chain")))]
    place = next((n for n, each in enumerate(chain, 1) if find(each, case.task_id)), 0)
    name = name_of(find(embed, case.task_id))
    what = f"step {place} after" if place else "linked to"
    before = f"{record.name} ({record.task_id})"
    is_errback = any(find(each, case.task_id) for each in list_of(embed.get("errbacks")))
    confidence: Confidence = "certain"
    commands: tuple[str, ...] = (f"{COMMAND}explain {word(record.task_id)}",)
    if is_errback:
        is_over = record.state == FAILURE
        then = "failed" if is_over else f"is {record.state}"
        so = "its worker called it itself, or its publish was not recorded"
        sentence = (
            f"It is {name}, the errback of {before}, which {then}: "
            f"{so if is_over else 'it is called if that fails'}."
        )
        confidence = "possible" if is_over else "certain"
    elif record.state == FAILURE:
        when = f" at {case.at(record.date_done)}" if record.date_done else ""
        sentence = (
            f"It is {name}, {what} {before}, which failed{when} with {error_of(record)}: so it was "
            "never published."
        )
        commands = (run_again(record),)
    else:
        sentence = f"It is {name}, {what} {before}, which is {record.state}: it comes after that."
    said = f"{record.state}, and its links name {case.task_id}"
    evidence = (Evidence("record", record.date_updated, f"{record.task_id}: {said}"),)
    return Finding("never published", sentence, confidence, evidence, commands)
