"""An outbox in the application's own database, while the records are elsewhere.

Long because all of it needs the same two databases.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from celery.exceptions import ImproperlyConfigured
from kombu.transport import memory

from fullresult import FullResult
from fullresult.record import ScheduleQuery
from fullresult.scheduling import carrying_storage as carrying_module
from fullresult.scheduling.carrying_storage import Carrier, carrying_storage
from fullresult.scheduling.joined_storage import JoinedStorage, joined
from fullresult.scheduling.sweepers import Sweepers
from fullresult.storage import ScheduleStorage, StorageError, TaskQuery
from fullresult.testing import samples
from tests.kit import browsing, scheduling, workers
from tests.kit.commands import run
from tests.kit.outbox import KINDS, Caller, publish, shop, stored
from tests.kit.scheduling import received, until

IN_MEMORY: dict[str, Any] = {"broker_url": "memory://", "broker_transport_options": {}}
PLACES = [("psycopg", "sqlite"), ("sqlite3", "postgresql"), ("pymongo", "sqlite")]
"""A kind of connection to the outbox, and the database of the records."""


@contextmanager
def apart(
    kind: str, records: str, request: pytest.FixtureRequest, directory: Path, **settings: Any
) -> Iterator[tuple[FullResult, Caller]]:
    """An app with the outbox `shop`, and a caller there."""
    storage, connect = KINDS[kind]
    for name in ("shop", "records"):
        (directory / name).mkdir()
    with (
        workers.storage(storage, request, directory / "shop") as url,
        workers.storage(records, request, directory / "records") as storage_url,
    ):
        settings = {"fullresult_outbox": False, **IN_MEMORY, **settings}
        with (
            shop(storage_url, fullresult_outboxes={"shop": url}, **settings) as full,
            connect(url) as caller,
        ):
            full.setup("shop")
            yield full, caller


@pytest.fixture(params=PLACES, ids=["-".join(each) for each in PLACES])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[FullResult, Caller]]:
    kind, records = request.param
    with apart(kind, records, request, tmp_path) as (full, caller):
        yield full, caller


def place(full: FullResult, caller: Caller, *args: Any, **options: Any) -> str:
    caller.begin()
    with full.outbox(caller.connection, database="shop"):
        task_id = publish(full, *args, **options)
    caller.commit()
    return task_id


def sweep(full: FullResult) -> int:
    sweepers = full.parts.new_sweepers()
    try:
        return sweepers.sweep().sent
    finally:
        sweepers.close()


Scene = tuple[FullResult, Caller]


def test_a_task_commits_with_the_data_and_its_record_goes_to_the_others(scene: Scene) -> None:
    full, caller = scene
    caller.begin()
    caller.insert(1)
    with full.outbox(caller.connection, database="shop"):
        task_id = publish(full, 1)
        before = full.get(task_id), stored(full)
    caller.commit()
    after = full.get(task_id), stored(full)
    sent = sweep(full)

    assert before == (None, [])
    assert after[1] == [task_id]
    assert after[0] is not None
    assert (after[0].state, after[0].args) == ("SCHEDULED", [1])
    assert sent == 1
    assert received(full.app, "celery") == [task_id]
    record = full.parts.recorder.writer.storage.get(task_id)
    assert record is not None
    assert (record.state, record.args) == ("SCHEDULED_SENT", [1])
    outbox = full.parts.other_outboxes["shop"]
    assert (outbox.find(TaskQuery()), outbox.find_schedules(ScheduleQuery())) == ([], [])


def test_a_transaction_that_is_rolled_back_leaves_no_trace(scene: Scene) -> None:
    full, caller = scene
    caller.begin()
    with full.outbox(caller.connection, database="shop"):
        task_id = publish(full, 1)
    caller.rollback()

    assert sweep(full) == 0
    assert (full.get(task_id), stored(full)) == (None, [])


def test_the_record_of_a_task_that_waits_is_where_all_records_are(scene: Scene) -> None:
    full, caller = scene
    task_id = place(full, caller, countdown=3600)
    other = place(full, caller, countdown=7200)

    assert sweep(full) == 0
    records = full.parts.recorder.writer.storage
    assert {record.task_id for record in records.find(TaskQuery())} == {task_id, other}
    assert full.parts.other_outboxes["shop"].find(TaskQuery()) == []
    assert stored(full) == [task_id, other]
    assert len(full.scheduled(limit=1)) == 1


def test_the_record_of_a_task_that_waits_is_carried_while_others_are_always_due(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, caller = scene
    later = place(full, caller, countdown=3600)
    for _ in range(3):
        place(full, caller)
    outbox, records = full.parts.other_outboxes["shop"], full.parts.recorder.writer.storage
    carrying = carrying_storage(outbox, records, full.settings.namespace)
    monkeypatch.setattr(carrying_module, "_CARRY_WHILE_BUSY", 0.0)

    until(lambda: (due := outbox.next_due(full.settings.namespace)) and due <= outbox.now())
    carrying.claim_due(full.settings.namespace, carrying.now(), "one", 1)
    before = records.get(later)
    found = carrying.claim_due(full.settings.namespace, carrying.now(), "two", 1)

    assert len(found) == 1
    assert before is None
    assert [record.task_id for record in records.find(TaskQuery())] == [later]


def test_a_record_that_cannot_be_carried_keeps_nothing_that_is_due_from_being_sent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, caller = scene
    place(full, caller, countdown=3600)
    for _ in range(3):
        place(full, caller)
    outbox, records = full.parts.other_outboxes["shop"], full.parts.recorder.writer.storage
    namespace = full.settings.namespace
    carrying = carrying_storage(outbox, records, namespace)
    monkeypatch.setattr(carrying_module, "_CARRY_WHILE_BUSY", 0.0)
    until(lambda: (due := outbox.next_due(namespace)) and due <= outbox.now())
    assert carrying.claim_due(namespace, carrying.now(), "one", 1)

    def refuse(*_: object) -> None:
        raise StorageError("this record is refused")

    monkeypatch.setattr(carrying_module.Carrier, "carry_some_for_later", refuse)
    with pytest.raises(StorageError, match="refused"):
        carrying.claim_due(namespace, carrying.now(), "two", 1)

    assert len(carrying.claim_due(namespace, carrying.now(), "three", 1)) == 1


def test_it_is_moved_cancelled_and_released_like_any(scene: Scene) -> None:
    full, caller = scene
    for name in ("moved", "cancelled", "stuck"):
        place(full, caller, task_id=name, countdown=3600)
    sweep(full)
    outbox, now = full.parts.other_outboxes["shop"], full.storage.now()

    moved = full.reschedule("moved", now + timedelta(hours=9))
    cancelled = full.cancel("cancelled")
    full.reschedule("stuck", now - timedelta(hours=2))
    outbox.claim_due(full.settings.namespace, now - timedelta(hours=2), "dead", 9)
    (stale,) = full.get_stale_scheduled_tasks()
    released = full.release("stuck")

    records = full.parts.recorder.writer.storage
    states = {record.task_id: record.state for record in records.find(TaskQuery())}
    assert (moved, cancelled, released) == (True, True, True)
    assert (stale.task_id, stale.is_in_outbox) == ("stuck", True)
    assert states == {"moved": "SCHEDULED", "cancelled": "REVOKED", "stuck": "SCHEDULED"}
    assert stored(full) == ["stuck", "moved"]
    assert outbox.find(TaskQuery()) == []


def test_schedules_are_found_by_what_their_records_say(scene: Scene) -> None:
    full, caller = scene
    task_id = place(full, caller, countdown=3600)
    storage = full.parts.schedule_storage

    def found(**asked: Any) -> list[str]:
        query = ScheduleQuery(tasks=TaskQuery(**asked))
        schedules = storage.find_schedules(query)
        assert storage.count_schedules(query) == len(schedules)
        return [schedule.task_id for schedule in schedules]

    before = found(name="shop.charge"), found(name="other"), found()
    sweep(full)

    assert before == ([task_id], [], [task_id])
    assert before == (found(name="shop.charge"), found(name="other"), found())


def test_without_a_name_or_with_a_wrong_one_a_connection_is_refused(scene: Scene) -> None:
    full, caller = scene
    caller.begin()
    with pytest.raises(LookupError, match="fullresult_outboxes names 'shop'"):
        full.outbox(caller.connection, database="shpo")
    with pytest.raises(ImproperlyConfigured, match="database="):
        full.outbox(caller.connection)
    caller.rollback()


def test_a_commit_wakes_the_sweeper_of_its_database(scene: Scene) -> None:
    full, caller = scene
    full.app.conf.fullresult_sweep_interval = "1m"
    full.parts.reopen()
    full.start_sweeper()
    try:
        outbox = full.parts.other_outboxes["shop"]
        until(lambda: outbox.last_sweep(full.settings.namespace))
        for number in range(3):
            place(full, caller, task_id=str(number))
            until(lambda count=number + 1: len(received_so_far(full)) == count)  # type: ignore[misc]
    finally:
        full.stop_sweeper(timedelta(seconds=10))


def received_so_far(full: FullResult) -> list[Any]:
    with full.app.connection_for_read() as connection:
        return [*connection.default_channel._queue_for("celery").queue]


def test_what_another_app_keeps_there_is_left_alone(scene: Scene) -> None:
    full, caller = scene
    outbox = full.parts.other_outboxes["shop"]
    schedule = samples.schedule("theirs", full.storage.now(), namespace="theirs")
    outbox.schedule(schedule, samples.scheduled(schedule))
    outbox.write([samples.task("theirs too")])
    place(full, caller)

    assert sweep(full) == 1
    assert {each.task_id for each in outbox.find(TaskQuery())} == {"task theirs", "theirs too"}
    assert full.parts.recorder.writer.storage.get("theirs too") is None


class Away:
    """The records' storage when it does not answer."""

    def get(self, task_id: str) -> Any:
        raise StorageError(f"nobody tells of {task_id!r}")


def test_nothing_is_claimed_while_the_records_are_away(tmp_path: Path) -> None:
    """Each sweeper would send what is to be sent at least once, and none could say so."""
    url, namespace = f"sqlite:///{tmp_path}/b.db", "of tests"
    with shop(url) as outbox, shop(f"sqlite:///{tmp_path}/a.db") as records:
        assert isinstance(outbox.storage, ScheduleStorage)
        due = samples.schedule("s", outbox.storage.now(), namespace=namespace)
        outbox.storage.schedule(due, samples.scheduled(due))
        cut_off = carrying_storage(outbox.storage, Away(), namespace)  # type: ignore[arg-type]

        with pytest.raises(StorageError, match="nobody tells"):
            cut_off.claim_due(namespace, outbox.storage.now(), "a claim", 1)

        assert outbox.storage.find_schedules(ScheduleQuery(claimed=True)) == []
        carrying = carrying_storage(outbox.storage, records.storage, namespace)
        found = carrying.claim_due(namespace, outbox.storage.now(), "a claim", 1)
        assert [each.schedule_id for each in found] == ["s"]


def test_nothing_is_cancelled_while_its_record_is_away(tmp_path: Path) -> None:
    """Or that would say for ever that the task is scheduled."""
    urls = {"shop": f"sqlite:///{tmp_path}/b.db"}
    with shop(f"sqlite:///{tmp_path}/a.db", fullresult_outboxes=urls) as full:
        outbox = full.parts.other_outboxes["shop"]
        due = samples.schedule("s", outbox.now() + timedelta(hours=1))
        outbox.schedule(due, samples.scheduled(due))
        records, event = full.parts.recorder.writer.storage, samples.became(due.task_id, "REVOKED")
        carrier = Carrier(outbox, records)
        carrier.carry([due.task_id])
        both = joined(records, {"shop": outbox})
        assert isinstance(both, JoinedStorage)
        both._carriers[0].target = Away()  # type: ignore[assignment]

        with pytest.raises(StorageError, match="nobody tells"):
            both.cancel("s", event)

        assert stored(full) == [due.task_id]
        both._carriers[0].target = records
        assert both.cancel("s", event)
        record = records.get(due.task_id)
        assert record is not None
        assert record.state == "REVOKED"


def test_an_outbox_whose_adapter_knows_no_time_to_compare_is_still_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = {"shop": f"sqlite:///{tmp_path}/b.db"}
    with shop(f"sqlite:///{tmp_path}/a.db", fullresult_outboxes=urls) as full:
        outbox = full.parts.other_outboxes["shop"]
        due = samples.schedule("s", outbox.now() + timedelta(hours=1))
        outbox.schedule(due, samples.scheduled(due))
        move, later = outbox.reschedule, due.due + timedelta(hours=1)

        def older(schedule_id: str, due: Any, event: Any) -> bool:
            return move(schedule_id, due, event)

        monkeypatch.setattr(outbox, "reschedule", older)

        assert full.reschedule(due.task_id, later)

        (moved,) = full.scheduled()
        assert moved.due == later


class Dying:
    """The records' storage of a sweeper that dies as its record is there."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def write(self, events: Any) -> None:
        self._storage.write(events)
        raise KeyboardInterrupt

    def get(self, task_id: str) -> Any:
        return self._storage.get(task_id)


def test_a_sweeper_that_dies_between_both_leaves_a_claim_and_the_record(scene: Scene) -> None:
    full, caller = scene
    task_id = place(full, caller)
    records, namespace = full.parts.recorder.writer.storage, full.settings.namespace
    outbox = full.parts.other_outboxes["shop"]
    dying = carrying_storage(outbox, Dying(records), namespace)  # type: ignore[arg-type]
    (schedule,) = dying.claim_due(namespace, dying.now(), "dead", 1)
    sent = samples.became(task_id, "SCHEDULED_SENT")
    with pytest.raises(KeyboardInterrupt):
        dying.mark_sent("dead", [schedule.schedule_id], [sent])

    record = records.get(task_id)
    assert record is not None
    assert (record.state, record.name) == ("SCHEDULED_SENT", "shop.charge")
    assert stored(full) == [task_id]
    carrying = carrying_storage(outbox, records, namespace)
    assert [*carrying.mark_sent("dead", [schedule.schedule_id], [sent])] == [schedule.schedule_id]
    assert (stored(full), outbox.find(TaskQuery())) == ([], [])


def test_a_database_that_is_the_storage_itself_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with (
        pytest.raises(ImproperlyConfigured, match="leave it out"),
        shop(url, fullresult_outboxes={"shop": url}) as full,
    ):
        full.settings  # noqa: B018  (it is read)
    with shop(url) as full, shop(f"sqlite:///{tmp_path}/../{tmp_path.name}/a.db") as same:
        assert isinstance(full.storage, ScheduleStorage)
        full.storage.write([samples.became("a", "SCHEDULED")])
        with pytest.raises(StorageError, match="leave it out"):
            Carrier(full.storage, same.storage).carry(["a"])
        assert full.get("a") is not None


def test_a_replay_is_steered_while_a_database_of_an_outbox_is_away(tmp_path: Path) -> None:
    away = {"shop": "postgresql://proj@127.0.0.1:1/shop"}
    settings = {**IN_MEMORY, "fullresult_storage_timeout": 1}
    with shop(f"sqlite:///{tmp_path}/a.db", fullresult_outboxes=away, **settings) as full:
        for number in range(2):
            task_id = full.app.send_task("shop.charge", (number,), queue="failing").id
            browsing.ran(full.app, task_id, "shop.charge", ValueError("card declined"))
        replay_id = full.replays.create(state="FAILURE", rate=1.0).replay_id
        governor = full.parts._governor()
        assert governor is not None
        governor.step()
        taken = full.replays.get(replay_id).taken

        full.replays.pause(replay_id)
        full.replays.resume(replay_id)
        waiting = full.replays.progress(replay_id).waiting

        assert taken == waiting == full.replays.cancel(replay_id) == 2


def test_a_storage_without_an_outbox_is_no_outbox(tmp_path: Path) -> None:
    for url, said in (("sqlite", "a URL such as"), ("nosql://x", "no installed adapter")):
        with (
            pytest.raises(ImproperlyConfigured, match=said),
            shop(f"sqlite:///{tmp_path}/a.db", fullresult_outboxes={"shop": url}) as full,
        ):
            full.parts.storage  # noqa: B018  (it is opened)


def test_no_password_of_an_outbox_is_shown(tmp_path: Path) -> None:
    outboxes = {"shop": "postgresql://proj:secret@nowhere.invalid/shop"}
    with shop(
        f"sqlite:///{tmp_path}/a.db", fullresult_outboxes=outboxes, fullresult_storage_timeout=1
    ) as full:
        shown = repr(full.settings), str(full.app.conf.table()), repr(full.parts.other_outboxes)
        with pytest.raises(StorageError) as raised:
            full.scheduled()

    assert "secret" not in f"{shown} {raised.value}"
    assert full.settings.outbox_url("shop") == outboxes["shop"]


def test_setup_makes_the_tables_of_an_outbox(tmp_path: Path) -> None:
    urls = {"shop": f"sqlite:///{tmp_path}/shop.db"}
    with shop(f"sqlite:///{tmp_path}/a.db", fullresult_outboxes=urls) as full:
        made = run(full.app, "setup", "--outbox", "shop")
        sql = run(full.app, "setup", "--outbox", "shop", "--sql")
        unknown = run(full.app, "setup", "--outbox", "shpo")

    assert (tmp_path / "shop.db").exists()
    assert "shop.db is ready" in made.stdout
    assert "CREATE TABLE" in sql.stdout
    assert unknown.exit_code == 1
    assert "fullresult_outboxes names 'shop'" in unknown.output


def test_the_other_views_name_it_an_outbox(tmp_path: Path) -> None:
    outbox = f"sqlite:///{tmp_path}/shop.db"
    with ExitStack() as stack:
        storage = f"sqlite:///{tmp_path}/records.db"
        settings: dict[str, Any] = {"fullresult_outboxes": {"shop": outbox}}
        app = stack.enter_context(browsing.shop(storage, **settings))
        full: FullResult = app.fullresult
        caller = stack.enter_context(KINDS["sqlite3"][1](outbox))
        full.setup("shop")
        task_id = place(full, caller, countdown=3600)

        status = run(app, "scheduled").stdout.split("\t")[4]
        (document,) = json.loads(run(app, "show", task_id, "--json").stdout)["schedules"]
        page = browsing.entered(app).get("/scheduled")

    assert status == "waits, outbox"
    assert document["outbox"] is True
    assert "waits outbox" in " ".join(page.words.split())


class Endless:
    """A sweeper that does not end."""

    def join(self, timeout: float | None = None) -> None:
        threading.Event().wait(timeout)


def test_several_sweepers_are_waited_for_no_longer_than_one() -> None:
    sweepers = Sweepers([Endless() for _ in range(5)])  # type: ignore[misc]
    began = time.monotonic()

    sweepers.join(0.2)

    assert 0.2 <= time.monotonic() - began < 0.9


@pytest.mark.slow
def test_workers_send_what_is_in_the_applications_database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    with workers.running("postgresql", request, fullresult_outboxes={"shop": url}) as scene:
        scene.full.setup("shop")
        with KINDS["sqlite3"][1](url) as caller:
            caller.begin()
            with scene.full.outbox(caller.connection, database="shop"):
                task_id = scene.send("add", 1, 2)
            caller.commit()

        record = scene.final(task_id, "SUCCESS")
    assert record.result == 3


@pytest.fixture(autouse=True)
def empty_queues() -> Iterator[None]:
    yield
    memory.Channel.queues.clear()


def test_sweeping_by_hand_sends_from_everywhere(scene: Scene) -> None:
    full, caller = scene
    place(full, caller)

    swept = run(full.app, "sweep")

    assert "Sent 1 task" in swept.stdout
    assert scheduling.waiting(full.app) == []


PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text(encoding="utf-8")


def test_the_grants_of_the_page_are_enough_to_sweep_an_outbox(
    postgresql_url: str, tmp_path: Path
) -> None:
    section = PAGE.partition("not in the records' database]")[2]
    grants = section.partition("```sql\n")[2].partition("```")[0]
    role = f"sweeper_{uuid4().hex[:8]}"
    theirs = postgresql_url.replace("postgres@", f"{role}:x@")
    assert role in theirs
    settings: dict[str, Any] = {"fullresult_outbox": False, **IN_MEMORY}
    records = f"sqlite:///{tmp_path}/records.db"
    with (
        psycopg.connect(postgresql_url, autocommit=True) as owner,
        shop(records, fullresult_outboxes={"shop": postgresql_url}, **settings) as full,
    ):
        full.setup("shop")
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
        owner.execute(grants.replace(" TO proj;", f" TO {role};").encode())
        try:
            with owner.transaction(), full.outbox(owner, database="shop"):
                task_id = publish(full)
            outboxes = {"shop": theirs}
            with shop(records, fullresult_outboxes=outboxes, **settings) as sweeping:
                sent = sweep(sweeping)
                left = stored(sweeping)
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())
        record = full.get(task_id)

    assert (sent, left) == (1, [])
    assert record is not None
    assert record.state == "SCHEDULED_SENT"
