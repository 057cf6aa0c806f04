"""What the body of a chord waits for: members, chains that are members, and chords inside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import COMMAND, Evidence, Finding, word
from fullresult.insight.explain.remedy import run_again
from fullresult.insight.explain.signatures import around, body_in, find, id_of, name_of, options_of
from fullresult.insight.words import brief, count_of
from fullresult.record import FINISHED, SUCCESS, TaskRecord

_FAILED = FINISHED - {SUCCESS}


@dataclass
class _Members:
    """The members of one chord, as far as they have records."""

    direct: dict[str, TaskRecord] = field(default_factory=dict)
    """By id; of a chain, the step that it has reached."""
    inside: dict[str, list[TaskRecord]] = field(default_factory=dict)
    """Of chords that are members, the members, by the id of their body."""
    names: dict[str, str] = field(default_factory=dict)
    """The name of each of these bodies."""

    def add(self, record: TaskRecord, body_id: str | None) -> None:
        own = body_in(record.embed)
        if id_of(own) == body_id:
            self.direct[record.task_id] = record
        elif id_of(around(own)) == body_id:
            inner = str(id_of(own))
            self.names[inner] = name_of(own)
            known = self.inside.setdefault(inner, [])
            if record.task_id not in {each.task_id for each in known}:
                known.append(record)

    @property
    def all(self) -> list[TaskRecord]:
        """Those of inner chords, too; direct members first."""
        return [*self.direct.values(), *(each for known in self.inside.values() for each in known)]

    @property
    def failed_inside(self) -> list[str]:
        """The ids of the bodies of those inner chords that failed."""
        return [
            inner
            for inner, known in self.inside.items()
            if any(each.state in _FAILED for each in known)
        ]


def waits_for_chord(case: Case, record: TaskRecord, body: Any) -> Finding:
    """*record* is counted for *body*, which is the task in question or has it among its links."""
    outer = around(body)
    is_nested = id_of(body) != case.task_id and id_of(outer) == case.task_id
    chord = outer if is_nested else body
    group_id = options_of(body).get("group_id") if is_nested else record.group_id
    members = _Members()
    for each in case.reading.group(group_id) if isinstance(group_id, str) else ():
        members.add(each, id_of(chord))
    for each in (record, *case.reading.all_naming(str(id_of(chord)))):
        members.add(each, id_of(chord))
    told, waits = _told(members, chord)
    own = find(chord, case.task_id)
    what = "the body of a chord, and"
    if own is not chord:
        what = f"which comes after {name_of(chord)} ({id_of(chord)}), the body of a chord that"
    sentence = f"It is {name_of(own)}, {what} waits for {waits}{told}."
    failed = [each for each in members.all if each.state in _FAILED]
    if failed:
        sentence += f" {_end(members, chord, own)}"
    open_ = [each for each in members.all if each.state not in FINISHED]
    evidence = tuple(
        Evidence("record", each.date_updated, f"{each.task_id}: {each.state}")
        for each in (*failed[:3], *open_[:3])
    )
    commands = [run_again(each) for each in failed[:1]]
    commands += [f"{COMMAND}explain {word(each.task_id)}" for each in open_[:1]]
    return Finding("body of a chord", sentence, evidence=evidence, commands=tuple(commands))


def _told(members: _Members, chord: Mapping[str, Any]) -> tuple[str, str]:
    """(what each member does, `2 of 4 members`)."""
    direct = [*members.direct.values()]
    failed = [each for each in direct if each.state in _FAILED]
    ended = sum(each.state == SUCCESS for each in direct)
    parts = [f"{each.task_id} failed ({error_of(each)})" for each in failed[:3]]
    for inner in members.failed_inside[:3]:
        first = next(each for each in members.inside[inner] if each.state in _FAILED)
        parts.append(
            f"the chord of {members.names[inner]} ({inner}) failed, by {first.task_id} "
            f"({error_of(first)})"
        )
    states = Counter(each.state for each in direct if each.state not in FINISHED)
    parts += [f"{count} {state}" for state, count in sorted(states.items())]
    going = len(members.inside) - len(members.failed_inside)
    parts += [f"{count_of(going, 'chord')} inside it"] if going else []
    seen = len(direct) + len(members.inside)
    size = chord.get("chord_size")
    whole = size if isinstance(size, int) and size >= seen else seen
    if whole > seen:
        parts.append(f"{whole - seen} not recorded")
    told = f": {', '.join(parts)}" if parts else ""
    return told, f"{whole - ended} of {count_of(whole, 'member')}"


def _end(members: _Members, chord: Mapping[str, Any], own: object) -> str:
    """What becomes of a chord of which a member failed."""
    if members.failed_inside and not any(e.state in _FAILED for e in members.direct.values()):
        inner = members.names[members.failed_inside[0]]
        return f"So {inner} is not sent, and {name_of(chord)} waits for it."
    after = "" if own is chord else ", nor what comes after it"
    return f"A member that failed fails the chord: the body is not sent{after}."


def error_of(record: TaskRecord) -> str:
    kind = (record.exception_type or record.state).rpartition(".")[2]
    return brief(f"{kind}: {record.exception_message or ''}").removesuffix(": ")
