"""Tasks to run later, of an app whose `send_task` is its own: as without us, but stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from fullresult import FullResult
from tests.kit.scheduling import messages, received, waiting

HOUR = 3600


@contextmanager
def installed(app: Celery, directory: Path) -> Iterator[Celery]:
    app.conf.update(
        broker_url="memory://",
        fullresult_storage=f"sqlite:///{directory / 'records.db'}",
        fullresult_schedule_eta=True,
    )
    full = FullResult(app)
    yield app
    full.close()
    app.close()


class Once(Celery):  # type: ignore[misc]  # Celery has no types
    """Publishes each name once, and after that answers with what it has published."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.published: dict[str, str] = {}

    def send_task(self, name: str, *given: Any, **options: Any) -> Any:
        if name in self.published:
            return AsyncResult(self.published[name], app=self)
        result = super().send_task(name, *given, **options)
        self.published[name] = result.id
        return result


class Numbering(Celery):  # type: ignore[misc]
    """Has ids of its own."""

    def send_task(self, name: str, *given: Any, **options: Any) -> Any:
        return super().send_task(name, *given, **{**options, "task_id": f"{name} no. 1"})


class Stubborn(Celery):  # type: ignore[misc]
    """Publishes with a producer of its own, whatever it is given."""

    def send_task(self, name: str, *given: Any, **options: Any) -> Any:
        with self.producer_pool.acquire(block=True) as producer:
            return super().send_task(name, *given, **{**options, "producer": producer})


class Outbox(Celery):  # type: ignore[misc]
    """Keeps what it is to publish in a table, for a relay."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.rows: list[tuple[Any, Any]] = []

    def send_task(self, *given: Any, **options: Any) -> Any:
        self.rows.append((given, self.row(options)))
        return AsyncResult(options["task_id"], app=self)

    def row(self, options: dict[str, Any]) -> dict[str, Any]:
        kept = ("args", "kwargs", "task_id", "eta", "countdown")
        return {name: value for name, value in options.items() if name in kept}

    def relay(self) -> None:
        rows, self.rows = self.rows, []
        for given, options in rows:
            Celery.send_task(self, *given, **options)


class OnCommit(Outbox):
    """Keeps all that it is given, also the producer."""

    def row(self, options: dict[str, Any]) -> dict[str, Any]:
        return options


@pytest.mark.parametrize("kind", [Outbox, OnCommit])
@pytest.mark.parametrize("when", ["countdown", "eta"])
def test_one_that_publishes_later_still_knows_when(
    kind: type[Outbox], when: str, tmp_path: Path
) -> None:
    due = datetime.now(timezone.utc) + timedelta(hours=1)
    with installed(kind("shop", set_as_current=False), tmp_path) as app:
        app.conf.broker_pool_limit = 2
        for _ in range(5):
            app.send_task("shop.charge", **{when: HOUR if when == "countdown" else due})

        app.relay()

        etas = [datetime.fromisoformat(each.headers["eta"]) for each in messages(app)]
        assert len(etas) == 5
        assert all(abs(eta - due) < timedelta(minutes=1) for eta in etas)


def test_one_that_publishes_later_with_our_producer_is_recorded(tmp_path: Path) -> None:
    with installed(OnCommit("shop", set_as_current=False), tmp_path) as app:
        result = app.send_task("shop.charge", countdown=HOUR)

        app.relay()

        assert app.fullresult.get(result.id).state == "PENDING"
        assert waiting(app) == []


def test_one_that_publishes_nothing_is_heard(tmp_path: Path) -> None:
    with installed(Once("shop", set_as_current=False), tmp_path) as app:
        first = app.send_task("shop.charge", countdown=HOUR)

        again = app.send_task("shop.charge", countdown=HOUR)

        assert again.id == first.id
        assert waiting(app) == [first.id]


def test_one_with_ids_of_its_own_has_them_stored(tmp_path: Path) -> None:
    with installed(Numbering("shop", set_as_current=False), tmp_path) as app:
        result = app.send_task("shop.charge", countdown=HOUR)

        assert result.id == "shop.charge no. 1"
        assert waiting(app) == ["shop.charge no. 1"]
        assert app.fullresult.get(result.id).state == "SCHEDULED"


def test_one_that_sends_at_once_what_was_to_wait_is_an_error(tmp_path: Path) -> None:
    """Its task runs too early, and nobody should have to find out by that."""
    with installed(Stubborn("shop", set_as_current=False), tmp_path) as app:
        with pytest.raises(RuntimeError, match="by a producer of its own"):
            app.send_task("shop.charge", countdown=HOUR)

        assert waiting(app) == []
        assert len(received(app)) == 1
