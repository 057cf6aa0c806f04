"""The search box: what it understands, what it says, and that it reads what it writes."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullresult.insight import dates
from fullresult.web.search import NotUnderstood, Search, Term, like

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def test_every_qualifier_narrows_the_question() -> None:
    text = (
        "state:failure state:REVOKED -state:SUCCESS name:shop.* queue:mail worker:w1@host root:r "
        "group:g retry_of:o kwargs.order_id:42 args.1:ada exception:Declined since:2h until:1h "
        '"timed out"'
    )

    query = Search.read(text).query(NOW)

    assert query.states == ("FAILURE", "REVOKED")
    assert tuple(query.not_state) == ("SUCCESS",)
    assert (query.name, query.queue, query.worker) == ("shop.*", "mail", "w1@host")
    assert (query.root_id, query.group_id, query.retry_of) == ("r", "g", "o")
    assert query.kwargs == {"order_id": 42}
    assert (query.args_at, query.exception) == ({"1": "ada"}, "Declined")
    assert (query.since, query.until) == (NOW - 2 * HOUR, NOW - HOUR)
    assert query.text == "timed out"


@pytest.mark.parametrize(
    ("text", "kwargs"),
    [
        ("kwargs.a:1", {"a": 1}),
        ('kwargs.a:"1"', {"a": "1"}),
        ("kwargs.a:word", {"a": "word"}),
        ("kwargs.a:true", {"a": True}),
        ("kwargs.a:NaN", {"a": "NaN"}),
        ('kwargs.a:{"x": [1, 2]}', {"a": {"x": [1, 2]}}),
        ("kwargs.a.x:1 kwargs.a.y:2", {"a": {"x": 1, "y": 2}}),
        ("kwargs.a:", {"a": ""}),
        ("kwargs.a:2026-01-31", {"a": "2026-01-31"}),
    ],
)
def test_an_argument_is_json_or_a_bare_word(text: str, kwargs: object) -> None:
    assert Search.read(text).query(NOW).kwargs == kwargs


@pytest.mark.parametrize(
    ("text", "args_at"),
    [
        ("args.0:1", {"0": 1}),
        ('args.2:"1" args.0:word', {"2": "1", "0": "word"}),
        ("args.1.city:Porto args.1.zip:7", {"1": {"city": "Porto", "zip": 7}}),
        ("ARGS.0:1", {"0": 1}),
    ],
)
def test_an_argument_is_named_by_its_place(text: str, args_at: object) -> None:
    search = Search.read(text)

    assert search.query(NOW).args_at == args_at
    assert search.details() == {"q": "", "args_at": args_at}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("status:FAILURE", "no qualifier"),
        ("name:a name:b", "twice"),
        ("-name:a", "only states"),
        ("kwargs:a", "which one"),
        ("kwargs..a:1", "has a name"),
        ("args:a", "args.0:42"),
        ("args.a:1", "a number from 0"),
        ("args.1000:1", "0 to 999"),
        ("args.0:1 args.0.b:2", "inside"),
        ('"open', "not closed"),
        ('"a"b', "a space"),
        ("since:soon", "no date"),
        ("since:99999999999w", "no date"),
        ("kwargs.a:1 kwargs.a.b:2", "inside"),
        ("x" * 5000, "at most"),
    ],
)
def test_what_is_not_understood_is_said(text: str, said: str) -> None:
    with pytest.raises(NotUnderstood, match=said):
        Search.read(text).query(NOW)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TERMS = st.one_of(
    st.builds(Term, st.sampled_from(["", "name", "queue", "state", "-state", "since"]), TEXTS),
    st.builds(
        Term,
        st.sampled_from(["kwargs.a", "kwargs.a.b", "kwargs.été", "args.0", "args.1.b"]),
        st.sampled_from(["1", '"a b"', '{"x": [1, 2]}', "word", "-0.5", "null", ""]),
    ),
)


@given(st.lists(TERMS, max_size=6))
def test_what_is_written_is_read_as_it_was(terms: list[Term]) -> None:
    search = Search(tuple(terms))

    assert Search.read(str(search)) == search


@given(st.text(max_size=200))
def test_whatever_is_typed_is_a_question_or_a_sentence(text: str) -> None:
    with contextlib.suppress(NotUnderstood):
        search = Search.read(text)
        search.query(NOW)

        assert Search.read(str(search)) == search


def test_a_value_with_spaces_is_quoted_in_a_link() -> None:
    assert like("name", "two words") == 'name:"two words"'
    assert Search.read(like("name", 'a "b" c')).all("name") == ['a "b" c']


def test_a_tab_replaces_the_states_and_keeps_the_rest() -> None:
    search = Search.read("state:FAILURE name:shop.* lost")

    assert str(search.having("state", "SUCCESS")) == "state:SUCCESS name:shop.* lost"
    assert str(search.having("state")) == "name:shop.* lost"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("in 2h", NOW + 2 * HOUR),
        ("now", NOW),
        ("2026-05-05", datetime(2026, 5, 5, tzinfo=timezone.utc)),
        ("2026-05-05T10:00", datetime(2026, 5, 5, 10, tzinfo=timezone.utc)),
        ("2026-05-05T10:00Z", datetime(2026, 5, 5, 10, tzinfo=timezone.utc)),
        ("2026-05-05T10:00+02:00", datetime(2026, 5, 5, 8, tzinfo=timezone.utc)),
    ],
)
def test_a_date_to_come_is_read(text: str, at: datetime) -> None:
    assert dates.moment(text, NOW) == at


@pytest.mark.parametrize("text", ["", "2h", "in", "in 2x", "someday", "20260505"])
def test_what_is_no_date_to_come_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="no date"):
        dates.moment(text, NOW)
