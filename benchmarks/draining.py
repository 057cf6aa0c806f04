"""How fast what is due leaves: one sweeper beside kombu alone, then several sweepers at once."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from kombu import Producer

from benchmarks.places import make_app, process
from fullresult.record.schedule import ScheduleQuery
from fullresult.recording.message import Payload, as_published

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celery import Celery

    from benchmarks.places import Places
    from fullresult.record.schedule import Schedule

_ROUNDS = 7
_MOST = {"redis": 1.2, "rabbitmq": 1.35}


def run(places: Places, storage: str, broker: str, scale: float) -> Iterator[str]:
    tasks = max(int(2000 * scale), 50)
    with places.storage(storage) as store, places.broker(broker) as url:
        app = make_app(url, store)
        yield _beside_kombu(app, storage, broker, tasks)
        for sweepers in (1, 2, 4):
            rate = _together(app, url, store, sweepers, tasks * 3)
            yield f"{storage}, {broker}: {sweepers} sweeper processes together {rate:,.0f} a second"
        app.fullresult.close()


def _beside_kombu(app: Celery, storage: str, broker: str, tasks: int) -> str:
    sweeper, alone = app.fullresult.parts.new_sweeper(), _Alone(app)
    kombu, ours, ratios = [], [], []
    for number in range(_ROUNDS + 1):
        schedules = _fill(app, tasks)
        first = [alone.publish(schedules)] if number % 2 else []
        start = time.perf_counter()
        swept = sweeper.sweep()
        took = time.perf_counter() - start
        assert swept.sent == tasks, swept
        spent = first or [alone.publish(schedules)]
        alone.purge()
        if number:  # the first round connects, and finds its pace
            kombu.append(spent[0])
            ours.append(took)
            ratios.append(took / spent[0])
    sweeper.close()
    alone.close()
    return (
        f"{storage}, {broker}: kombu alone {tasks / median(kombu):,.0f} a second, one sweeper "
        f"{tasks / median(ours):,.0f}: {median(ratios):.2f} times as long (at most "
        f"{_MOST[broker]})"
    )


def _fill(app: Celery, tasks: int) -> list[Schedule]:
    """Schedule *tasks*, and wait until the last is due."""
    for number in range(tasks):
        app.send_task("shop.pay", (number,), {"total": "12.50", "currency": "EUR"}, countdown=0.2)
    time.sleep(0.25)
    schedules: list[Schedule] = app.fullresult.storage.find_schedules(ScheduleQuery(limit=None))
    assert len(schedules) == tasks
    return schedules


class _Alone:
    """Kombu's producer by itself, confirming like the sweeper's."""

    def __init__(self, app: Celery) -> None:
        self._connection: Any = app.connection_for_write(heartbeat=0)
        if self._connection.transport.driver_type == "amqp":
            self._connection.transport_options["confirm_publish"] = True
        self._producer = Producer(self._connection.default_channel, auto_declare=False)

    def publish(self, schedules: Sequence[Schedule]) -> float:
        """Seconds that publishing takes; the messages are read before."""
        messages = [schedule.message for schedule in schedules]
        start = time.perf_counter()
        for stored in messages:
            stored.how.pop("declare")
            payload = Payload(stored.body, stored.content_type, stored.content_encoding)
            self._producer.publish(
                as_published(payload, None, self._producer),
                headers=stored.headers,
                content_type=stored.content_type,
                content_encoding=stored.content_encoding,
                retry=False,
                **stored.how,
            )
        return time.perf_counter() - start

    def purge(self) -> None:
        self._connection.default_channel.queue_purge("benchmark")

    def close(self) -> None:
        self._connection.release()


def _together(app: Celery, broker: str, store: str, sweepers: int, tasks: int) -> float:
    """Tasks a second, from the first sent to the last."""
    with ExitStack() as stack:
        for _ in range(sweepers):
            stack.enter_context(
                process(
                    "celery -A benchmarks.eta_app fullresult sweep --loop",
                    BENCHMARK_BROKER=broker,
                    BENCHMARK_STORE=store,
                    BENCHMARK_REPORT="/dev/null",
                )
            )
        due = app.fullresult.storage.now() + timedelta(seconds=5 + tasks * 0.001)
        for number in range(tasks):
            app.send_task("shop.pay", (number,), {"total": "12.50"}, eta=due)
        storage = app.fullresult.storage
        time.sleep(max((due - storage.now()).total_seconds(), 0))
        start = time.perf_counter()
        while storage.count_schedules(ScheduleQuery()):
            if time.perf_counter() - start > 120:
                raise TimeoutError("the sweepers do not come to an end")
            time.sleep(0.05)
        return tasks / (time.perf_counter() - start)
