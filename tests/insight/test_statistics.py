"""Counts and percentiles by task and time, against a computation by brute force.

Long because each number is computed twice.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult, TaskQuery, TaskRecord
from fullresult.insight import census
from fullresult.insight.statistics import Counts, Percentiles, Statistics
from fullresult.insight.tally import MOST, MOST_NAMES, edges, percentiles, statistics
from fullresult.record import STATES
from fullresult.record.sample import Sample
from fullresult.storage import StorageError
from fullresult.testing import samples
from fullresult.testing.fixtures import write
from fullresult.testing.statistics import made_up
from tests.kit.commands import run

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
END = samples.NOON + MINUTE


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    """The memory of an app, empty."""
    app = Celery("proj", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'memory.db'}"
    full = FullResult(app)
    full.setup()
    yield full
    full.close()


def _brute(records: list[TaskRecord], since: datetime, until: datetime) -> dict[str, Any]:
    """The same numbers, counted one by one from what records say of themselves."""
    mine = [r for r in records if since <= r.date_created < until]
    waits = sorted(
        (
            r.start.date_started - max(r.date_published or r.date_created, r.eta or since)
        ).total_seconds()
        for r in mine
        if r.start
    )
    runs = sorted(
        max(r.runtime, 0.0)
        for r in mine
        if r.state in ("SUCCESS", "FAILURE") and r.runtime is not None
    )
    return {
        "tasks": len(mine),
        "published": sum(r.date_published is not None and r.state != "UNSENT" for r in mine),
        "started": sum(r.start is not None for r in mine),
        "succeeded": sum(r.state == "SUCCESS" for r in mine),
        "failed": sum(r.state == "FAILURE" for r in mine),
        "dropped": sum(r.state in ("REVOKED", "REJECTED", "IGNORED") for r in mine),
        "retried": sum(r.retries > 0 for r in mine),
        "wait": [max(wait, 0) for wait in waits],
        "run": runs,
    }


def _told(counts: Counts) -> dict[str, Any]:
    return {name: value for name, value in vars(counts).items() if name not in ("since", "until")}


def _expected(brute: dict[str, Any]) -> dict[str, Any]:
    return {
        **brute,
        "wait": percentiles(brute["wait"]),
        "run": percentiles(brute["run"]),
        "looked_at": brute["tasks"],
        "exact": True,
    }


def _sample(name: str | None = "shop.pay", at: int = 0, **known: Any) -> Sample:
    values: dict[str, Any] = dict.fromkeys(Sample._fields)
    return Sample(**{**values, "name": name, "date_created": samples.after(at), **known})


def _of(*found: Sample, most: int = MOST) -> Statistics:
    """Statistics of one bucket, the second after noon."""
    return statistics([samples.NOON, samples.after(1000)], [found], [most], [None])


def test_statistics_are_those_of_a_count_by_brute_force(full: FullResult) -> None:
    records = [made_up(number) for number in range(400)]
    write(full.storage, records)

    found = full.statistics(samples.NOON, END, buckets=6)

    assert not found.sampled
    assert _told(found.total) == _expected(_brute(records, samples.NOON, END))
    for number, bucket in enumerate(found.buckets):
        since = samples.NOON + number * timedelta(seconds=10)
        assert (bucket.since, bucket.until) == (since, since + timedelta(seconds=10))
        assert _told(bucket) == _expected(_brute(records, bucket.since, bucket.until))
    assert {task.name for task in found.tasks} == {record.name for record in records}
    for task in found.tasks:
        mine = [record for record in records if record.name == task.name]
        assert _told(task.total) == _expected(_brute(mine, samples.NOON, END))
        for bucket in task.buckets:
            assert _told(bucket) == _expected(_brute(mine, bucket.since, bucket.until))


def test_the_most_frequent_task_comes_first_and_what_has_no_name_last() -> None:
    found = _of(*map(_sample, [None, "b", "c", "a", "c", None, None]))

    assert [(task.name, task.total.tasks) for task in found.tasks] == [
        ("c", 2),
        ("a", 1),
        ("b", 1),
        (None, 3),
    ]


def test_tasks_of_very_many_names_are_told_as_one() -> None:
    often = [_sample(f"often {number}") for number in range(MOST_NAMES)] * 2
    rare = [_sample(f"rare {number}") for number in range(1000)]

    found = _of(*often, *rare)

    assert len(found.tasks) == MOST_NAMES + 1
    assert found.tasks[-1].name is None
    assert found.tasks[-1].total.tasks == 1000


def test_nothing_makes_empty_statistics() -> None:
    found = _of()

    assert (found.total.tasks, found.total.wait, found.total.run) == (0, None, None)
    assert [bucket.tasks for bucket in found.buckets] == [0]
    assert found.tasks == ()


def test_percentiles_are_lengths_of_time_that_were_measured() -> None:
    assert percentiles([]) is None
    assert percentiles([3.0]) == Percentiles(3.0, 3.0, 3.0, 1)
    assert percentiles([2.0, 1.0]) == Percentiles(1.0, 2.0, 2.0, 2)
    hundred = random.Random(1).sample(range(1, 101), 100)
    assert percentiles([float(n) for n in hundred]) == Percentiles(50.0, 95.0, 99.0, 100)


def test_a_task_waits_from_its_eta_where_it_has_one() -> None:
    early = _sample(date_published=samples.NOON, first_started=samples.after(90))
    due = early._replace(eta=samples.after(70))
    past = early._replace(eta=samples.after(-1000))
    ahead = early._replace(date_published=samples.after(95))

    assert [each.wait for each in (early, due, past, ahead)] == [0.09, 0.02, 0.09, 0.0]


def test_a_task_runs_as_long_as_the_execution_that_ended_it() -> None:
    ended = _sample(
        state="FAILURE",
        date_started=samples.NOON,
        first_started=samples.after(-9000),
        date_done=samples.after(250),
    )

    assert ended.run == 0.25
    assert ended._replace(runtime=0.2).run == 0.2
    assert ended._replace(date_started=None).run == 9.25
    assert ended._replace(date_started=None, retries=1).run is None
    assert ended._replace(state="REVOKED").run is None
    assert ended._replace(state="RETRY").run is None


def test_every_task_is_counted_and_of_too_many_the_newest_are_looked_at(full: FullResult) -> None:
    """A burst has most of what is looked at, not the part of its time."""
    burst = [samples.task(f"{n}", samples.after(n // 10), name="burst") for n in range(6_000)]
    rare = [samples.task(f"r{n}", samples.after(n * 1000), name="rare") for n in range(1, 60)]
    write(full.storage, [*burst, *rare])

    found = full.statistics(samples.NOON, END, buckets=60)

    assert {task.name: task.total.tasks for task in found.tasks} == {"burst": 6_000, "rare": 59}
    assert found.buckets[0].tasks == 6_000
    assert found.buckets[0].per_second == 6_000
    assert [bucket.tasks for bucket in found.buckets[1:]] == [1] * 59
    assert found.sampled
    assert found.total.exact
    assert 4_900 < found.total.looked_at <= MOST + 60
    assert found.buckets[0].wait is None
    assert [bucket.looked_at for bucket in found.buckets[1:]] == [1] * 59


def test_of_what_there_is_no_time_to_count_there_are_at_least_as_many(full: FullResult) -> None:
    most, step = MOST // 100, 6
    crowd = [samples.after(begin + n * step) for begin in (0, 30_000) for n in range(2 * most)]
    write(full.storage, [samples.task(f"{n}", at) for n, at in enumerate(crowd)])

    found = full.statistics(samples.NOON, END, buckets=100, seconds=-1)

    assert not found.total.exact
    assert (found.total.tasks, found.total.looked_at) == (2 * most, 2 * most)
    for number in (0, 50):
        bucket = found.buckets[number]
        assert (bucket.tasks, bucket.looked_at, bucket.exact) == (most, most, False)
        assert found.tasks[0].buckets[number] == bucket
    assert [found.buckets[number].exact for number in (1, 49, 99)] == [True] * 3


def test_counting_goes_on_in_slices_however_many_tasks_there_are(
    full: FullResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one millisecond has more than a slice."""
    monkeypatch.setattr(census, "SLICE", 10)
    crowd = [samples.after(at) for at in (0, 1, *([500] * 25), *range(600, 900, 7), 999)]
    write(full.storage, [samples.task(f"{n}", at) for n, at in enumerate(crowd)])

    found = full.statistics(samples.NOON, samples.after(1000), buckets=4)

    assert [bucket.tasks for bucket in found.buckets] == [2, 0, 25 + 22, 43 - 22 + 1]
    assert found.total.exact


def test_a_full_sample_alone_does_not_say_that_it_is_all() -> None:
    few = _of(_sample(at=999), _sample(at=0), most=3)
    full = _of(_sample(at=999), _sample(at=0), most=2)

    assert (few.total.tasks, few.total.exact, few.sampled) == (2, True, False)
    assert (full.total.tasks, full.total.exact, full.sampled) == (2, False, True)


def test_time_is_cut_into_equal_parts_to_the_millisecond() -> None:
    cut = edges(samples.NOON, samples.after(1000), 3)

    assert cut == [samples.NOON, samples.after(333), samples.after(666), samples.after(1000)]


@pytest.mark.parametrize(
    ("since", "until", "buckets", "why"),
    [
        (samples.NOON.replace(tzinfo=None), END, 1, "aware"),
        (samples.NOON, END, 0, "buckets must be 1 to"),
        (samples.NOON, END, 501, "buckets must be 1 to"),
        (samples.NOON, samples.NOON, 1, "cannot be cut"),
        (END, samples.NOON, 1, "cannot be cut"),
    ],
)
def test_a_span_that_cannot_be_cut_is_refused(
    since: datetime, until: datetime, buckets: int, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        edges(since, until, buckets)


def test_a_length_of_time_may_be_a_text_and_what_is_none_is_named(full: FullResult) -> None:
    write(full.storage, [samples.task("a", full.storage.now() - HOUR)])

    assert full.statistics("2h").total.tasks == 1
    assert full.overview("30m").statistics.total.tasks == 0
    with pytest.raises(TypeError, match="since must be a timedelta, or text such as '2h', not 3"):
        full.statistics(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="until must be an aware datetime, not '2h'"):
        full.statistics(HOUR, "2h")  # type: ignore[arg-type]


def test_statistics_are_of_the_last_day_by_the_storages_clock(full: FullResult) -> None:
    now = full.storage.now()
    for name, ago in (("old", 25 * HOUR), ("yesterday", 23 * HOUR), ("new", MINUTE)):
        write(full.storage, [samples.task(name, now - ago)])

    assert full.statistics().total.tasks == 2
    assert full.statistics(HOUR).total.tasks == 1
    assert full.statistics(now - 26 * HOUR).total.tasks == 3


# --- the overview


def test_states_are_counted_up_to_a_cap(full: FullResult) -> None:
    numbers = {state: number for number, state in enumerate(STATES)}
    tasks = [
        samples.task(f"{state} {n}", state=state)
        for state, many in numbers.items()
        for n in range(many)
    ]
    write(full.storage, tasks)

    capped = full.count_states(cap=4)
    some = full.count_states(state=["FAILURE", "RETRY"])
    named = full.count_states(TaskQuery(text="failure"))

    assert capped == {state: min(number, 4) for state, number in numbers.items()}
    assert some == {state: numbers[state] for state in ("FAILURE", "RETRY")}
    assert named == {**dict.fromkeys(STATES, 0), "FAILURE": numbers["FAILURE"]}


def test_an_overview_tells_what_is_late(full: FullResult) -> None:
    now, namespace = full.storage.now(), full.settings.namespace
    write(
        full.storage,
        [
            samples.task("stale", now - 2 * HOUR, state="STARTED"),
            samples.task("moving", now - MINUTE, state="STARTED"),
        ],
    )
    for name, due in (("overdue", 2 * HOUR), ("late", MINUTE), ("to come", -HOUR)):
        schedule = samples.schedule(name, now - due, namespace=namespace)
        full.parts.schedule_storage.schedule(schedule, samples.scheduled(schedule))
    full.parts.schedule_storage.note_sweep(namespace, now - HOUR)

    found = full.overview()

    assert (found.stale, found.stale_scheduled) == (1, 1)
    assert found.last_sweep == now - HOUR
    assert 2 * HOUR <= found.sweeper_lag < 2 * HOUR + MINUTE
    assert found.states["STARTED"] == 2
    assert found.states["SCHEDULED"] == 3
    assert found.at >= now


def test_an_overview_of_nothing_is_no_error(full: FullResult) -> None:
    found = full.overview()

    assert set(found.states.values()) == {0}
    assert (found.stale, found.stale_scheduled, found.last_sweep) == (0, 0, None)
    assert found.sweeper_lag == timedelta(0)


def test_a_storage_that_makes_no_statistics_is_named(full: FullResult) -> None:
    class Bare:
        def __repr__(self) -> str:
            return "<Bare>"

    full.parts.opened = Bare(), full.recorder  # type: ignore[assignment]

    with pytest.raises(StorageError, match="this storage makes no statistics"):
        full.overview()
    full.parts.opened = None


# --- on the command line


def test_overview_prints_numbers_with_tabs_in_a_pipe(full: FullResult) -> None:
    now = full.storage.now()
    write(
        full.storage,
        [
            samples.task("a", now - MINUTE, runtime=0.25),
            samples.task("b", now - MINUTE, state="FAILURE", runtime=1.0, retries=2),
        ],
    )

    result = run(full.app, "overview")

    assert result.exit_code == 0
    names, line = (each.split("\t") for each in result.stdout.splitlines())
    assert line == [
        "shop.pay",
        "2",
        "2",
        "0",
        "1",
        "1",
        "0",
        "1",
        "",
        "",
        "",
        "0.250",
        "1.000",
        "1.000",
    ]
    read = dict(zip(names, line, strict=True))
    assert (read["name"], read["failed"], read["run_95"]) == ("shop.pay", "1", "1.000")
    assert "States: 1 SUCCESS, 1 FAILURE." in result.stderr
    assert "Late: 0 stale, 0 overdue and not sent; sweepers are 0 ms behind." in result.stderr


def test_overview_prints_json_with_every_field(full: FullResult) -> None:
    write(full.storage, [samples.task("a", full.storage.now() - MINUTE)])

    found = json.loads(
        run(full.app, "overview", "--since", "1h", "--buckets", "6", "--json").stdout
    )

    assert set(found) == set(vars(full.overview()))
    assert found["statistics"]["sampled"] is False
    assert len(found["statistics"]["buckets"]) == 6
    assert found["statistics"]["tasks"][0]["total"]["succeeded"] == 1
    assert found["sweeper_lag"] == 0


def test_overview_of_a_time_that_is_none_is_wrong_usage(full: FullResult) -> None:
    result = run(full.app, "overview", "--since", "1h", "--until", "2h")

    assert result.exit_code == 2
    assert "cannot be cut" in result.stderr
