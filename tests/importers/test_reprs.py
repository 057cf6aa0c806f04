"""Arguments of which a source has only a repr: exact where JSON holds them, else a text."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fullresult.importers.values import Given, given_plain, given_repr

_TEXTS = st.text() | st.just("__type__")
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS | st.binary()
VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(_TEXTS | st.integers(), inner),
        st.tuples(inner, inner),
        st.sets(st.integers(), min_size=1),
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(("text", "value"), [("()", ()), ("{}", {})])
def test_no_arguments_are_exact_and_shared_by_no_two_tasks(text: str, value: Any) -> None:
    first, second = given_repr(text), given_repr(text)

    assert first == second == Given(value, exact=True)
    assert value == () or first.value is not second.value


@given(VALUES)
def test_a_quick_answer_is_the_thorough_one(value: Any) -> None:
    text = repr(value)
    assume("..." not in text)  # what Celery puts in the place of what it leaves out
    try:
        thorough = given_plain(ast.literal_eval(text), text)
    except ValueError:  # of inf and nan there is no literal
        thorough = Given(text=text)

    assert given_repr(text) == thorough
