"""`resend_many`: sent by a replay under the rules of the command and the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fullresult.actions.replays import MANY, WrongReplay
from tests.kit import browsing, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop(f"sqlite:///{tmp_path}/a.db") as app:
        yield app


def swept(app: Celery) -> None:
    storage, namespace = app.fullresult.storage, app.fullresult.settings.namespace
    storage.note_sweep(namespace, storage.now())


@pytest.mark.parametrize(
    "url", workers.storages("sqlite", "postgresql", "mongodb", slow=("mongodb",))
)
def test_many_that_are_sent_again_become_a_replay_of_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, url: str
) -> None:
    with (
        workers.storage(url, request, tmp_path) as storage,
        browsing.shop(storage) as app,
    ):
        full = app.fullresult
        browsing.failed(app, MANY + 1)
        swept(app)

        seen = full.resend_many(state="FAILURE", dry_run=True)
        report = full.resend_many(state="FAILURE", rate=5.0, actor="nightly")

        (replay,) = full.replays.list()
        assert (report.replay_id, report.fates, len(seen.would_send)) == (
            *(replay.replay_id, []),
            MANY + 1,
        )
        assert (replay.rate, replay.tasks.unresolved, replay.actor) == (5.0, True, "nightly")
        assert browsing.sent(app) == []


@pytest.mark.parametrize(
    ("number", "is_swept", "how"),
    [
        (MANY + 1, False, {}),
        (MANY, True, {}),
        (MANY + 1, True, {"at_once": True}),
        (MANY + 1, True, {"limit": MANY + 1}),
        (MANY + 1, True, {"all": True}),
    ],
)
def test_few_or_what_no_sweeper_would_send_are_sent_from_here(
    app: Celery, number: int, is_swept: bool, how: dict[str, Any]
) -> None:
    browsing.failed(app, number)
    if is_swept:
        swept(app)

    report = app.fullresult.resend_many(state="FAILURE", **how)

    assert (len(report.done), report.replay_id) == (number, None)
    assert len(browsing.sent(app)) == number
    assert app.fullresult.replays.list() == []


def test_what_a_replay_would_leave_out_whole_is_refused(app: Celery) -> None:
    for number in range(MANY + 1):
        app.send_task("shop.charge", args=(number,))
    swept(app)
    browsing.sent(app)

    with pytest.raises(WrongReplay, match=f"would send none of these: {MANY + 1} "):
        app.fullresult.resend_many(state="PENDING")

    assert app.fullresult.replays.list() == []
    assert browsing.sent(app) == []
