"""Between which names those are that a glob matches, in either adapter."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullresult_storage_mongo import globs as mongo
from fullresult_storage_sql import globs as sql

Bounds = Callable[[str], tuple[str, str | None]]
TEXT = st.text(st.sampled_from("ab.é中\ud7ff\U0010ffff*?[]!-"), max_size=6)
BOTH = pytest.mark.parametrize("bounds", [sql.bounds, mongo.bounds], ids=["sql", "mongo"])


@BOTH
@given(pattern=TEXT, name=TEXT)
def test_every_match_is_within(bounds: Bounds, pattern: str, name: str) -> None:
    least, beyond = bounds(pattern)

    if fnmatchcase(name, pattern):
        assert least <= name
        assert beyond is None or name < beyond


@BOTH
@pytest.mark.parametrize(
    ("pattern", "between"),
    [
        ("shop.*", ("shop.", "shop/")),
        ("shop.pay", ("shop.pay", "shop.paz")),
        ("*.pay", ("", None)),
        ("\ud7ff*", ("\ud7ff", "\ue000")),
        ("\U0010ffff?", ("\U0010ffff", None)),
    ],
    ids=ascii,
)
def test_the_bounds_are_those_of_what_stands_before_the_first_wildcard(
    bounds: Bounds, pattern: str, between: tuple[str, str | None]
) -> None:
    assert bounds(pattern) == between
