"""Pages that come at once with what there is, and fill in the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.web.pages import periodic

if TYPE_CHECKING:
    import pytest
    from celery import Celery

    from tests.kit.browsing import Browser


def test_runs_for_which_there_was_no_time_are_looked_for_afterwards(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ten tasks always have theirs; a page without scripts links to the rest."""
    monkeypatch.setattr(periodic, "_AT_ONCE", 0.0)
    app.conf.beat_schedule = {
        f"entry {number:02}": {"task": f"shop.{number:02}", "schedule": 60.0}
        for number in range(12)
    }
    ids = [app.send_task(f"shop.{number:02}").id for number in range(12)]

    at_once, part, whole = (browser.get(f"/periodic{q}") for q in ("", "?part=1", "?runs=1"))

    assert [task_id in at_once.text for task_id in ids] == [True] * 9 + [False] * 3
    assert at_once.words.count("not looked for yet") == 3
    assert 'data-why="/periodic?part=1"' in at_once.text
    assert "/periodic?runs=1" in at_once.links
    for page in (part, whole):
        assert all(task_id in page.text for task_id in ids)
        assert "not looked for yet" not in page.words
    assert "<html" not in part.text
