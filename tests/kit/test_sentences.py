"""Pages are broken after each sentence, and nowhere else."""

from __future__ import annotations

import pytest

from tests.kit.sentences import one_sentence_a_line, sentences


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("It sends. django-celery-beat waits.", ["It sends.", "django-celery-beat waits."]),
        ("Call `a. B`. Then `c`.", ["Call `a. B`.", "Then `c`."]),
        ("See [it](a. b.md). Go on.", ["See [it](a. b.md).", "Go on."]),
        ('He said "no." She did not.', ['He said "no."', "She did not."]),
        ("Some, e.g. this, are kept.", ["Some, e.g. this, are kept."]),
        ("It stays (as it is. Always). Good.", ["It stays (as it is. Always).", "Good."]),
        ("**Lines.** A process waits. It pays.", ["**Lines.** A process waits.", "It pays."]),
        ("Python 3.10 is old.", ["Python 3.10 is old."]),
    ],
)
def test_a_paragraph_is_cut_into_its_sentences(text: str, wanted: list[str]) -> None:
    assert sentences(text) == wanted


def test_lines_of_one_sentence_become_one_and_others_are_broken() -> None:
    page = "# A title. Long\n\nOne sentence over\ntwo lines. Another\none.\n"

    assert one_sentence_a_line(page) == (
        "# A title. Long\n\nOne sentence over two lines.\nAnother one.\n"
    )


def test_a_list_keeps_its_items_and_their_indent() -> None:
    page = "- First. Second\n  part.\n- Other.\n\n  1. Inner. More.\n"

    assert one_sentence_a_line(page) == (
        "- First.\n  Second part.\n- Other.\n\n  1. Inner.\n     More.\n"
    )


def test_code_and_tables_stay_as_they_are() -> None:
    page = "```python\na = 1. + 2.\nb\n```\n\n| A. B | c |\n|---|---|\n"

    assert one_sentence_a_line(page) == page


def test_a_page_in_form_stays_as_it_is() -> None:
    page = "One. Two\nthree.\n\n* Four. Five.\n"

    once = one_sentence_a_line(page)

    assert one_sentence_a_line(once) == once
