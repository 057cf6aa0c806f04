"""Several apps in one process: a record goes to the storage of the app that publishes or runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, shared_task, signature
from celery._state import _get_current_app, _set_current_app

from fullresult import FullResult


@shared_task(name="several.double")  # type: ignore[untyped-decorator]
def double(n: int) -> int:
    return n * 2


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def make(name: str, directory: Path, stack: ExitStack) -> FullResult:
    app = stack.enter_context(Celery(name, broker="memory://", set_as_current=False))
    app.conf.fullresult_storage = f"sqlite:///{directory}/{name}.db"
    full = FullResult(app)
    stack.callback(full.close)
    return full


@pytest.fixture
def shop(tmp_path: Path, stack: ExitStack) -> FullResult:
    return make("shop", tmp_path, stack)


@pytest.fixture
def bank(tmp_path: Path, stack: ExitStack) -> FullResult:
    return make("bank", tmp_path, stack)


@pytest.fixture(autouse=True)
def other_current_app(stack: ExitStack) -> Celery:
    """The current app is a third one, without fullresult: it must not matter."""
    before = _get_current_app()
    other = stack.enter_context(Celery("other", broker="memory://", set_as_current=False))
    _set_current_app(other)
    stack.callback(_set_current_app, before)
    return other


def names(full: FullResult) -> list[str]:
    return sorted(str(record.name) for record in full.find())


def test_each_app_records_what_it_publishes(shop: FullResult, bank: FullResult) -> None:
    shop.app.send_task("pay")
    bank.app.send_task("book")
    bank.app.send_task("book")

    assert names(shop) == ["pay"]
    assert names(bank) == ["book", "book"]


def test_an_app_without_fullresult_is_left_alone(
    shop: FullResult, other_current_app: Celery
) -> None:
    """Its publishes and runs fire the same signals, and are nobody's here."""
    other_current_app.send_task("elsewhere")
    other_current_app.tasks["several.double"].apply((1,))

    assert names(shop) == []


def test_each_app_records_what_it_runs(shop: FullResult, bank: FullResult) -> None:
    """One shared task, run by two apps: the record is with the app whose task it was."""
    in_shop = shop.app.tasks["several.double"].apply((1,))
    in_bank = bank.app.tasks["several.double"].apply((2,))

    assert {record.task_id: record.result for record in shop.find()} == {in_shop.id: 2}
    assert {record.task_id: record.result for record in bank.find()} == {in_bank.id: 4}


def test_a_shared_task_is_recorded_where_it_is_used(shop: FullResult, bank: FullResult) -> None:
    """`double.delay()` means the current app, whichever that is at the moment."""
    _set_current_app(shop.app)
    double.delay(1)
    _set_current_app(bank.app)
    double.delay(1)
    double.delay(1)

    assert (shop.count(), bank.count()) == (1, 2)


def test_a_task_of_one_app_may_publish_with_another(shop: FullResult, bank: FullResult) -> None:
    """While it runs, and while its own app publishes: neither takes the other for itself."""

    @shop.app.task(name="pay", shared=False)  # type: ignore[untyped-decorator]
    def pay() -> None:
        bank.app.send_task("book", task_id="booked")

    ran = pay.apply()

    assert {record.task_id: record.state for record in shop.find()} == {ran.id: "SUCCESS"}
    assert {record.task_id: record.state for record in bank.find()} == {"booked": "PENDING"}


def test_a_signal_receiver_may_publish_with_another_app(shop: FullResult, bank: FullResult) -> None:
    """As an audit log might: a publish inside a publish, each recorded once and in its place."""
    from celery.signals import before_task_publish

    def audit(sender: str, headers: dict[str, Any], **_: Any) -> None:
        if sender == "pay":
            bank.app.send_task("audit", args=[headers["id"]])

    before_task_publish.connect(audit, weak=False)
    try:
        paid = shop.app.send_task("pay", args=[7])
    finally:
        before_task_publish.disconnect(audit)

    (in_shop,) = shop.find()
    (in_bank,) = bank.find()
    assert (in_shop.task_id, in_shop.name, in_shop.args) == (paid.id, "pay", [7])
    assert (in_bank.name, in_bank.args) == ("audit", [paid.id])


def test_signatures_are_recorded_with_the_app_they_are_bound_to(
    shop: FullResult, bank: FullResult
) -> None:
    shop.app.signature("pay", (1,)).apply_async()
    signature("book", (2,), app=bank.app).apply_async()
    chain(shop.app.signature("first"), shop.app.signature("second")).apply_async()

    assert names(shop) == ["first", "pay"]
    assert names(bank) == ["book"]


def test_threads_that_publish_with_different_apps_do_not_mix(
    shop: FullResult, bank: FullResult
) -> None:
    barrier = threading.Barrier(4)

    def publish(full: FullResult, name: str) -> None:
        barrier.wait()
        for _ in range(25):
            full.app.send_task(name)

    jobs = [(shop, "pay"), (bank, "book")] * 2
    threads = [threading.Thread(target=publish, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert names(shop) == ["pay"] * 50
    assert names(bank) == ["book"] * 50


def test_two_apps_may_share_one_storage(shop: FullResult, stack: ExitStack) -> None:
    twin = stack.enter_context(Celery("twin", broker="memory://", set_as_current=False))
    twin.conf.fullresult_storage = shop.settings.storage
    full = FullResult(twin)
    stack.callback(full.close)

    shop.app.send_task("pay")
    twin.send_task("book")

    assert names(shop) == names(full) == ["book", "pay"]


def test_a_broken_storage_of_one_app_does_not_touch_the_other(
    bank: FullResult, stack: ExitStack
) -> None:
    app = stack.enter_context(Celery("broken", broker="memory://", set_as_current=False))
    app.conf.fullresult_storage = "sqlite:////no/such/directory/records.db"
    FullResult(app)

    app.send_task("lost")
    bank.app.send_task("book")

    assert names(bank) == ["book"]
