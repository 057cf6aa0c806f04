"""A failover of PostgreSQL under load, at each level of safety."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns.failover import Told, fail_over
from tests.kit.servers import ServerUnavailableError

pytestmark = pytest.mark.campaign


def told(directory: Path, *, commits: str | None, options: str = "", lag: float = 0.0) -> Told:
    try:
        found = fail_over(directory, commits=commits, options=options, lag=lag, rate=50, seconds=10)
    except ServerUnavailableError as error:
        pytest.skip(str(error))
    assert not found.raised
    assert found.ran == found.published > 50
    return found


def test_where_every_commit_waits_for_the_standby_no_event_is_lost(tmp_path: Path) -> None:
    found = told(tmp_path, commits="remote_apply", options="&synchronous=FULL")

    assert not any(found.lacking.values()), found


def test_where_ends_wait_for_the_standby_only_a_last_publish_or_start_is_lost(
    tmp_path: Path,
) -> None:
    found = told(tmp_path, commits="remote_apply")

    assert not any(found.lacking[part] for part in ("records", "messages", "ends")), found


def test_where_none_waits_no_task_fails_and_what_was_under_way_is_lost(tmp_path: Path) -> None:
    found = told(tmp_path, commits=None, lag=0.2)

    assert found.lacking["ends"] < found.published / 10, found
