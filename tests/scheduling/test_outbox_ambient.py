"""`fullresult_outbox = "default"`: all that is published in Django's `atomic()` waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult import FullResult
from tests.kit.outbox import publish, shop, stored
from tests.kit.outbox_django import DjangoCaller, by_django
from tests.kit.scheduling import received


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[DjangoCaller]:
    with by_django(f"sqlite:///{tmp_path}/shop.db") as caller:
        yield caller


@pytest.fixture
def full(caller: DjangoCaller, tmp_path: Path) -> Iterator[FullResult]:
    settings: dict[str, Any] = {"broker_url": "memory://", "broker_transport_options": {}}
    aliases = [caller.alias]
    with shop(f"sqlite:///{tmp_path}/shop.db", fullresult_outbox=aliases, **settings) as full:
        yield full


def test_in_atomic_a_task_waits_for_the_commit(full: FullResult, caller: DjangoCaller) -> None:
    caller.begin()
    kept = publish(full, 1)
    caller.savepoint()
    publish(full, 2)
    caller.rollback_to_savepoint()
    caller.commit()

    assert stored(full) == [kept]
    assert received(full.app, "celery") == []


def test_outside_a_task_is_published_as_without_an_outbox(
    full: FullResult, caller: DjangoCaller
) -> None:
    task_id = publish(full)
    caller.begin()
    with full.direct():
        direct = publish(full)
    caller.rollback()

    assert stored(full) == []
    assert received(full.app, "celery") == [task_id, direct]


def test_a_transaction_of_another_alias_is_none_of_its_business(
    full: FullResult, tmp_path: Path
) -> None:
    with by_django(f"sqlite:///{tmp_path}/other.db") as other:
        other.begin()
        task_id = publish(full)
        other.rollback()

    assert received(full.app, "celery") == [task_id]


def test_a_block_of_ones_own_is_taken_before_it(full: FullResult, caller: DjangoCaller) -> None:
    caller.begin()
    with full.outbox(caller.alias, at_least_once=True) as box:
        publish(full)
    publish(full)
    caller.commit()

    assert [schedule.at_least_once for schedule in full.scheduled()] == [True, False]
    assert len(box) == 1


def test_an_alias_must_be_text(tmp_path: Path) -> None:
    app = Celery("shop", set_as_current=False)
    app.conf.update(fullresult_storage=f"sqlite:///{tmp_path}/shop.db", fullresult_outbox=7)

    with pytest.raises(ImproperlyConfigured, match="aliases of Django's databases"):
        FullResult(app).setup()


def test_an_alias_may_be_the_database_of_an_outbox_alone(
    caller: DjangoCaller, tmp_path: Path
) -> None:
    """The records are elsewhere, and the site's data where the alias leads."""
    settings: dict[str, Any] = {
        "broker_url": "memory://",
        "broker_transport_options": {},
        "fullresult_outbox": caller.alias,
        "fullresult_outboxes": {caller.alias: f"sqlite:///{tmp_path}/shop.db"},
    }
    with shop(f"sqlite:///{tmp_path}/records.db", **settings) as full:
        full.setup(caller.alias)
        caller.begin()
        kept = publish(full, 1)
        caller.commit()
        found = full.parts.other_outboxes[caller.alias].get(kept), full.get(kept)

        assert stored(full) == [kept]
        assert found[0] is not None
        assert found[0] == found[1]
