"""Arguments that no task can be called with are not exact, wherever they come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fullresult import CannotResend
from fullresult.importers.events import Events
from fullresult.importers.routes import Routes
from fullresult.importers.row import Row, Unreadable
from fullresult.importers.values import given_any, given_plain, given_repr
from tests.importers.test_importing import NOW
from tests.kit.celery_table import Table
from tests.kit.commands import sent
from tests.kit.original_table import OriginalTable
from tests.kit.other_results import importing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fullresult import FullResult


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    found = importing(f"sqlite:///{tmp_path}/records.db", fullresult_schedule_eta=True)
    found.setup()
    yield found
    found.close()


@pytest.mark.parametrize(
    ("part", "value"),
    [("args", "ab"), ("args", 7), ("args", {"a": 1}), ("args", None), ("kwargs", [1]),
     ("kwargs", "ab"), ("kwargs", None)],
)  # fmt: skip
def test_a_row_of_the_original_is_named_and_never_sent(
    full: FullResult, tmp_path: Path, part: str, value: Any
) -> None:
    table = OriginalTable(f"sqlite:///{tmp_path}/original.db")
    known: dict[str, Any] = {part: json.dumps(value)}
    ended, waiting = table.add(**known), table.add_waiting(**known)

    done = full.import_records("fulldbresult", table.url, take_scheduled=True)

    assert (done.read, done.unreadable, done.staying, done.taken) == (2, 2, 1, 0)
    assert f"its {part} are no JSON" in done.problems[ended]
    assert f"it stays there: its {part} are no JSON" in done.problems[waiting]
    assert table.claim_due() == [waiting]
    assert not full.scheduled()


@pytest.mark.parametrize(
    "known", [{"args": b'"ab"'}, {"kwargs": b"[1]"}, {"args": b"7"}, {"args": b'{"a": 1}'}]
)
def test_a_row_of_celery_has_only_a_text_of_them(
    full: FullResult, tmp_path: Path, known: dict[str, bytes]
) -> None:
    table = Table(tmp_path / "results.db")
    table.add("task-1", **known)

    done = full.import_records("celery", table.url)

    assert (done.new, done.resendable) == (1, 0)
    with pytest.raises(CannotResend):
        full.resend("task-1")
    assert sent(full.app) == []


@pytest.mark.parametrize(
    "given",
    [given_any(b'"ab"'), given_any("7"), given_plain("ab"), given_plain(7), given_repr("'ab'"),
     given_repr("5"), given_repr("{'a'}")],
)  # fmt: skip
def test_no_source_makes_them_exact(full: FullResult, given: Any) -> None:
    """An `argsrepr` may be any text."""
    made = Events("any", "much", full.settings, None, Routes(full.app))
    row = Row("id", "SUCCESS", changed=NOW, name="shop.add", args=given, kwargs=given_repr("{}"))

    event = made.of(row, None, NOW)

    assert event.message is not None
    assert event.message.body is None
    with pytest.raises(Unreadable):
        made.call_to_send(row)


@pytest.mark.parametrize("status", [None, ""])
def test_a_row_without_a_state_is_named(full: FullResult, tmp_path: Path, status: Any) -> None:
    table = Table(tmp_path / "results.db")
    table.add("task-1", status=status)

    done = full.import_records("celery", table.url)

    assert "its state is none" in done.problems["task-1"]
    assert full.get("task-1") is None
