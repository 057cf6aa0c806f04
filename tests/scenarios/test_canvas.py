"""What records say of chains, groups, chords, links, replacements and tasks that publish tasks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import celery
import pytest
from celery import chain, chord, group

from fullresult import TaskRecord
from tests.kit import workers
from tests.kit.workers import Scene

MODULE = "tests.apps.scenario_canvas_app"
CELERY = tuple(int(part) for part in celery.__version__.split(".")[:2])


@pytest.fixture(scope="module")
def running(storage_kind: str, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A worker with two processes, on a redis result backend."""
    with workers.running(storage_kind, request, module=MODULE, concurrency=2) as scene:
        yield scene


@pytest.fixture(scope="module")
def polling(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """The same on a database as result backend, where `celery.chord_unlock` polls for a chord."""
    results = tmp_path_factory.mktemp("results") / "results.db"
    with workers.running(
        "postgresql",
        request,
        module=MODULE,
        concurrency=2,
        result_backend=f"db+sqlite:///{results}",
        result_chord_retry_interval=0.1,
    ) as scene:
        yield scene


def others(scene: Scene, record: TaskRecord) -> list[TaskRecord]:
    """The other records under the same root, oldest first."""
    found = scene.full.find(root_id=record.root_id, order="oldest")
    return [other for other in found if other.task_id != record.task_id]


def states(record: TaskRecord) -> list[tuple[str, int]]:
    return [(execution.state, execution.retries) for execution in record.executions]


# --- Chains


def test_a_chain(running: Scene) -> None:
    """Each member names the one before as its parent and the first as its root."""
    adding = running.task("add")

    result = chain(adding.s(1, 2), adding.s(10), adding.s(100)).apply_async()

    last = running.final(result.id, "SUCCESS")
    middle = running.final(result.parent.id, "SUCCESS")
    first = running.final(result.parent.parent.id, "SUCCESS")
    assert [record.result for record in (first, middle, last)] == [3, 13, 113]
    assert [record.args for record in (first, middle, last)] == [[1, 2], [3, 10], [13, 100]]
    assert {record.root_id for record in (first, middle, last)} == {first.task_id}
    assert [r.parent_id for r in (first, middle, last)] == [None, first.task_id, middle.task_id]
    assert (first.children, middle.children) == ((middle.task_id,), (last.task_id,))
    assert len(first.embed["chain"]) == 2
    assert last.children == ()


def test_a_failing_chain(running: Scene) -> None:
    """The member that failed is the last that was ever published."""
    result = chain(
        running.task("add").s(1, 2), running.task("fail").si("broken"), running.task("add").s(1)
    ).apply_async()

    failed = running.final(result.parent.id, "FAILURE")

    assert failed.exception_message == "broken"
    assert [r.task_id for r in others(running, failed)] == [result.parent.parent.id]
    assert running.full.get(result.id) is None


def test_a_retried_member_of_a_chain(running: Scene) -> None:
    """The second attempt's message names itself as its parent; the record keeps the first's."""
    adding = running.task("add")

    result = chain(adding.s(1, 2), running.task("retried_add").s(10), adding.s(1)).apply_async()

    last = running.final(result.id, "SUCCESS")
    middle = running.final(result.parent.id, "SUCCESS", retries=1)
    assert (middle.result, last.result) == (13, 14)
    assert middle.parent_id == result.parent.parent.id
    assert last.parent_id == middle.task_id
    assert states(middle) == [("RETRY", 0), ("SUCCESS", 1)]
    assert middle.children == (last.task_id,)


def test_a_chain_whose_next_member_cannot_be_encoded(running: Scene) -> None:
    """The task fails with what its result was refused for; the next one is seen not to be sent."""
    result = chain(running.task("not_json").s(), running.task("add").s(1)).apply_async()

    first = running.final(result.parent.id, "FAILURE")

    assert first.exception_type == "kombu.exceptions.EncodeError"
    unsent = running.final(result.id, "UNSENT")
    assert unsent.exception_type == "kombu.exceptions.EncodeError"
    assert unsent.parent_id == first.task_id


# --- Groups and chords


def test_a_group(running: Scene) -> None:
    result = group(running.task("add").s(n, n) for n in range(3)).apply_async()

    members = [running.final(member.id, "SUCCESS") for member in result.results]

    assert [member.result for member in members] == [0, 2, 4]
    assert {member.group_id for member in members} == {result.id}
    assert [member.headers["group_index"] for member in members] == [0, 1, 2]
    assert {r.task_id for r in running.full.find(group_id=result.id)} == {
        member.id for member in result.results
    }


def test_a_chord(running: Scene) -> None:
    """The body is published by the member that finished last, and belongs to the header's group."""
    header = [running.task("add").s(n, n) for n in range(3)]

    result = chord(header, running.task("tsum").s()).apply_async()

    body = running.final(result.id, "SUCCESS")
    members = [running.final(member.id, "SUCCESS") for member in result.parent.results]
    assert (body.result, body.name) == (6, "scenario.tsum")
    assert sorted(body.args[0]) == [0, 2, 4]
    assert {member.group_id for member in members} == {result.parent.id}
    assert all(member.embed["chord"]["task"] == "scenario.tsum" for member in members)
    assert body.parent_id in {member.task_id for member in members}
    (last,) = (member for member in members if member.task_id == body.parent_id)
    assert last.children == (body.task_id,)


def test_a_chord_with_a_member_that_fails(running: Scene) -> None:
    """Nobody publishes the body, and nothing is recorded of it."""
    header = [running.task("add").s(1, 1), running.task("fail").s("broken")]

    result = chord(header, running.task("tsum").s()).apply_async()

    good, bad = result.parent.results
    assert running.final(bad.id, "FAILURE").exception_message == "broken"
    assert running.final(good.id, "SUCCESS").result == 2
    assert running.full.get(result.id) is None


def test_a_chord_member_that_adds_another(running: Scene) -> None:
    result = chord(
        [running.task("chord_member_that_adds").s(5)], running.task("tsum").s()
    ).apply_async()

    body = running.final(result.id, "SUCCESS")

    assert body.result == 110
    (member,) = result.parent.results
    (added,) = (r for r in running.full.find(group_id=result.parent.id, name="scenario.add"))
    assert (added.state, added.result, added.parent_id) == ("SUCCESS", 105, member.id)


def test_a_chord_on_a_result_backend_that_polls(polling: Scene) -> None:
    """`celery.chord_unlock`, which asks again and again, is never recorded."""
    header = [polling.task("add").s(n, n) for n in range(3)]

    result = chord(header, polling.task("tsum").s()).apply_async()

    body = polling.final(result.id, "SUCCESS")
    members = [polling.final(member.id, "SUCCESS") for member in result.parent.results]
    assert body.result == 6
    assert {member.group_id for member in members} == {result.parent.id}
    assert polling.full.count(name="celery.*") == 0


def test_a_chord_with_a_failing_member_on_a_result_backend_that_polls(polling: Scene) -> None:
    header = [polling.task("add").s(1, 1), polling.task("fail").s("broken")]

    result = chord(header, polling.task("tsum").s()).apply_async()

    good, bad = result.parent.results
    assert polling.final(bad.id, "FAILURE").exception_message == "broken"
    assert polling.final(good.id, "SUCCESS").result == 2
    polling.workers[0].wait_for_log("chord_unlock")
    assert polling.full.get(result.id) is None
    assert polling.full.count(name="celery.*") == 0


# --- Replacements


def test_a_replaced_task(running: Scene) -> None:
    """The id stays: one record, named as it was first published, with the replacement's end."""
    task_id = running.send("replaced", 41)

    record = running.final(task_id, "SUCCESS")

    assert (record.name, record.args, record.result) == ("scenario.replaced", [41], 42)
    assert record.parent_id is None
    assert record.root_id == task_id
    assert states(record) == [("IGNORED", 0), ("SUCCESS", 0)]
    assert record.date_done == record.executions[1].date_done


def test_a_task_replaced_twice(running: Scene) -> None:
    task_id = running.send("replaced_twice", 41)

    record = running.final(task_id, "SUCCESS")

    assert (record.name, record.result) == ("scenario.replaced_twice", 42)
    assert states(record) == [("IGNORED", 0), ("IGNORED", 0), ("SUCCESS", 0)]


def test_a_task_replaced_by_one_that_is_retried(running: Scene) -> None:
    task_id = running.send("replaced_by_retried", 41)

    record = running.final(task_id, "SUCCESS", retries=1)

    assert record.result == 42
    assert states(record) == [("IGNORED", 0), ("RETRY", 0), ("SUCCESS", 1)]


def test_a_task_replaced_by_one_that_fails(running: Scene) -> None:
    task_id = running.send("replaced_by_failing")

    record = running.final(task_id, "FAILURE")

    assert record.exception_message == "the replacement"
    assert states(record) == [("IGNORED", 0), ("FAILURE", 0)]


def test_a_task_replaced_by_a_group(running: Scene) -> None:
    """Celery gives the id to a `celery.accumulate` that collects the members' results."""
    task_id = running.send("replaced_by_group", 3)

    record = running.final(task_id, "SUCCESS")

    assert (record.name, sorted(record.result)) == ("scenario.replaced_by_group", [0, 2, 4])
    members = [r for r in others(running, record) if r.name == "scenario.add"]
    assert sorted(member.result for member in members) == [0, 2, 4]
    assert len({member.group_id for member in members}) == 1
    assert {member.root_id for member in members} == {task_id}


def test_a_replaced_member_of_a_chain(running: Scene) -> None:
    """The rest of the chain goes on after the replacement."""
    result = chain(running.task("replaced").s(1), running.task("add").s(10)).apply_async()

    last = running.final(result.id, "SUCCESS")
    first = running.final(result.parent.id, "SUCCESS")

    assert (first.result, last.result) == (2, 12)
    assert last.parent_id == first.task_id
    assert first.children == (last.task_id,)


# --- Links and errbacks


def test_links(running: Scene) -> None:
    """Two links of one task are published as a group; both are its children."""
    adding = running.task("add")

    task_id = running.send("add", 1, 2, link=[adding.s(10), adding.s(100)])

    record = running.final(task_id, "SUCCESS")
    running.eventually(task_id, lambda r: all(map(workers.is_finished, others(running, r))))
    links = others(running, record)
    assert sorted(link.result for link in links) == [13, 103]
    assert {link.parent_id for link in links} == {task_id}
    assert set(record.children) == {link.task_id for link in links}
    assert [link["args"] for link in record.embed["callbacks"]] == [[10], [100]]


def test_an_errback_that_is_called_in_place(running: Scene) -> None:
    """It is a plain function call to Celery: no signals, no record of its own."""
    task_id = running.send("fail", "broken", link_error=running.task("errback_inline").s())

    record = running.final(task_id, "FAILURE")

    assert (record.exception_type, record.exception_message) == ("ValueError", "broken")
    assert record.embed["errbacks"][0]["task"] == "scenario.errback_inline"
    assert others(running, record) == []


def test_an_errback_that_is_published(running: Scene) -> None:
    """Also one that takes nothing: it names the task that failed as its parent."""
    published = running.task("errback_published")
    known, immutable = f"known-{uuid.uuid4()}", f"immutable-{uuid.uuid4()}"
    errbacks = [published.s().set(task_id=known), published.si("mine").set(task_id=immutable)]

    task_id = running.send("fail", "broken", link_error=errbacks)

    record = running.final(task_id, "FAILURE")
    assert record.exception_message == "broken"
    assert running.final(known, "SUCCESS").result == task_id
    assert running.final(immutable, "SUCCESS").result == "mine"
    assert {r.task_id for r in others(running, record)} == {known, immutable}
    assert {r.parent_id for r in others(running, record)} == {task_id}


def test_an_errback_that_is_not_registered(running: Scene) -> None:
    """It is published for other workers to know; here nobody does."""
    errback = running.app.signature("scenario.nobody_knows", task_id=f"lost-{uuid.uuid4()}")

    task_id = running.send("fail", "broken", link_error=errback)

    record = running.final(task_id, "FAILURE")
    lost = running.final(errback.options["task_id"], "FAILURE")
    assert record.exception_message == "broken"
    assert (lost.name, lost.parent_id) == ("scenario.nobody_knows", task_id)
    assert lost.exception_type == "celery.exceptions.NotRegistered"


def test_an_errback_that_celery_cannot_publish(running: Scene) -> None:
    """A bound one of three arguments: Celery fails over it, and tells no signal the real error."""
    task_id = running.send("fail", "broken", link_error=running.task("errback_bound").s())

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "TypeError"
    assert "errback_bound" in (record.exception_message or "")
    assert states(record) == [("FAILURE", 0)]


# --- Tasks in tasks


def test_what_a_task_publishes_are_its_children(running: Scene) -> None:
    """In order, the members of a group one by one, and each names it as parent and root."""
    task_id = running.send("parent", 2)

    record = running.final(task_id, "SUCCESS")
    ids = record.result
    children = [running.final(child, "SUCCESS") for child in ids]

    assert record.children == tuple(ids)
    assert len(ids) == 4
    assert {child.parent_id for child in children} == {task_id}
    assert {child.root_id for child in children} == {task_id}
    assert [child.group_id is None for child in children] == [True, True, False, False]


def test_a_failed_task_has_children_too(running: Scene) -> None:
    task_id = running.send("parent_that_fails")

    record = running.final(task_id, "FAILURE")

    (child,) = record.children
    assert running.final(child, "SUCCESS").parent_id == task_id


def test_starmap_and_chunks(running: Scene) -> None:
    """One record per message; the calls inside it are calls, not tasks."""
    adding = running.task("add")

    mapped = adding.starmap([(1, 1), (2, 2)]).apply_async()
    chunked = adding.chunks([(n, n) for n in range(4)], 2).apply_async()

    record = running.final(mapped.id, "SUCCESS")
    assert (record.name, record.result) == ("celery.starmap", [2, 4])
    assert record.kwargs["task"]["task"] == "scenario.add"
    chunks = [running.final(chunk.id, "SUCCESS") for chunk in chunked.results]
    assert [chunk.result for chunk in chunks] == [[0, 2], [4, 6]]
    assert {chunk.group_id for chunk in chunks} == {chunked.id}


def test_stamps(running: Scene) -> None:
    """They are carried along a chain."""
    adding = running.task("add")
    stamped: Any = chain(adding.s(1, 2), adding.s(3))
    stamped.stamp(order="7")

    result = stamped.apply_async()

    last = running.final(result.id, "SUCCESS")
    first = running.final(result.parent.id, "SUCCESS")
    assert "7" in str(first.stamps["order"])
    assert "7" in str(last.stamps["order"])
