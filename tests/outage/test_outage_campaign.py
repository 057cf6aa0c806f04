"""Outages and kills, with real workers and servers: samples of the campaigns, and the campaigns."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.campaigns import crashes, outage

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = ("killed", "read-only", outage.BROKER)
SLOW = {("mongodb", "cut", "direct")}
"""PyMongo finds the server again, in a tenth of a second: writes get through, and wait for that."""
SECONDS = float(os.environ.get("FULLRESULT_TEST_OUTAGE_SECONDS", "30"))
ROUNDS = int(os.environ.get("FULLRESULT_TEST_CRASHES", "500"))


@pytest.mark.slow
def test_no_task_fails_waits_or_is_lost_whatever_ails_the_storage(tmp_path: Path) -> None:
    """A short sample; that nobody waits longer than once is measured by the campaign."""
    with outage.campaign("postgresql", tmp_path / "scene", rate=40, write="direct") as campaign:
        for trouble in SAMPLE:
            told = campaign.round(trouble, 2.0, calm=0.2)

            assert told.published > 20
            assert bool(told.refused) == (trouble == outage.BROKER)
            assert told.recovery < 20, told
            if trouble != outage.BROKER:
                assert max(took for _, took in told.publishes) < outage.TIMEOUT + 2, told


@pytest.mark.campaign
@pytest.mark.parametrize("write", ["direct", "spooled"])
@pytest.mark.parametrize("storage", sorted(outage.TROUBLES))
def test_outages(storage: str, write: str, tmp_path: Path) -> None:
    """Each trouble for half a minute, at 200 tasks a second."""
    troubles = [*sorted(outage.TROUBLES[storage]), outage.BROKER]
    with outage.campaign(storage, tmp_path / "scene", rate=200, write=write) as campaign:
        for trouble in troubles:
            told = campaign.round(trouble, SECONDS)

            print(told)  # noqa: T201
            if trouble != outage.BROKER:
                assert told.recovery < 10, told
                if (storage, trouble, write) in SLOW:
                    assert told.p99(told.publishes) < outage.TIMEOUT, told
                else:
                    assert told.added < 0.01, told


@pytest.mark.parametrize("write", [pytest.param("direct", marks=pytest.mark.campaign), "spooled"])
@pytest.mark.slow
def test_no_kill_makes_a_record_say_what_did_not_happen(write: str, tmp_path: Path) -> None:
    with crashes.campaign("sqlite", tmp_path / "scene", write=write) as campaign:
        for seed in range(12):
            campaign.round(seed)
        campaign.stop()

        campaign.check()

    assert sum(campaign.killed.values()) == 12


@pytest.mark.campaign
@pytest.mark.parametrize("write", ["direct", "spooled"])
@pytest.mark.parametrize("storage", ["sqlite", "postgresql", "mongodb"])
def test_kills(storage: str, write: str, tmp_path: Path) -> None:
    """Hundreds, each at a random moment."""
    with crashes.campaign(storage, tmp_path / "scene", write=write) as campaign:
        for seed in range(ROUNDS):
            campaign.round(seed)
        campaign.stop()

        print(campaign.check())  # noqa: T201
