"""Lines of the spool: what is written is what is read, and anything else is told from it."""

from __future__ import annotations

import json
from binascii import crc32
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullresult.outage import lines
from fullresult.outage.lines import Count, Frame, Unreadable, Withdrawal
from fullresult.record import Entry, Message, Outcome, Start, Stored, TaskRecord
from fullresult.testing import samples

DATES = st.integers(0, 253402300799_999).map(
    lambda milliseconds: samples.EPOCH + timedelta(milliseconds=milliseconds)
)
# Lone surrogates too: what came out of a broken message must not stop the rest.
TEXTS = st.text(st.characters(codec=None), max_size=20)
WHOLE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    bool: st.booleans(),
    int: st.integers(0, 999_999),
    float: st.floats(allow_nan=False),
    bytes: st.binary(max_size=20),
    datetime: DATES,
}


def parts(kind: type[Any], **of_fields: Any) -> st.SearchStrategy[Any]:
    """Any part of a record, each field of its type or, where that may be, None."""
    types = {name: str(hint) for name, hint in kind.__annotations__.items()}
    known = {
        name: _of_type(hint.replace("ForwardRef(", "").replace(")", "").strip("'"))
        for name, hint in types.items()
    }
    return st.builds(kind, **{**known, **of_fields})


def _of_type(hint: str) -> st.SearchStrategy[Any]:
    names = {kind.__name__: values for kind, values in WHOLE.items()}
    kind, _, optional = hint.partition(" | ")
    return st.none() | names[kind] if optional else names[kind]


EVENTS = st.builds(
    TaskRecord,
    TEXTS,
    DATES,
    DATES,
    st.none() | DATES,
    st.none() | parts(Outcome),
    st.none() | parts(Message),
    st.none() | parts(Start),
    st.none() | parts(Stored),
    st.lists(parts(Entry), max_size=2).map(tuple),
)
FRAMES: st.SearchStrategy[Frame] = (
    EVENTS | st.builds(Withdrawal, TEXTS) | parts(Count, expire_at=st.none() | DATES)
)


@given(FRAMES)
def test_a_frame_is_read_as_it_was_written(frame: Frame) -> None:
    line = lines.encode(frame)

    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert line.isascii()
    assert lines.decode(line[:-1]) == frame


@given(FRAMES, st.data())
def test_a_line_that_was_cut_anywhere_is_told_from_a_whole_one(frame: Frame, data: Any) -> None:
    line = lines.encode(frame)[:-1]
    cut = line[: data.draw(st.integers(0, len(line) - 1))]

    with pytest.raises(Unreadable):
        lines.decode(cut)


@given(FRAMES, st.data())
def test_a_line_with_a_flipped_bit_is_told_from_a_whole_one(frame: Frame, data: Any) -> None:
    line = bytearray(lines.encode(frame)[:-1])
    line[data.draw(st.integers(0, len(line) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(Unreadable):
        lines.decode(bytes(line))


@given(st.binary(max_size=100))
def test_noise_is_no_frame(noise: bytes) -> None:
    with pytest.raises(Unreadable):
        lines.decode(noise)


@pytest.mark.parametrize(
    "content",
    [b"Z[]", b"E{}", b"E[]", b"E[1,2,3,4,5,6,7,8,9]", b"Enull", b"W[1,2,3]", b"C[]", b"", b"E\xff"],
)
def test_a_sound_line_of_another_version_is_unreadable(content: bytes) -> None:
    with pytest.raises(Unreadable, match="another version"):
        lines.decode(b"%08x%b" % (crc32(content), content))


@given(FRAMES)
def test_fields_that_a_newer_version_added_are_left_out(frame: Frame) -> None:
    line = lines.encode(frame)[:-1]
    values = json.loads(line[9:])
    newer = [
        [*part, "new"] if isinstance(part, list) and place < 8 else part
        for place, part in enumerate(values)
    ]
    if isinstance(frame, TaskRecord):
        newer[8] = [[*entry, "new", 7] for entry in values[8]]
    content = line[8:9] + json.dumps([*newer, {"new": 1}]).encode()

    assert lines.decode(b"%08x%b" % (crc32(content), content)) == frame


def test_a_pickled_body_is_kept_as_the_bytes_that_it_is() -> None:
    """And nothing of it is ever loaded."""
    body = b"\x80\x05cos\nsystem\n(X\x02\x00\x00\x00lstR."
    event = samples.event("a", message=samples.message(body=body))

    read = lines.decode(lines.encode(event)[:-1])

    assert isinstance(read, TaskRecord)
    assert read.message is not None
    assert read.message.body == body


def test_what_is_no_part_of_an_event_is_not_written() -> None:
    event = samples.event("a", outcome=samples.outcome(result=object()))

    with pytest.raises(TypeError):
        lines.encode(event)


def test_a_date_is_aware_and_in_utc() -> None:
    read = lines.decode(lines.encode(samples.event("a"))[:-1])

    assert isinstance(read, TaskRecord)
    assert read.date_created.tzinfo is timezone.utc
