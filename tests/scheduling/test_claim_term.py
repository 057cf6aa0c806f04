"""A sweeper that was stopped sends nothing that somebody else may have by then."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fullresult import FullResult
from fullresult.actions.errors import CannotResend
from fullresult.record import REVOKED
from fullresult.scheduling import claim_term
from fullresult.scheduling.claim_term import Term, TermOver
from fullresult.scheduling.sender import Sender
from fullresult.storage import StorageError, clock
from tests.kit import sweeping, workers
from tests.kit.proxy import Delay
from tests.kit.scheduling import (
    PATIENCE,
    app_on,
    claimed,
    later,
    only,
    overdue,
    received,
    sweep,
    through_proxy,
    until,
    waiting,
)

SHORT = timedelta(seconds=2)
NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def sweep_with_short_terms(settings: dict[str, Any]) -> None:
    claim_term.FREE_AFTER = SHORT
    sweeping.sweep_until_stopped(settings)


@contextmanager
def stopped_in_mid_batch(full: FullResult, settings: dict[str, Any], url: str) -> Iterator[int]:
    """A sweeper process that has sent some of its batch, and is stopped."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=sweep_with_short_terms, args=[settings], daemon=True)
    process.start()
    assert process.pid
    try:
        until(lambda: len(sweeping.redis_ids(url)) >= 3)
        os.kill(process.pid, signal.SIGSTOP)
        assert len(full.scheduled(claimed=True, limit=None)) > 3
        yield process.pid
        process.terminate()
        process.join(PATIENCE)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join(PATIENCE)


def cancel(full: FullResult, ids: Sequence[str]) -> None:
    assert all(full.release(task_id) for task_id in ids)
    assert all(full.cancel(task_id) for task_id in ids)


def release(full: FullResult, ids: Sequence[str]) -> None:
    assert all(full.release(task_id) for task_id in ids)
    assert sweep(full).sent == len(ids)


def resend(full: FullResult, ids: Sequence[str]) -> None:
    for task_id in ids:
        full.resend_scheduled(task_id)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("storage", workers.storages("sqlite", "postgresql", "mongodb"))
@pytest.mark.parametrize("act", [cancel, release, resend])
def test_a_sweeper_that_was_stopped_sends_nothing_that_others_may_have(
    act: Callable[[FullResult, Sequence[str]], None],
    storage: str,
    redis_url: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claim_term, "FREE_AFTER", SHORT)
    with ExitStack() as stack:
        storage_url = stack.enter_context(workers.storage(storage, request, tmp_path))
        between, slow_url = stack.enter_context(through_proxy(redis_url))
        between.plan = lambda piece: Delay(0.05) if b"LPUSH" in piece else None
        settings = {"broker_url": slow_url, "fullresult_storage": storage_url}
        full = sweeping.make({**settings, "broker_url": redis_url})
        stack.callback(full.close)
        full.setup()
        ids = sweeping.schedule(full, 10, countdown=0.05)
        until(lambda: sweeping.due_and_waiting(full) == len(ids))

        with stopped_in_mid_batch(full, settings, redis_url) as pid:
            oldest = full.scheduled(claimed=True)[0].date_claimed
            assert oldest
            until(lambda: full.storage.now() - oldest > SHORT)
            sent = set(sweeping.redis_ids(redis_url))
            act(full, [task_id for task_id in ids if task_id not in sent])
            os.kill(pid, signal.SIGCONT)
            until(lambda: not full.scheduled(claimed=True))

        arrived = Counter(sweeping.redis_ids(redis_url))
        revoked = {record.task_id for record in full.find(state=REVOKED, limit=None)}
        assert set(arrived.values()) == {1}
        assert arrived.keys() | revoked == set(ids)
        assert not arrived.keys() & revoked


@pytest.fixture(params=["memory", "redis", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    kind = request.param
    return "memory://" if kind == "memory" else str(request.getfixturevalue(f"{kind}_url"))


def test_no_message_leaves_by_a_claim_that_is_too_old(
    broker_url: str, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked at the last moment: the sender may have waited for the broker for long."""
    with app_on({"broker_url": broker_url}, storage_url) as app:
        later(app, "one")
        schedule, now = only(app, "one"), app.fullresult.storage.now()
        sender = Sender(app)
        monkeypatch.setattr(claim_term, "FREE_AFTER", timedelta(0))
        old = Term(app.fullresult.storage.now)
        monkeypatch.undo()

        with pytest.raises(TermOver):
            sender.send(schedule, now, old)
        there = received(app)
        sender.send(schedule, now, Term(app.fullresult.storage.now))
        sender.close()

        assert there == []
        assert received(app) == ["one"]


def test_what_is_claimed_for_too_long_waits_again(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app_on({"broker_url": "memory://"}, storage_url) as app:
        overdue(app, "one")
        monkeypatch.setattr(claim_term, "FREE_AFTER", timedelta(0))

        swept = app.fullresult.parts.new_sweeper()._batch(10, ahead=False)

        assert (swept.sent, swept.released) == (0, 1)
        assert (waiting(app), claimed(app), received(app)) == (["one"], [], [])


def test_a_person_whose_process_was_stopped_sends_nothing_either(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app_on({"broker_url": "memory://"}, storage_url) as app:
        overdue(app, "one")
        monkeypatch.setattr(claim_term, "FREE_AFTER", timedelta(0))

        with pytest.raises(CannotResend, match="claimed too long ago"):
            app.fullresult.resend_scheduled("one")

        assert (waiting(app), claimed(app), received(app)) == (["one"], [], [])


# --- By which clock


def test_a_term_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine has no clock that does, by the storage's."""
    monkeypatch.setattr(clock, "_BOOTTIME", None)
    times = iter([NOON, NOON + timedelta(seconds=29), NOON + timedelta(seconds=30)])
    term = Term(lambda: next(times))

    term.check()

    with pytest.raises(TermOver):
        term.check()


def test_where_only_the_storage_knows_nothing_is_sent_without_it(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_BOOTTIME", None)
    with app_on({"broker_url": "memory://"}, storage_url) as app:
        later(app, "one")
        schedule, now = only(app, "one"), app.fullresult.storage.now()
        answers: Iterator[datetime] = iter([now])

        def ask() -> datetime:
            for answer in answers:
                return answer
            raise StorageError("away")

        with pytest.raises(StorageError, match="away"):
            Sender(app).send(schedule, now, Term(ask))

        assert received(app) == []


@pytest.mark.parametrize(
    ("rescue_after", "most"),
    [(None, 30), (timedelta(seconds=10), 5), (timedelta(minutes=5), 30)],
)
def test_a_term_is_half_of_the_age_at_which_others_may_take_the_claim(
    rescue_after: timedelta | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_BOOTTIME", None)
    times = [NOON, NOON + timedelta(seconds=most - 0.1), NOON + timedelta(seconds=most)]
    term = Term(lambda: times.pop(0), rescue_after)

    term.check()

    with pytest.raises(TermOver):
        term.check()
