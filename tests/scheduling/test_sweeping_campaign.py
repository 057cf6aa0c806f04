"""The sweeper's promises, each against what would break it: networks, SIGKILL, wrong clocks.

Long because each promise has the adversary that would break it beside it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import redis
from kombu import Exchange, Queue

from fullresult import FullResult
from fullresult.actions.errors import CannotResend
from fullresult.scheduling.sender import BrokerDown
from fullresult.storage import StorageError
from tests.campaigns import at_most_once
from tests.kit import servers, sweeping, workers
from tests.kit.proxy import Cut, Delay, Fault, LoseAnswer, Proxy, once, proxy
from tests.kit.scheduling import sweep

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from fullresult import TaskRecord

NOW = timedelta(0)


@pytest.fixture(scope="module", params=workers.storages("sqlite", "postgresql"))
def storage_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def between(redis_url: str) -> Iterator[Proxy]:
    """The network between the sweepers and redis."""
    parts = urllib.parse.urlsplit(redis_url)
    with proxy(str(parts.hostname), int(parts.port or 0)) as found:
        yield found


def before_rabbitmq(url: str) -> AbstractContextManager[Proxy]:
    parts = urllib.parse.urlsplit(url)
    return proxy(str(parts.hostname), int(parts.port or 0))


def through(between: Proxy, url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    user = f"{parts.username}:{parts.password}@" if parts.username else ""
    return parts._replace(netloc=f"{user}{servers.HOST}:{between.port}").geturl()


@contextmanager
def app(broker_url: str, storage_url: str, **settings: Any) -> Iterator[FullResult]:
    full = sweeping.make(
        {
            "broker_url": broker_url,
            "fullresult_storage": storage_url,
            "fullresult_sweep_interval": 0.1,
            **settings,
        }
    )
    full.setup()
    try:
        yield full
    finally:
        full.close()
        full.app.close()


def scheduled_and_due(full: FullResult, number: int) -> list[str]:
    ids = sweeping.schedule(full, number, countdown=0.05)
    assert workers.until(lambda: sweeping.due_and_waiting(full) == number)
    return ids


def sweep_until_empty(full: FullResult) -> None:
    """Sweep, whatever the broker does, until nothing waits."""
    for _ in range(20):
        try:
            sweep(full)
        except BrokerDown:
            continue
        return
    raise AssertionError("the broker never came back")


# --- At most once


@pytest.mark.timeout(300)
@pytest.mark.parametrize("storage", workers.storages("postgresql"))
def test_no_task_is_sent_twice_whatever_happens(storage: str) -> None:
    """A few rounds of the campaign, with another seed each time."""
    seed = random.randrange(10**9)
    print(f"python -m tests.campaigns.at_most_once --storage {storage} --seed {seed}")  # noqa: T201

    with at_most_once.campaign(storage, "redis") as campaign:
        for number in range(4):
            campaign.round(seed + number, tasks=150, sweepers=3, kills=2)

    assert sum(campaign.arrived.values()) > 500


@pytest.mark.campaign
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
@pytest.mark.parametrize("storage", workers.STORAGES)
def test_no_task_is_sent_twice_in_hundreds_of_rounds(storage: str, broker: str) -> None:
    at_most_once.main(["--rounds", "200", "--storage", storage, "--broker", broker])


@pytest.mark.parametrize(
    "options",
    [{}, {"retry_on_timeout": True}, {"max_connections": 1}],
    ids=["plain", "told to retry", "one connection"],
)
@pytest.mark.parametrize("fault", [LoseAnswer(), Cut(0), Cut(40)], ids=str)
def test_a_lost_answer_of_redis_is_no_reason_to_send_again(
    between: Proxy, redis_url: str, tmp_path: Path, fault: Fault, options: dict[str, Any]
) -> None:
    """Nor when redis-py was told to: the message that may be there stays claimed."""
    url, storage = through(between, redis_url), f"sqlite:///{tmp_path / 'full.db'}"
    with app(url, storage, broker_transport_options=options) as full:
        ids = scheduled_and_due(full, 6)
        between.plan = once(b"LPUSH", fault, skip=2)

        with pytest.raises(BrokerDown, match="may have been sent"):
            sweep(full)
        sweep(full)

        arrived = Counter(sweeping.redis_ids(redis_url))
        (stale,) = full.get_stale_scheduled_tasks(NOW)
    there = isinstance(fault, LoseAnswer)
    assert arrived == Counter(ids if there else set(ids) - {stale.task_id})
    assert stale.claimed
    assert "may have been sent" in (stale.problem or "")


@pytest.mark.parametrize("fault", [LoseAnswer(), Cut(0), Cut(20)], ids=str)
def test_a_lost_confirm_of_rabbitmq_is_no_reason_to_send_again(
    rabbitmq_url: str, tmp_path: Path, fault: Fault
) -> None:
    with (
        before_rabbitmq(rabbitmq_url) as between,
        app(through(between, rabbitmq_url), f"sqlite:///{tmp_path / 'full.db'}") as full,
    ):
        ids = scheduled_and_due(full, 6)
        between.plan = once(at_most_once.MARKERS["rabbitmq"], fault, skip=2)

        with pytest.raises(BrokerDown, match="may have been sent"):
            sweep(full)
        sweep(full)

        arrived = Counter(sweeping.drain_rabbitmq(rabbitmq_url))
        (stale,) = full.get_stale_scheduled_tasks(NOW)
    there = isinstance(fault, LoseAnswer)
    assert arrived == Counter(ids if there else set(ids) - {stale.task_id})


def test_what_redis_refuses_waits_for_better_times(storage_url: str) -> None:
    """Out of memory is an answer: the message is not there, and nothing stays claimed."""
    with servers.redis() as url, app(f"{url}/0", storage_url) as full:
        ids = scheduled_and_due(full, 5)
        with redis.Redis.from_url(url) as client:
            client.config_set("maxmemory", 1)

            with pytest.raises(BrokerDown, match="OutOfMemory"):
                sweep(full)
            waiting = sweeping.Ledger.of(full).waiting
            client.config_set("maxmemory", 0)
        sweep(full)

        assert waiting == set(ids)
        assert Counter(sweeping.redis_ids(f"{url}/0")) == Counter(ids)


def test_what_one_of_two_queues_refuses_is_not_sent_again_to_the_other(
    redis_url: str, tmp_path: Path
) -> None:
    """Through a topic exchange a message goes to two queues, of which one takes it."""
    exchange = Exchange("both", type="topic")
    queues = [Queue(name, exchange, routing_key="both.#") for name in ("one", "two")]
    with (
        app(redis_url, f"sqlite:///{tmp_path / 'full.db'}", task_queues=queues) as full,
        redis.Redis.from_url(redis_url) as client,
        full.app.connection_for_write() as connection,
    ):
        for queue in queues:
            queue(connection.default_channel).declare()
        taken = [
            taken_in_spite_of(refusing, other, full, client)
            for refusing, other in (("one", "two"), ("two", "one"))
        ]

        # In one of the two cases the other queue was served before.
        assert sorted(taken) == [0, 1]
        assert [each.claimed for each in full.get_stale_scheduled_tasks(NOW)] == [True, True]


def taken_in_spite_of(refusing: str, other: str, full: FullResult, client: redis.Redis) -> int:
    """How many copies *other* got of a message that *refusing* refused at first."""
    sweeper = full.parts.new_sweeper()
    for _ in range(2):
        full.app.send_task("both", countdown=0.05, queue="one", routing_key="both.x")
        assert workers.until(lambda: sweeping.due_and_waiting(full))
        client.delete("one", "two")
        if sweeper.swept.sent:
            client.set(refusing, "not a list")  # the next LPUSH is an error
            assert sweeper.sweep().failed == 1
            client.delete(refusing)
        sweeper.sweep()
    sweeper.close()
    return int(client.llen(other))


def test_a_broker_that_said_goodbye_is_asked_again_before_the_next_message(
    rabbitmq_url: str, tmp_path: Path
) -> None:
    """A connection that was ended while the sweeper slept costs no claim."""
    with (
        before_rabbitmq(rabbitmq_url) as between,
        app(through(between, rabbitmq_url), f"sqlite:///{tmp_path / 'full.db'}") as full,
    ):
        sweeper = full.parts.new_sweeper()
        first = scheduled_and_due(full, 1)
        sweeper.sweep()
        between.cut_all()
        second = scheduled_and_due(full, 3)
        assert workers.until(lambda: between.open == 0)

        swept = sweeper.sweep()
        sweeper.close()

    assert swept.sent == 3
    assert Counter(sweeping.drain_rabbitmq(rabbitmq_url)) == Counter(first + second)


def test_a_refusing_broker_costs_no_claim(between: Proxy, redis_url: str, storage_url: str) -> None:
    with app(through(between, redis_url), storage_url) as full:
        ids = scheduled_and_due(full, 4)
        between.refuse()

        with pytest.raises(BrokerDown):
            sweep(full)
        waiting = sweeping.Ledger.of(full).waiting
        between.accept()
        sweep(full)

        assert waiting == set(ids)
        assert Counter(sweeping.redis_ids(redis_url)) == Counter(ids)


# --- Never before its ETA


@contextmanager
def host(seconds: float, settings: dict[str, Any], *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process on a host whose clock is wrong by so many *seconds*."""
    command = [
        sys.executable,
        "-m",
        "tests.kit.skewed_clock",
        str(seconds),
        "tests.kit.host",
        *words,
    ]
    with subprocess.Popen(
        servers._launch(command, ""),
        cwd=workers.ROOT,
        env={**os.environ, workers.SETTINGS: json.dumps(settings)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def assert_clock_is_off(process: subprocess.Popen[str], seconds: float) -> None:
    off = datetime.fromisoformat(says(process)) - datetime.now(timezone.utc)
    assert abs(off.total_seconds() - seconds) < 30, "the clock is not as wrong as it should be"


@pytest.mark.parametrize("publisher", [-300, 300])
def test_nothing_is_sent_before_its_eta_by_hosts_whose_clocks_are_wrong(
    redis_url: str, storage_url: str, publisher: int
) -> None:
    """Sweepers four minutes fast, and slow, and a publisher who asks for three seconds."""
    with app(redis_url, storage_url) as full:
        settings = {
            name: full.app.conf[name]
            for name in ("broker_url", "fullresult_storage", "fullresult_sweep_interval")
        }
        with host(240, settings, "sweep") as fast, host(-240, settings, "sweep") as slow:
            assert_clock_is_off(fast, 240)
            assert_clock_is_off(slow, -240)
            # Both are at work before there is anything to do.
            assert workers.until(
                lambda: full.parts.schedule_storage.last_sweep("campaign") is not None
            )
            with host(publisher, settings, "publish", "3", "20") as publishing:
                before = time.monotonic()
                assert_clock_is_off(publishing, publisher)
                ids = says(publishing).split()
            due = {each.task_id: each.due for each in full.scheduled(limit=None)}
            early, arrivals = watch(full, redis_url, ids, due)
            took = time.monotonic() - before

    assert set(due) == set(ids)
    assert not early
    assert Counter(arrivals) == Counter(ids)
    assert 3 <= took < 15, "three seconds were to pass, whatever the time of day"


def watch(
    full: FullResult, redis_url: str, ids: Collection[str], due: dict[str, datetime]
) -> tuple[set[str], list[str]]:
    """Those seen on the broker before they were due by the storage's clock; and all seen."""
    early: set[str] = set()
    arrived: list[str] = []

    def look() -> bool:
        nonlocal arrived
        arrived = sweeping.redis_ids(redis_url)
        now = full.storage.now()
        early.update(each for each in arrived if due[each] > now)
        return len(arrived) >= len(ids)

    assert workers.until(look), f"{len(arrived)} of {len(ids)} were sent"
    return early, arrived


# --- Nothing vanishes


def test_what_a_crash_left_is_shown_and_mended(
    between: Proxy, redis_url: str, storage_url: str
) -> None:
    """One is released, one is sent now; nobody can do either twice."""
    with app(through(between, redis_url), storage_url) as full:
        ids = scheduled_and_due(full, 2)
        for _ in ids:
            between.plan = once(b"LPUSH", Cut(0))
            with pytest.raises(BrokerDown):
                sweep(full)
        stale = full.get_stale_scheduled_tasks(NOW)
        assert [each.task_id for each in stale if each.claimed] == ids
        assert sweep(full).sent == 0

        released = full.release(ids[0])
        full.resend_scheduled(ids[1])
        sweep(full)

        assert released
        assert Counter(sweeping.redis_ids(redis_url)) == Counter(ids)
        assert sweeping.Ledger.of(full).sent == set(ids)
        assert not full.release(ids[0])
        with pytest.raises(LookupError):
            full.resend_scheduled(ids[1])


def test_of_many_who_send_it_now_one_does(redis_url: str, storage_url: str) -> None:
    with app(redis_url, storage_url) as full:
        (task_id,) = scheduled_and_due(full, 1)
        refused: list[Exception] = []
        barrier = threading.Barrier(6)

        def resend() -> None:
            barrier.wait()
            try:
                full.resend_scheduled(task_id)
            except (CannotResend, LookupError) as error:
                refused.append(error)

        threads = [threading.Thread(target=resend) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        # Who comes while another one sends takes that claim over, knowing that it may be twice.
        assert len(sweeping.redis_ids(redis_url)) == 6 - len(refused)
        assert not full.scheduled()


def test_an_old_claim_is_released_by_itself_where_that_was_asked_for(
    between: Proxy, redis_url: str, storage_url: str
) -> None:
    """At least once, by choice: what was lost is sent, and what was not is sent again."""
    settings = {"fullresult_rescue_after": 0.5}
    with app(through(between, redis_url), storage_url, **settings) as full:
        (task_id,) = scheduled_and_due(full, 1)
        between.plan = once(b"LPUSH", Cut(0))
        with pytest.raises(BrokerDown):
            sweep(full)
        assert sweep(full).sent == 0  # not yet

        assert workers.until(lambda: sweep(full).sent == 1)

        assert sweeping.redis_ids(redis_url) == [task_id]
        assert not full.scheduled()


def test_a_sweeper_gives_back_what_it_has_had_for_too_long(
    between: Proxy, redis_url: str, storage_url: str
) -> None:
    """Half of the time after which others may rescue it: else both would send it."""
    settings = {"fullresult_rescue_after": 2}
    with app(through(between, redis_url), storage_url, **settings) as full:
        ids = scheduled_and_due(full, 5)
        between.plan = lambda piece: Delay(0.45) if b"LPUSH" in piece else None
        sweeper = full.parts.new_sweeper()

        swept = sweeper._batch(10, ahead=False)
        sweeper.close()

        assert swept.claimed == 5
        assert 2 <= swept.sent <= 4
        assert swept.released == 5 - swept.sent
        between.heal()
        sweep(full)
        assert Counter(sweeping.redis_ids(redis_url)) == Counter(ids)


class Unheard:
    """A storage whose answer to the first claim is lost, after the claim was made."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> Any:
        found = self._storage.claim_due(namespace, now, claim, limit)
        if not self._lost:
            self._lost = True
            raise StorageError("the answer did not come")
        return found


def test_a_claim_that_the_sweeper_never_heard_of_is_given_back(
    redis_url: str, storage_url: str
) -> None:
    """Nothing of it was sent: no person has to look at it."""
    with app(redis_url, storage_url) as full:
        ids = scheduled_and_due(full, 5)
        sweeper = full.parts.new_sweeper()
        sweeper._storage = Unheard(full.storage)
        with pytest.raises(StorageError):
            sweeper.sweep()
        assert sweeping.Ledger.of(full).claimed == set(ids)

        swept = sweeper.sweep()
        sweeper.close()

        assert swept.sent == 5
        assert Counter(sweeping.redis_ids(redis_url)) == Counter(ids)
        assert not full.scheduled()


# --- A claim is small


def test_one_crash_leaves_no_more_than_a_moments_work(redis_url: str, storage_url: str) -> None:
    """What a killed sweeper had claimed is what it sends in about 50 ms, and at least ten."""
    with (
        app(redis_url, storage_url) as full,
        sweeping.crowd(dict(full.app.conf.changes)) as crowd,
        redis.Redis.from_url(redis_url) as client,
    ):
        scheduled_and_due(full, 600)
        crowd.spawn(1)
        assert workers.until(lambda: client.llen(sweeping.QUEUE) > 250)

        crowd.kill_one(random.Random())

        left = sweeping.Ledger.of(full).claimed
        # 50 ms at a rate that nobody has seen; the campaigns say what it was.
        assert len(left) <= 250
        assert sweeping.largest_claim(full) == len(left)


# --- A retry that overtakes its own send


class Slow:
    """A storage that takes its time to mark what was sent."""

    def __init__(self, storage: Any, wait: threading.Event) -> None:
        self._storage = storage
        self._wait = wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> Collection[str]:
        self._wait.wait(10)
        marked: Collection[str] = self._storage.mark_sent(claim, schedule_ids, events)
        return marked


def test_a_task_that_retries_before_its_send_is_marked_runs_again(
    redis_url: str, storage_url: str
) -> None:
    """Both of its schedules are sent: marking the first one does not touch the second."""
    with app(redis_url, storage_url) as full:
        (task_id,) = scheduled_and_due(full, 1)
        marking = threading.Event()
        sweeper = full.parts.new_sweeper()
        sweeper._storage = Slow(full.storage, marking)
        thread = threading.Thread(target=sweeper.sweep)
        thread.start()
        assert workers.until(lambda: sweeping.redis_ids(redis_url) == [task_id])

        # What a worker does that was faster: the same id, the next attempt.
        full.app.send_task(sweeping.TASK, task_id=task_id, retries=1, countdown=0.2)
        both = full.scheduled()
        marking.set()
        thread.join()
        sweeper.close()

        assert len(both) == 2
        assert workers.until(lambda: sweep(full).sent == 1)
        assert sweeping.redis_ids(redis_url) == [task_id, task_id]
        assert not full.scheduled()


def test_many_tasks_that_retry_at_once_all_finish(redis_url: str, tmp_path: Path) -> None:
    """With a real worker and its own sweeper, where a fast task overtakes the mark."""
    url = f"sqlite:///{tmp_path / 'full.db'}"
    settings = {"fullresult_schedule_eta": True, "fullresult_sweep_interval": 0.1}
    with (
        workers.scene(
            redis_url, url, tmp_path, module="tests.apps.scenario_sweeping_app", **settings
        ) as scene,
        scene.worker(pool="threads", concurrency=4),
    ):
        ids = [scene.send("retry_soon", countdown=0.01) for _ in range(150)]

        done = workers.until(lambda: scene.full.count(state="SUCCESS") >= 150, 90)

        assert done, scene.logs()
        assert {scene.full.get(each).retries for each in ids} == {2}  # type: ignore[union-attr]
        assert not scene.full.scheduled()
