"""Hypothesis strategies: events of a task, and orders in which they may arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from fullresult.record import (
    FINISHED,
    INTERRUPTED,
    NOT_RUN,
    STATES,
    SUCCESS,
    Entry,
    Message,
    Outcome,
    OwnMessage,
    Start,
    Stored,
    TaskRecord,
)
from fullresult.record.resent import latest, mark
from fullresult.record.stamps import RANK
from fullresult.testing import samples

T = TypeVar("T")

_texts = st.none() | st.sampled_from(["", "a", "é 中 🎉", "it's $1.50 100 %_\\"])
_json = st.none() | st.sampled_from(["[]", '["a", 1.5]', '{"a": {"$b": null}}', "null"])
_arguments = st.none() | st.sampled_from(['[1, "é"]', '{"a.b": [true]}', "{}"])
_dates = st.none() | st.integers(-5_000, 5_000).map(samples.after)
_expiries = st.none() | st.integers(-5_000, 5_000).map(samples.expiry)
_bodies = st.binary(max_size=8)
_types = st.sampled_from(["application/json", "application/x-python-serialize", "é"])
_encodings = st.sampled_from(["utf-8", "binary", ""])
_states = st.sampled_from([*STATES, "PROGRESS"])


@st.composite
def events(draw: st.DrawFn, task_id: str, number: int) -> TaskRecord:
    """One event; *number* makes its stamps differ from those of the other events."""
    at = samples.after(draw(st.integers(0, 20)))
    stamps = _stamps(at=st.just(at), tag=f"{number:x}")
    outcome = draw(st.none() | _outcomes(stamps))
    resent = draw(st.none() | st.builds(mark, stamps, st.just(at), _texts))
    return TaskRecord(
        task_id=task_id,
        date_created=at,
        date_updated=at,
        date_published=draw(st.none() | st.just(at)),
        outcome=outcome,
        message=draw(st.none() | _messages(stamps)),
        start=draw(st.none() | st.builds(Start, stamps, _texts, st.just(at))),
        stored=draw(st.none() | st.builds(Stored, stamps, _bodies, _types, _encodings)),
        entries=draw(_entries(number)),
        resent=latest(resent, None, outcome and outcome.stamp),
        published_again=draw(st.none() | stamps),
        own=draw(st.none() | st.builds(OwnMessage, stamps, st.sampled_from(["{}", '["é"]']))),
    )


@st.composite
def histories(draw: st.DrawFn, task_id: str, most: int = 6) -> list[TaskRecord]:
    """All events of one task."""
    return [draw(events(task_id, number)) for number in range(draw(st.integers(1, most)))]


@st.composite
def deliveries(draw: st.DrawFn, told: Sequence[T]) -> list[list[T]]:
    """*told* in any order, some of it twice, in batches."""
    again = draw(st.lists(st.sampled_from(told), max_size=len(told)))
    left = draw(st.permutations([*told, *again]))
    batches: list[list[T]] = []
    while left:
        size = draw(st.integers(1, len(left)))
        batches.append(left[:size])
        left = left[size:]
    return batches


def _stamps(at: Any, tag: str) -> st.SearchStrategy[str]:
    return st.builds(
        samples.stamp,
        _states.filter(lambda state: state != NOT_RUN),  # whose rank no other state has
        at,
        nesting=st.integers(0, 2),
        retries=st.integers(0, 12),
        tag=st.just(tag),
    )


@st.composite
def _outcomes(draw: st.DrawFn, stamps: st.SearchStrategy[str]) -> Outcome:
    state = draw(_states)
    stamp = draw(stamps)
    if state in (NOT_RUN, SUCCESS):  # adapters may know these by the rank alone
        stamp = stamp[:9] + RANK[state] + stamp[11:]
    known: dict[str, Any] = {
        name: draw(_texts)
        for name in ("worker", "result_text", "exception_type", "exception_message", "traceback")
    }
    return samples.outcome(
        state,
        stamp=stamp,
        date_started=draw(_dates),
        date_done=draw(_dates) if state in FINISHED else None,
        runtime=draw(st.none() | st.floats(0, 1e9)),
        result=draw(_json),
        result_form=draw(st.none() | st.sampled_from(["json", "repr"])),
        children=draw(st.none() | st.just('["a"]')),
        expire_at=draw(_expiries) if state in FINISHED else None,
        fingerprint=draw(st.sampled_from([None, "1-a", "1-b"])) if state in FINISHED else None,
        **known,
    )


@st.composite
def _messages(draw: st.DrawFn, stamps: st.SearchStrategy[str]) -> Message:
    known: dict[str, Any] = {name: draw(_texts) for name in Message._fields}
    known |= {
        "stamp": draw(stamps),
        **{name: draw(_json) for name in ("embed", "headers", "properties", "notes")},
        "args": draw(_arguments),
        "kwargs": draw(_arguments),
        "body": draw(st.none() | _bodies),
        "priority": draw(st.none() | st.integers(-10, 255)),
        "eta": draw(_dates),
        "expires": draw(_dates),
    }
    return Message(**known)


@st.composite
def _entries(draw: st.DrawFn, number: int) -> tuple[Entry, ...]:
    count = draw(st.sampled_from([0, 0, 1, 2]))
    found = []
    for index in range(count):
        at = samples.after(draw(st.integers(0, 20)))
        found.append(
            samples.entry(
                draw(st.sampled_from(["FAILURE", "RETRY", INTERRUPTED])),
                at,
                stamp=draw(_stamps(st.just(at), f"{number:x}{index:x}")),
                retries=draw(st.integers(0, 12)),
                worker=draw(_texts),
                date_started=draw(_dates),
                exception_message=draw(_texts),
            )
        )
    return tuple(sorted(found, key=lambda entry: entry.stamp))
