"""The plan of RedBeat, whose scheduler lists only what is due about now."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.schedules import crontab

from fullresult import FullResult
from tests.kit.scheduling import received

if TYPE_CHECKING:
    from pathlib import Path


def test_all_entries_are_listed_and_can_be_triggered(redis_url: str, tmp_path: Path) -> None:
    redbeat = pytest.importorskip("redbeat")
    tomorrow = datetime.now(timezone.utc) + timedelta(hours=20)
    app = Celery("proj", set_as_current=False)
    app.conf.update(
        broker_url=redis_url,
        redbeat_redis_url=redis_url,
        redbeat_redis_options={},
        beat_scheduler="redbeat.RedBeatScheduler",
        fullresult_storage=f"sqlite:///{tmp_path}/records.db",
    )
    daily = crontab(hour=str(tomorrow.hour), minute="0")
    for name, enabled in (("nightly", True), ("paused", False)):
        entry = redbeat.RedBeatSchedulerEntry(name, "shop.x", daily, app=app, enabled=enabled)
        entry.save()
        entry.reschedule()

    with closing(FullResult(app)) as full, app:
        listed = {each.name: each for each in full.periodic()}
        checked = [(each.rule, each.task, each.count) for each in full.check().found]
        full.trigger("nightly")

        assert received(app) != []
    assert {name: listed[name].enabled for name in ("nightly", "paused")} == {
        "nightly": True,
        "paused": False,
    }
    assert checked == [("FR008", "shop.x", 1)]  # what is switched off breaks nothing
    due = listed["nightly"].next_due
    assert due is not None
    assert timedelta(0) < due - datetime.now(timezone.utc) < timedelta(days=1)
    assert listed["paused"].next_due is None
