"""Where a task went is told by its publisher, and a broker may have several names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

from fullresult import FullResult
from fullresult.insight.explain.explanation import Explanation
from fullresult.insight.live import Answer, WorkersNow
from fullresult.insight.queues import queues_of
from fullresult.record.stamps import mark_in
from tests.insight.test_explain_doubts import ANSWER, MINUTE, Said, also, waiting, why, worker
from tests.kit import servers
from tests.kit.explaining import explained, scene_maker

OURS, THEIRS = "redis://db:6379/0", "redis://db:6379/5"


@pytest.fixture
def full(tmp_path: Path) -> Any:
    app = Celery("shop", broker=OURS, set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    full = FullResult(app)
    full.setup()
    yield full
    full.close()
    app.close()


def empty(*answers: Answer, **queue: Any) -> Said:
    return Said(WorkersNow(answers), **{"ready": 0, "found": False, **queue})


def test_what_went_to_another_database_is_not_called_lost(full: FullResult) -> None:
    worker(full, "w1")
    worker(full, "w5", namespace=THEIRS)
    waiting(full, broker=THEIRS)

    found = why(full, empty(ANSWER))

    assert (found.verdict, found.confidence) == ("on another broker", "likely")
    assert found.sentence == (
        f"It was published to {THEIRS}, whose workers are w5@host; this app's broker is {OURS}, "
        "so that they were not asked."
    )
    assert found.commands == (f"run this command with broker_url = {THEIRS}",)
    assert also(found, "lost") is None


def test_a_broker_of_which_only_a_worker_that_is_gone_has_told(full: FullResult) -> None:
    now = full.storage.now()
    worker(full, "w1")
    worker(full, "w5", namespace=THEIRS, date_seen=now, alive_until=now)
    waiting(full, broker=THEIRS)

    found = why(full, empty(ANSWER))

    assert found.sentence == (
        f"It was published to {THEIRS}, of which no worker that lives has told; w1@host is on "
        f"{OURS}."
    )


def doubtful(found: Explanation) -> str:
    assert (found.verdict, found.confidence) == ("lost", "possible")
    assert found.sentence.startswith("It may be lost: ")
    assert all("resend" not in each or "  # it runs twice, if " in each for each in found.commands)
    return found.sentence


def test_an_unknown_broker_is_a_doubt(full: FullResult) -> None:
    """Of an earlier version, or of a publish that was given a connection of its own."""
    worker(full, "w1")

    waiting(full, broker="")
    assert doubtful(why(full, empty(ANSWER))).endswith(
        f", or it was published to another broker than {OURS}."
    )

    waiting(full, broker="redis://nobody-told/7")
    assert doubtful(why(full, empty(ANSWER))).endswith(
        f"; its publisher has another broker_url, which may be another broker than {OURS}."
    )


def test_two_names_of_one_broker_are_a_doubt_only_where_nothing_is_found(full: FullResult) -> None:
    alias = "redis://127.0.0.1:6379/0"
    worker(full, "w1")
    worker(full, "w9", namespace=alias, alive_until=full.storage.now())
    waiting(full, broker=alias)

    found = why(full, empty(ANSWER, ready=3, found=True, ahead=2))
    assert (found.verdict, found.confidence) == ("waits in its queue", "certain")

    assert doubtful(why(full, empty(ANSWER))).endswith(
        f"; its publisher has {alias}, which may be another broker than {OURS}."
    )


@pytest.mark.parametrize(
    ("there", "confidence"),
    [(THEIRS, "certain"), ("redis://127.0.0.1:6379/0", "possible")],
)
def test_workers_on_another_broker_are_so_for_sure_only_if_it_is_not_this_one(
    full: FullResult, there: str, confidence: str
) -> None:
    worker(full, "w1", namespace=there)
    waiting(full)

    found = why(full, empty())

    assert (found.verdict, found.confidence) == ("on another broker", confidence)
    doubt = "" if confidence == "certain" else f"; {there} may be another name of the same broker"
    assert found.sentence == f"w1@host lives, but on {there}; this task went to {OURS}{doubt}."


ALIAS = "redis://127.0.0.1:6379/0"


def test_what_waits_here_did_not_go_elsewhere(full: FullResult) -> None:
    """The broker has it in its queue: which one its publisher has needs no guess."""
    worker(full, "w1", namespace=THEIRS)
    waiting(full, broker="")

    found = why(full, empty(ready=1, found=True, ahead=0))

    assert (found.verdict, found.confidence) == ("on another broker", "certain")
    assert found.sentence == f"w1@host lives, but on {THEIRS}; this task waits in celery on {OURS}."
    waits = also(found, "waits in its queue")
    assert waits is not None
    assert "with 0 messages before it" in waits.sentence


def test_what_a_worker_took_here_did_not_go_elsewhere(full: FullResult) -> None:
    worker(full, "w1", namespace=THEIRS)
    waiting(full)

    found = why(full, empty(taken_at=(full.storage.now() - MINUTE).timestamp()))

    assert found.verdict == "taken and not acknowledged"
    assert also(found, "on another broker") is None


def test_where_a_worker_may_be_on_this_broker_a_task_that_is_here_just_waits(
    full: FullResult,
) -> None:
    worker(full, "w1", namespace=ALIAS)
    waiting(full)

    found = why(full, empty(ready=1, found=True, ahead=0))

    assert (found.verdict, found.confidence) == ("waits in its queue", "certain")
    assert also(found, "on another broker") is None


def test_two_names_of_one_broker_are_to_be_made_one(full: FullResult) -> None:
    worker(full, "w1", namespace=ALIAS)
    waiting(full)

    (advice,) = why(full, empty()).commands

    assert advice == (
        "if these name one broker, have all name it alike, by broker_url or fullresult_namespace; "
        "else set broker_url to the same for publishers, workers and this command"
    )


def with_two_names(full: FullResult) -> None:
    """A worker of mail, and one of celery that names this app's broker otherwise."""
    worker(full, "w1", queues=("mail",))
    worker(full, "w9", namespace=ALIAS)
    waiting(full)


def test_a_worker_that_names_the_broker_otherwise_may_have_it(full: FullResult) -> None:
    """Its queue is not said to be left alone, and it is told that this worker was not heard."""
    with_two_names(full)
    unheard = empty(replace(ANSWER, queues=("mail",)))

    found = why(full, unheard)

    assert (found.verdict, found.confidence) == ("lost", "possible")
    (unknown,) = found.unknown
    assert unknown.startswith(f"worker w9@host: it lives, on {ALIAS}, which may be this app's ")
    [queue] = [
        each
        for each in queues_of(full.storage, full.settings, unheard).queues
        if each.name == "celery"
    ]
    assert (queue.workers, queue.problem) == (("w9@host",), None)

    taken = why(full, empty(replace(ANSWER, queues=("mail",)), taken_at=1_800_000_000.0))
    assert taken.verdict == "taken and not acknowledged"
    assert ": w9@host may have it." in taken.sentence


def test_a_worker_that_names_the_broker_otherwise_is_waited_for(full: FullResult) -> None:
    with_two_names(full)
    asked: list[str] = []

    class Asked(Said):
        def ask(self, ids: Any, expected: Any, queues: Any, **options: Any) -> Any:
            asked.extend(expected)
            return super().ask(ids, expected, queues, **options)

    why(full, Asked(WorkersNow((ANSWER,)), ready=0, found=False))

    assert {*asked} == {"w1@host", "w9@host"}


def test_where_it_went_is_not_said_if_that_is_not_known(full: FullResult) -> None:
    worker(full, "w1", namespace=THEIRS)
    waiting(full, broker="")

    found = why(full, empty())

    assert found.confidence == "possible"
    assert found.sentence == (
        f"w1@host lives, but on {THEIRS}; this app's broker is {OURS}, and which one its publisher "
        "has is not known."
    )


def test_a_publish_by_a_connection_of_its_own_tells_no_broker(tmp_path: Path) -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    full = FullResult(app)
    full.setup()

    with Connection("memory://") as other:
        by_itself = app.send_task("shop.pay", connection=other).id
    by_the_app = app.send_task("shop.pay").id

    def mark(task_id: str) -> str:
        record = full.get(task_id)
        assert record is not None
        assert record.outcome is not None
        return mark_in(record.outcome.stamp)

    assert mark(by_itself) == ""
    assert len(mark(by_the_app)) == 3
    full.close()
    app.close()


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_real_publisher_on_another_broker(
    broker: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(f"{broker}_server")
    lend = servers.redis_database if broker == "redis" else servers.rabbitmq_vhost
    with lend(server) as other, scene_maker(broker, request, tmp_path)() as scene, scene.worker():
        there = Celery("scenario", broker=other, set_as_current=False)
        there.conf.fullresult_storage = scene.app.conf.fullresult_storage
        publisher = FullResult(there)
        task_id = there.send_task("scenario.add", (1, 2)).id
        publisher.close()
        there.close()

        found = explained(scene, task_id, "lost")

    assert found.confidence == "possible"
    assert found.sentence.startswith("It may be lost: the queue is empty, and ")
    assert f"which may be another broker than {scene.full.settings.namespace}" in found.sentence
