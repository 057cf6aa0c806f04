"""A pickle is read as data: what it says is known, and nothing that it names is touched."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import decimal
import os
import pickle
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullresult.importers import pickles
from fullresult.importers.pickled_values import NotRead, Opaque
from fullresult.importers.values import from_text

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ZONE = dt.timezone(dt.timedelta(hours=2))
PLAIN = [
    None,
    True,
    -(2**70),
    1.5,
    "ünï",
    b"\x00\xff",
    [1, [2, {"a": (3,)}]],
    {"set": {1, 2}, "frozen": frozenset({3})},
    dt.datetime(2026, 1, 31, 14, 0, 0, 5, ZONE),
    [dt.date(2026, 1, 31), dt.time(1, 2), dt.timedelta(days=2)],
    decimal.Decimal("1.10"),
    [uuid.UUID(int=7), {"again": uuid.UUID(int=7)}],
    collections.OrderedDict(a=1),
    bytearray(b"abc"),
    complex(1, 2),
]


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/owned-by-a-pickle",)


class Own:
    def __init__(self) -> None:
        self.value = 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_a_plain_value_is_read(value: Any, protocol: int) -> None:
    read = pickles.read(pickle.dumps(value, protocol))

    assert read == value or (isinstance(value, bytearray) and read == bytes(value))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    ),
    st.sampled_from(PROTOCOLS),
)
def test_any_plain_value_is_read(value: Any, protocol: int) -> None:
    assert pickles.read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_called(protocol: int) -> None:
    read = pickles.read(pickle.dumps([Evil()], protocol))

    assert isinstance(read[0], Opaque)
    assert read[0].args == ("touch /tmp/owned-by-a-pickle",)
    assert not os.path.exists("/tmp/owned-by-a-pickle")  # noqa: PTH110


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_object_is_its_name_and_its_state(protocol: int) -> None:
    read = pickles.read(pickle.dumps(Own(), protocol))

    assert str(read.name).endswith("Own")
    assert read.state == {"value": 1}
    assert repr(read).endswith("Own: not read>")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"cposix\nsystem\n(S'true'\ntR.", id="the oldest protocol"),
        pytest.param(b"(S'true'\niposix\nsystem\n.", id="INST"),
        pytest.param(b"\x80\x02cbuiltins\neval\nU\x011\x85R.", id="eval"),
        pytest.param(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", id="STACK_GLOBAL"),
        pytest.param(b"\x80\x02cos\nsystem\nU\x04true\x85\x81.", id="NEWOBJ"),
    ],
)
def test_a_function_by_any_opcode_is_only_named(data: bytes) -> None:
    assert isinstance(pickles.read(data), Opaque)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"", "broken", id="nothing"),
        pytest.param(b"\x80\x04.", "broken", id="an empty stack"),
        pytest.param(b"]q\x01h\x01a.", "deep|many", id="a list in itself"),
        pytest.param(b"\x80\x02" + b"(" * 300 + b"l" * 300 + b".", "deep|many", id="nested"),
        pytest.param(b"\x80\x02h\xff.", "broken", id="no such memo"),
        pytest.param(
            b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa.", "broken", id="a false length"
        ),
        pytest.param(b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fa.", "broken", id="false bytes"),
        pytest.param(b"Pthere\n.", "outside", id="a persistent id"),
        pytest.param(b"\x80\x02\x82\x01.", "outside", id="an extension"),
    ],
)
def test_a_broken_or_endless_pickle_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotRead, match=why):
        pickles.read(data)


def test_a_small_pickle_that_stands_for_a_huge_value_is_refused() -> None:
    value: Any = ["x"]
    for _ in range(40):
        value = [value, value]

    with pytest.raises(NotRead, match="many"):
        pickles.read(pickle.dumps(value))


_TWICE_AND_TWICE = b"I1\n" + b"2\x86" * 60
"""A tuple of itself twice, sixty times: to hash it or to have its text takes for ever."""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"cbuiltins\ndict\n](](" + _TWICE_AND_TWICE + b"I1\nee\x85R.", id="dict"),
        pytest.param(
            b"ccollections\nOrderedDict\n](](" + _TWICE_AND_TWICE + b"I1\nee\x85R.",
            id="OrderedDict",
        ),
    ],
)
def test_a_key_that_takes_for_ever_to_be_hashed_is_a_text(data: bytes) -> None:
    assert pickles.read(b"\x80\x02" + data) == {"<pickled tuple>": 1}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"cdecimal\nDecimal\n" + _TWICE_AND_TWICE + b"\x85R.", id="Decimal"),
        pytest.param(
            b"czoneinfo\nZoneInfo._unpickle\n" + _TWICE_AND_TWICE + b"I1\n\x86R.", id="ZoneInfo"
        ),
    ],
)
def test_what_takes_for_ever_to_be_written_is_refused(data: bytes) -> None:
    with pytest.raises(NotRead, match="many"):
        pickles.read(b"\x80\x02" + data)


@pytest.mark.parametrize("kind", [b"bytes", b"bytearray"])
def test_a_number_makes_no_bytes(kind: bytes) -> None:
    two_gigabytes = b"\x80\x02cbuiltins\n" + kind + b"\nJ\xff\xff\xff\x7f\x85R."

    assert isinstance(pickles.read(two_gigabytes), Opaque)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    with contextlib.suppress(NotRead):
        pickles.read(b"\x80\x04" + data + b".")


def test_letters_beyond_ascii_are_neither_json_nor_a_pickle() -> None:
    with pytest.raises(NotRead, match="neither JSON nor a pickle"):
        from_text("\u20ac")
