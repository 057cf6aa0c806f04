"""The page on performance is what the figures of a night say, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import nightly, performance


@pytest.fixture
def night() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(performance.NIGHT.read_text(encoding="utf-8"))
    return found


def test_the_page_is_made_from_the_figures_beside_it(night: dict[str, Any]) -> None:
    page = performance.PAGE.read_text(encoding="utf-8")

    assert page == performance.page(night), "run python benchmarks/performance.py"


def test_all_that_a_night_measures_is_in_the_figures(night: dict[str, Any]) -> None:
    assert {*night["parts"]} == {*nightly.PARTS}
    assert all(part["figures"] for part in night["parts"].values())


def test_another_figure_makes_another_page(night: dict[str, Any]) -> None:
    before = performance.page(night)

    night["parts"]["sizes postgresql"]["figures"]["postgresql"]["bytes of WAL later"] = 12_345.0

    assert "12,345" not in before
    assert "12,345" in performance.page(night)


def test_a_promise_that_is_broken_is_said_to_be(night: dict[str, Any]) -> None:
    answers = night["parts"]["queries sqlite"]["figures"]["sqlite"]["answers"]

    answers["newest page"] |= {"middle": 10.5, "promised": 10.0}

    assert "10.5 (10, **not kept**)" in performance.page(night)
