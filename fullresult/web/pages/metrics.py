"""`/metrics`: numbers for Prometheus, asked anew at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.routing import Route

from fullresult.insight.failures import MOST
from fullresult.web.shown import line
from fullresult.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from fullresult.insight.failures import Failure
    from fullresult.insight.fleet import Fleet
    from fullresult.insight.overview import Overview
    from fullresult.insight.queues import Queues, QueueSeen
    from fullresult.insight.replica import Behind
    from fullresult.insight.statistics import Statistics
    from fullresult.web.site import Site

WINDOW = timedelta(minutes=5)
_COUNTING = 0.5
"""Seconds for counting tasks: a scrape has a bound."""
_GROUPS = 50
_QUANTILES = (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
_OUTCOMES = ("tasks", "started", "succeeded", "failed", "dropped", "retried")


def metrics(request: Request) -> Response:
    """Numbers of the last 5 minutes, and of what is late now."""
    site = site_of(request)
    if not site.can.statistics:
        return site.error(request, 501, "This storage makes no statistics.")
    registry = CollectorRegistry()
    reading = site.full.reading
    overview = reading.overview(WINDOW, buckets=10, seconds=_COUNTING)
    fleet = site.full.workers(running=False) if site.can.workers else None
    failures = (
        reading.failures.find(WINDOW, all=True, limit=_GROUPS * 10) if site.can.failures else []
    )
    if reading.behind is not None:
        registry.register(_OfReplica(reading.behind))
    registry.register(_Collector(overview, fleet, site.full.queues(), failures, _states(site)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Collector:
    """Hands what was found to prometheus_client."""

    def __init__(
        self,
        found: Overview,
        fleet: Fleet | None,
        queues: Queues,
        failures: list[Failure],
        replays: Counter[str],
    ) -> None:
        self._replays = replays
        self._found = found
        self._fleet = fleet
        self._queues = queues
        self._failures = failures

    def collect(self) -> Iterator[Metric]:
        yield from _now(self._found)
        yield from _lately(self._found.statistics)
        yield from () if self._fleet is None else _workers(self._fleet)
        yield from _of_queues(self._queues)
        yield _of_failures(self._failures)
        yield from _of_replays(self._replays)


class _OfReplica:
    """The same of the replica."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "fullresult_replica_is_read",
            "1 if what is counted was read from the replica, 0 if from the storage.",
            value=int(self._behind.is_read),
        )
        if self._behind.seconds is not None:
            yield GaugeMetricFamily(
                "fullresult_replica_behind_seconds",
                "How far the replica is behind, at most.",
                value=self._behind.seconds,
            )


def _states(site: Site) -> Counter[str]:
    """The number of replays in each state; none where the storage keeps none."""
    if not site.can.replays:
        return Counter()
    return Counter(replay.state for replay in site.full.replays.list())


def _of_replays(states: Counter[str]) -> Iterator[Metric]:
    family = GaugeMetricFamily("fullresult_replays", "Replays in each state.", labels=["state"])
    for state, number in states.items():
        family.add_metric([line(state, 40)], number)
    if states:
        yield family


def _workers(fleet: Fleet) -> Iterator[Metric]:
    yield GaugeMetricFamily("fullresult_workers_alive", "Workers that live.", value=fleet.alive)
    yield GaugeMetricFamily(
        "fullresult_workers_gone", "Workers that should live and do not.", value=fleet.gone
    )
    yield GaugeMetricFamily(
        "fullresult_orphaned_tasks",
        "Tasks that were running on a worker that is gone.",
        value=fleet.orphans,
    )


def _of_failures(found: list[Failure]) -> Metric:
    minutes = int(WINDOW.total_seconds() // 60)
    family = GaugeMetricFamily(
        "fullresult_recent_failures",
        f"Failures in the last {minutes} minutes, of the {_GROUPS} groups with the most of them; "
        f"{MOST} may be more.",
        labels=["group", "name"],
    )
    for each in sorted(found, key=lambda failure: -failure.count)[:_GROUPS]:
        family.add_metric([each.fingerprint, line(each.name or "", 200)], each.count)
    return family


def _of_queues(found: Queues) -> Iterator[Metric]:
    for name, (about, value_of) in _QUEUE.items():
        family = GaugeMetricFamily(f"fullresult_queue_{name}", about, labels=["queue"])
        for queue in found.queues:
            value = value_of(queue, found.at)
            if value is not None:
                family.add_metric([line(queue.name, 200)], value)
        yield family


def _oldest(queue: QueueSeen, now: datetime) -> float | None:
    return None if queue.oldest is None else max((now - queue.oldest).total_seconds(), 0)


_QUEUE: dict[str, tuple[str, Callable[[QueueSeen, datetime], float | None]]] = {
    "ready": ("Messages that no worker has taken, by the broker.", lambda queue, _: queue.ready),
    "recorded": (
        "Tasks that wait, by the records, among the 1000 that wait longest.",
        lambda queue, _: queue.recorded,
    ),
    "oldest_seconds": ("How long the task waits that waits longest.", _oldest),
    "consumers": ("Consumers, by the broker or by the cards of workers.", lambda q, _: q.consumers),
    "unconsumed": (
        "1 if something waits and nobody consumes it.",
        lambda queue, _: int(queue.problem is not None),
    ),
    "paused": ("1 if somebody paused it.", lambda queue, _: int(queue.paused is not None)),
    "in_per_minute": ("Tasks published, a minute.", lambda queue, _: queue.per_minute_in),
    "out_per_minute": ("Tasks begun, a minute.", lambda queue, _: queue.per_minute_out),
}


def _now(found: Overview) -> Iterator[Metric]:
    by_state = GaugeMetricFamily(
        "fullresult_tasks",
        f"Tasks in each state; {found.cap} may be more, and where many thousands are open, each.",
        labels=["state"],
    )
    for state, number in found.states.items():
        by_state.add_metric([state], number)
    yield by_state
    cap = f"; {found.cap} may be more"
    single = {
        "fullresult_stale_tasks": (
            f"Not finished and not moved for long{cap}, and where many thousands are open, any.",
            found.stale,
        ),
        "fullresult_stale_scheduled_tasks": (
            f"Due for long and not sent{cap}.",
            found.stale_scheduled,
        ),
        "fullresult_stale_outbox_tasks": (
            f"Those of them in an outbox{cap}.",
            found.stale_in_outbox,
        ),
        "fullresult_sweeper_lag_seconds": (
            "How long the first of what waits to be sent has been due.",
            found.sweeper_lag.total_seconds(),
        ),
    }
    for name, (about, value) in single.items():
        yield GaugeMetricFamily(name, about, value=value)
    if found.last_sweep is not None:
        yield GaugeMetricFamily(
            "fullresult_last_sweep_timestamp_seconds",
            "When a sweeper was last at work.",
            value=found.last_sweep.timestamp(),
        )


def _lately(statistics: Statistics) -> Iterator[Metric]:
    minutes = int(WINDOW.total_seconds() // 60)
    counts = GaugeMetricFamily(
        "fullresult_recent_tasks",
        f"Tasks created in the last {minutes} minutes, and what became of them.",
        labels=["name", "outcome"],
    )
    times = {
        of: GaugeMetricFamily(
            f"fullresult_recent_{of}_seconds",
            f"Of the tasks created in the last {minutes} minutes.",
            labels=["name", "quantile"],
        )
        for of in ("wait", "run")
    }
    for task in statistics.tasks:
        name = "other" if task.name is None else line(task.name, 200)
        for outcome in _OUTCOMES:
            counts.add_metric(
                [name, "created" if outcome == "tasks" else outcome], getattr(task.total, outcome)
            )
        for of, family in times.items():
            if (found := getattr(task.total, of)) is not None:
                for quantile, percentile in _QUANTILES:
                    family.add_metric([name, quantile], getattr(found, percentile))
    exact = GaugeMetricFamily(
        "fullresult_recent_exact",
        "1 if every task of these minutes was counted, 0 if there may be more.",
        value=int(statistics.total.exact),
    )
    yield from (counts, *times.values(), exact)


routes = [Route("/metrics", metrics)]
