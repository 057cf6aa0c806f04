"""A worker's card: what real workers say of themselves, and when it is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from fullresult.config import Settings
from fullresult.record.card import Card, WorkerCard
from fullresult.recording.heartbeat import KeptCard
from fullresult.storage import CardStorage, StorageError, WorkerStorage
from fullresult.testing import open_storage
from tests.kit import workers
from tests.kit.workers import Pool, Scene

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


class Maker:
    """Makes the card that a test wants."""

    def __init__(self) -> None:
        self.now = Card(queues=("a",))
        self.names: dict[str, dict[str, Any]] = {"shop.pay": {"acks_late": True}}

    def card(self, clock_ahead: float) -> Card:
        return replace(self.now, clock_ahead=clock_ahead)

    def registered(self) -> dict[str, dict[str, Any]]:
        return self.names


class Counting:
    """Passes cards on to a storage, or fails, and counts them."""

    def __init__(self, storage: CardStorage) -> None:
        self._storage = storage
        self.written = 0
        self.broken = False

    def note_card(self, card: WorkerCard, names: str) -> None:
        if self.broken:
            raise StorageError("no such table: fullresult_worker_card")
        self.written += 1
        self._storage.note_card(card, names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Counting]:
    with closing(open_storage(f"sqlite:///{tmp_path}/records.db")) as storage:
        assert isinstance(storage, CardStorage)
        yield Counting(storage)


def kept(storage: Counting) -> Card:
    [found] = storage.find_cards()
    return cast("WorkerCard", found).card


def test_a_card_is_written_only_when_it_changed(storage: Counting) -> None:
    maker = Maker()
    cards = KeptCard("w", maker)  # type: ignore[arg-type]
    for second in range(10):
        cards.keep(cast("CardStorage", storage), NOON + timedelta(seconds=second), 0.2)
    assert storage.written == 1
    assert kept(storage) == replace(maker.now, clock_ahead=0.2)

    maker.now = replace(maker.now, queues=("a", "b"))
    cards.keep(cast("CardStorage", storage), NOON + timedelta(seconds=11), 0.2)
    maker.names = {**maker.names, "shop.refund": {}}
    cards.keep(cast("CardStorage", storage), NOON + timedelta(seconds=12), 0.2)

    assert storage.written == 3
    assert kept(storage).queues == ("a", "b")
    [found] = storage.find_cards()
    [names] = storage.find_names([found.names_id]).values()
    assert json.loads(names) == {"shop.pay": {"acks_late": True}, "shop.refund": {}}


def test_a_clock_that_moves_by_less_than_a_second_is_no_change(storage: Counting) -> None:
    cards = KeptCard("w", Maker())  # type: ignore[arg-type]
    for second, ahead in enumerate((0.0, 0.4, -0.4, 0.9, 1.3, 1.4, 0.5)):
        cards.keep(cast("CardStorage", storage), NOON + timedelta(seconds=second), ahead)

    assert storage.written == 2
    assert kept(storage).clock_ahead == 1.3


def test_a_card_that_cannot_be_kept_is_said_once_and_tried_again(
    storage: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    storage.broken = True
    cards = KeptCard("w", Maker())  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "fullresult"):
        for second in range(3):
            cards.keep(cast("CardStorage", storage), NOON + timedelta(seconds=second), 0.0)
    assert [record.getMessage() for record in caplog.records] == [
        "fullresult: this worker's card is not kept: no such table: fullresult_worker_card"
    ]

    storage.broken = False
    cards.keep(cast("CardStorage", storage), NOON + timedelta(seconds=9), 0.0)

    assert kept(storage).queues == ("a",)


def test_a_card_of_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    assert Card.of('{"queues": ["a"], "moons": 2}') == Card(queues=("a",))
    assert Card.of("broken") == Card()


@pytest.mark.parametrize("wrong", ["", "x" * 65, "two\nlines", 7])
def test_a_release_that_no_stamp_can_hold_is_refused(wrong: object) -> None:
    from celery import Celery
    from celery.exceptions import ImproperlyConfigured

    app = Celery(set_as_current=False)
    app.conf.fullresult_release = wrong

    with pytest.raises(ImproperlyConfigured, match="fullresult_release"):
        Settings.of(app)


def test_the_environment_names_the_release_where_no_key_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from celery import Celery

    monkeypatch.setenv("FULLRESULT_RELEASE", "from the environment")
    app = Celery(set_as_current=False)
    assert Settings.of(app).release == "from the environment"

    app.conf.fullresult_release = "from the key"

    assert Settings.of(app).release == "from the key"


POOLS = [
    pytest.param("prefork"),
    *(pytest.param(pool, marks=pytest.mark.campaign) for pool in ("solo", "threads", "gevent")),
]


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_says_what_it_is(redis_url: str, tmp_path: Path, pool: Pool) -> None:
    settings: dict[str, Any] = {
        "fullresult_heartbeat": 0.5,
        "fullresult_release": "r~1 @ #2!",
        "broker_transport_options": {"visibility_timeout": 77},
    }
    url = f"sqlite:///{tmp_path}/records.db"
    with (
        workers.scene(redis_url, url, tmp_path, **settings) as scene,
        scene.worker("-Q", "celery,b", pool=pool, concurrency=1) as worker,
    ):
        storage = scene.full.storage
        assert isinstance(storage, CardStorage)
        assert workers.until(lambda: card_of(scene) is not None)
        card = card_of(scene)
        assert card is not None
        assert (card.queues, card.pool, card.processes) == (("b", "celery"), pool, 1)
        assert (card.prefetch, card.acks_late, card.visibility_timeout) == (1, False, 77.0)
        assert card.accept_content == ("json",)
        assert (card.namespace, card.release) == (scene.full.settings.namespace, "r~1 @ #2!")
        assert card.pid == worker.pid
        assert {"python", "celery", "kombu", "fullresult"} == {*card.versions}
        assert abs(card.clock_ahead) < 5
        names_id = storage.find_cards()[0].names_id
        # They are kept after the card.
        assert workers.until(lambda: storage.find_names([names_id]))
        [names] = storage.find_names([names_id]).values()
        assert "scenario.add" in json.loads(names)
        assert json.loads(names)["scenario.wait_for_late"]["acks_late"] is True

        scene.app.control.add_consumer("c", reply=True)
        assert workers.until(lambda: "c" in (card_of(scene) or Card()).queues)
        scene.app.control.cancel_consumer("b", reply=True)
        assert workers.until(lambda: (card_of(scene) or Card()).queues == ("c", "celery"))

        task_id = scene.send("add", 1, 2)
        [run] = scene.eventually(task_id, workers.is_finished).executions
        assert isinstance(storage, WorkerStorage)
        [known] = storage.find_workers()
        assert (run.worker_id, run.release) == (known.worker_id, "r~1 @ #2!")
        assert run.redelivered is False


def card_of(scene: Scene) -> Card | None:
    assert isinstance(scene.full.storage, CardStorage)
    found = scene.full.storage.find_cards()
    return found[0].card if found else None


@pytest.mark.slow
def test_a_second_delivery_says_that_it_is_one(rabbitmq_url: str, tmp_path: Path) -> None:
    url, gate = f"sqlite:///{tmp_path}/records.db", tmp_path / "gate"
    with workers.scene(rabbitmq_url, url, tmp_path, fullresult_heartbeat=0.5) as scene:
        with scene.worker() as first:
            task_id = scene.send("wait_for_late", str(gate))
            scene.eventually(task_id, workers.is_started)
            first.kill()
        with scene.worker():
            gate.touch()
            record = scene.final(task_id, "SUCCESS")

    assert [run.redelivered for run in record.executions] == [False, True]
    assert len({run.worker_id for run in record.executions} - {None}) == 2
