"""What each kind of user of a PostgreSQL storage does, to be tried with the grants it is to have.

A job raises `StorageError`, or `AssertionError` where an observer kept quiet, if it may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
from celery import Celery
from celery.app.task import Context

from fullresult import FullResult
from fullresult.record import RETRY
from fullresult.record.card import WorkerCard
from fullresult.record.schedule import ScheduleQuery
from fullresult.record.worker import Worker
from fullresult.recording.given_result import GivenResult
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.storage import StorageError
from fullresult.testing import pauses, replays, samples
from tests.kit.scheduling import sweep

Job = Callable[[FullResult], None]

_HOUR = 3600


@contextmanager
def user(url: str) -> Iterator[FullResult]:
    """An app of a user of the storage, whose broker takes everything."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        task_default_queue=uuid4().hex,
        fullresult_storage=url,
        fullresult_spool_directory=None,
        fullresult_schedule_eta=True,
        fullresult_sweeper="off",
        fullresult_retention={"SUCCESS": "1ms"},
        result_backend="fullresult://",
    )
    with closing(FullResult(app)) as full, closing(app):
        yield full


def publish(full: FullResult) -> None:
    """Publish, one at a time and as a spool is flushed; and tell that one was not sent."""
    results = [full.app.send_task("shop.pay", [1], {"card": "x"}) for _ in range(2)]
    full.recorder.unsent({"id": results[0].id, "task": "shop.pay"}, OSError("no broker"))
    assert not full.recorder.writer.is_away
    full.storage.write([samples.task(uuid4().hex), samples.task(uuid4().hex)])


def publish_for_later(full: FullResult) -> None:
    """Store what is to run later, look for a sweeper, and withdraw what got no answer."""
    full.app.send_task("shop.pay", countdown=_HOUR)
    full.parts.schedule_storage.last_sweep(full.settings.namespace)
    full.parts.schedule_storage.withdraw(uuid4().hex)
    assert not full.recorder.writer.is_away


def publish_into_an_outbox(full: FullResult) -> None:
    """Publish in a transaction of one's own, by a connection of the same role."""
    try:
        with psycopg.connect(full.settings.storage) as connection, full.outbox(connection):
            full.app.send_task("shop.pay", [1])
    except psycopg.Error as error:
        raise StorageError(str(error)) from error


def work(full: FullResult) -> None:
    """Run tasks: one is retried and fails, one succeeds; and tell that the worker is alive."""
    storage: Any = full.storage
    now = live(storage)
    storage.forget_workers(now - timedelta(days=30))
    storage.forget_gone(now, 10_000)
    good, bad = uuid4().hex, uuid4().hex
    for task_id, retries, error in (
        (good, 0, None),
        (bad, 0, OSError("1")),
        (bad, 1, OSError("2")),
    ):
        known = {"id": task_id, "task": "shop.pay", "retries": retries, "hostname": "w@h"}
        request = Context({**known, "args": [1], "kwargs": {}})
        full.recorder.started(task_id, "shop.pay", request)
        if error is None:
            full.recorder.succeeded(request, "shop.pay", 7, 0.1, ignored=False)
        elif retries == 0:
            full.recorder.retried(request, error, None)
        else:
            full.recorder.failed(task_id, "shop.pay", request, error, None)
    assert not full.recorder.writer.is_away
    retried_for_long(full.storage)


def live(storage: Any) -> datetime:
    """Tell that a worker lives, with its card; the time at which."""
    now: datetime = storage.now()
    worker_id = uuid4().hex
    storage.note_worker(Worker(worker_id, "w@h", now, now, now + timedelta(minutes=1)))
    for seen in (now, now + timedelta(seconds=1)):
        storage.note_card(WorkerCard(worker_id, seen, "n", "{}"), "{}")
    return now


def retried_for_long(storage: Any) -> None:
    """The thousandth retries of a task, of which the newest thousand are kept."""
    database = vars(storage)["_database"]
    if not hasattr(database, "sql"):  # MongoDB does it in the update itself
        return
    polling = uuid4().hex
    for number in range(3):
        known = range(500 * number, 500 * (number + 1))
        entries = tuple(samples.entry(RETRY, samples.after(n), retries=n) for n in known)
        storage.write([samples.event(polling, entries=entries)])
    counted = "SELECT count(*) FROM fullresult_execution WHERE task_id = %s"
    assert database.ask(counted, [polling]) == [(1_000,)]


def keep_results(full: FullResult) -> None:
    """Be a result backend: results, groups, chords."""
    backend = full.app.backend
    task_id = uuid4().hex
    full.recorder.result(GivenResult(task_id, "SUCCESS", [1], [1], None, None), lambda _: None)
    assert backend.get_state(task_id) == "SUCCESS"
    group_id = uuid4().hex
    group = full.app.GroupResult(group_id, [full.app.AsyncResult(task_id)])
    group.save(backend=backend)
    assert full.app.GroupResult.restore(group_id, backend=backend) is not None
    storage: Any = full.storage
    expires = full.storage.now() + timedelta(days=1)
    assert storage.begin_chord(group_id, None, "{}", expires) == 1
    storage.set_chord_size(group_id, 1, expires)
    storage.add_to_chord(group_id, "+", expires)
    assert not storage.join_chord(group_id, "a", None, expires, call="1")
    storage.write_and_join(samples.task("b"), group_id, "b", None, expires, call="2")
    assert sorted(storage.get_members(group_id)) == ["+", "a", "b"]
    storage.take_complete_chords(expires, "3", 1)
    storage.close_chord(group_id, "3")
    backend.delete_group(group_id)
    backend.forget(task_id)


def send_what_is_due(full: FullResult) -> None:
    """Sweep: claim, send, mark; give back; mark what could not be sent."""
    sweep(full)
    storage, namespace, now = (
        full.parts.schedule_storage,
        full.settings.namespace,
        full.storage.now(),
    )
    storage.note_sweep(namespace, now)
    first, second, third = storage.claim_due(namespace, now + timedelta(days=1), "claim", 3)
    events = ScheduleEvents(full.settings)
    ends = [*events.sent(first), events.ended(second, "expired")]
    storage.mark_sent("claim", [first.schedule_id, second.schedule_id], ends)
    storage.mark_problem("claim", third.schedule_id, "it may have been sent")
    storage.release([third.schedule_id], "claim")
    storage.next_due(namespace)
    storage.get("a")  # which it asks of a task that was perhaps sent


def read(full: FullResult) -> None:
    """All that commands and pages show."""
    assert full.find(name="shop.*", limit=10, text="pay")
    assert full.count()
    full.get("a")
    full.find(kwargs={"card": "x"})
    full.get_stale_tasks()
    full.get_orphaned_tasks()
    assert full.scheduled()
    assert full.count_scheduled()
    full.get_stale_scheduled_tasks()
    full.parts.schedule_storage.last_sweep(full.settings.namespace)
    full.audit_log()
    full.audit_log(task_id="a")
    assert full.explain("a", offline=True).unknown == ()
    for record in full.find(limit=3):
        full.explain(record.task_id, offline=True)
    storage: Any = full.storage
    storage.find_names(["n"])  # which `explain` asks of a task that a worker does not know
    assert full.workers().orphans == 0
    full.queues(offline=True)
    full.doctor(offline=True)
    assert full.check().checked
    full.count(state="FAILURE", unresolved=True)
    full.failures.find()
    full.replays.list()
    storage.find_replayed("a", limit=1)


def operate(full: FullResult) -> None:
    """What people do to tasks: send again, cancel, move, send now. Each was read before."""
    read(full)
    for group in full.failures.find(timedelta(days=365), all=True):
        full.failures.resolve(group.fingerprint)
    (record, *_) = full.find(name="shop.pay", limit=1)
    again = full.resend(record)
    full.audit("resend", actor="ada", task_ids=[record.task_id, again.id])
    first, second, *_ = full.scheduled(limit=10)
    assert full.reschedule(first.task_id, full.storage.now() + timedelta(hours=2))
    assert full.cancel(first.task_id)
    full.resend_scheduled(second.task_id)
    full.release(second.task_id)
    storage: Any = full.storage
    storage.keep_pause(pauses.pause("celery"))
    assert storage.end_pause("shop", "celery")
    assert not full.recorder.writer.is_away


def replay(full: FullResult) -> None:
    """Begin a replay, take a task for it, hold that, and cancel it."""
    storage: Any = full.storage
    known, old = replays.replay(uuid4().hex), uuid4().hex
    assert storage.keep_replay(known, instead_of=None)
    some = [replays.taking(old, 0, known.replay_id)]
    assert storage.take_for_replay(replays.changed(known), some, instead_of=1) == [old]
    (taken,) = storage.find_replayed(known.replay_id, limit=1)
    (schedule,) = storage.find_schedules(ScheduleQuery(schedule_ids=[taken.schedule_id]))
    events = ScheduleEvents(full.settings)
    assert storage.reschedule(
        taken.schedule_id, samples.LATEST, events.moved(schedule, samples.LATEST)
    )
    assert storage.cancel(taken.schedule_id, events.ended(schedule, "revoked"))
    storage.give_up_replayed({old: known.new_id(old)})


def purge(full: FullResult) -> None:
    """Delete what has expired, and what a person says."""
    full.purge()
    full.delete(name="shop.*", order="oldest", limit=1)


def purge_audit(full: FullResult) -> None:
    """Delete what is old in the audit log."""
    storage: Any = full.storage
    storage.forget_audit(samples.NOON, 10)
    storage.forget_replays(samples.NOON, 10)


JOBS: dict[str, Job] = {
    "publisher": publish,
    "publisher of later tasks": publish_for_later,
    "publisher into an outbox": publish_into_an_outbox,
    "worker": work,
    "result backend": keep_results,
    "sweeper": send_what_is_due,
    "reader": read,
    "operator": operate,
    "replays": replay,
    "purger": purge,
    "purger of the audit log": purge_audit,
}
