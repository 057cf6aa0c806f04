"""Chords counted in a result backend: whoever completes one publishes its body, once.

No worker: the broker is in memory, the members are told as a worker tells them, and the bodies
are read from the queue. Redis's way is the model; Celery's database backend polls instead.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chord, group
from celery.exceptions import ChordError
from kombu import Connection

from tests.kit.backend_contract import PATIENCE, NativeContract, Place, echo, new_id, request_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Header:
    """A chord that was published, its members still to be told."""

    def __init__(self, app: Celery, size: int) -> None:
        self.app = app
        member, body = app.tasks["contract.member"], app.tasks["contract.body"]
        self.result = chord([member.s(n) for n in range(size)])(body.s())
        self.requests = requests(app)

    def tell(self, index: int, value: Any = None) -> None:
        """A worker says that the member *index* succeeded."""
        request = self.requests[index]
        self.app.backend.mark_as_done(request.id, index if value is None else value, request)

    def fail(self, index: int, error: Exception) -> None:
        request = self.requests[index]
        self.app.backend.mark_as_failure(request.id, error, "tb", request)

    def bodies(self) -> list[Any]:
        """The first argument of every body that was published meanwhile."""
        return [json.loads(message.body)[0][0] for message in messages(self.app)]


def messages(app: Celery) -> list[Any]:
    """Everything in the queue, taken out."""
    found = []
    with app.connection_for_read() as connection:
        assert isinstance(connection, Connection)
        queue = app.amqp.queues[app.conf.task_default_queue](connection.default_channel)
        while message := queue.get(no_ack=True):
            found.append(message)
    return found


def requests(app: Celery) -> list[Any]:
    """Those of a worker that got what is in the queue."""
    return [_request(message) for message in messages(app)]


def _request(message: Any) -> Any:
    """The request of a worker that got *message*."""
    args, kwargs, embed = json.loads(message.body)
    return request_of(
        message.headers["id"],
        **{
            **message.headers,
            "args": args,
            "kwargs": kwargs,
            "callbacks": embed["callbacks"],
            "errbacks": embed["errbacks"],
            "chain": embed["chain"],
            "chord": embed["chord"],
        },
    )


class TestChords(NativeContract):
    @pytest.fixture
    def app(self, place: Place) -> Iterator[Celery]:
        # A queue of its own: all brokers in memory are one.
        with place.app(task_default_queue=new_id()) as app:
            app.task(name="contract.member")(echo)
            app.task(name="contract.body")(echo)
            yield app

    def test_the_body_comes_with_the_last(self, app: Celery) -> None:
        header = Header(app, 3)
        header.tell(0)
        header.tell(1)
        early = header.bodies()

        header.tell(2)

        assert early == []
        assert header.bodies() == [[0, 1, 2]]

    def test_results_are_in_the_order_of_the_header(self, app: Celery) -> None:
        header = Header(app, 12)

        for index in (11, 3, 7, 0, 10, 1, 9, 2, 8, 4, 6, 5):
            header.tell(index)

        assert header.bodies() == [list(range(12))]

    def test_a_member_told_twice_counts_once(self, app: Celery) -> None:
        """A redelivered message, or a hard time limit that is told by parent and child."""
        header = Header(app, 3)

        header.tell(0)
        header.tell(0)
        header.tell(0)
        header.tell(1)
        early = header.bodies()
        header.tell(2)

        assert early == []
        assert header.bodies() == [[0, 1, 2]]

    def test_the_last_told_twice_publishes_one_body(self, app: Celery) -> None:
        header = Header(app, 2)
        header.tell(0)
        header.tell(1)

        header.tell(1)
        header.tell(0)

        assert header.bodies() == [[0, 1]]

    def test_all_at_once(self, app: Celery, place: Place) -> None:
        """Of many that end in the same moment, one learns that it was the last."""
        header = Header(app, 16)
        gate = threading.Barrier(16)

        def tell(index: int) -> None:
            gate.wait(PATIENCE)
            header.tell(index)
            if not place.ours:
                app.backend.client.close()

        with ThreadPoolExecutor(16) as pool:
            for future in [pool.submit(tell, index) for index in range(16)]:
                future.result(PATIENCE)

        assert header.bodies() == [list(range(16))]

    def test_the_last_told_by_two_at_once(self, app: Celery, place: Place) -> None:
        """A message delivered twice, its copies ending in the same moment."""
        bodies = 0
        for _ in range(10):
            header = Header(app, 2)
            header.tell(0)
            gate = threading.Barrier(2)

            def tell(header: Header = header, gate: threading.Barrier = gate) -> None:
                gate.wait(PATIENCE)
                header.tell(1)
                if not place.ours:
                    app.backend.client.close()

            with ThreadPoolExecutor(2) as pool:
                for future in [pool.submit(tell) for _ in range(2)]:
                    future.result(PATIENCE)
            bodies += len(header.bodies())

        assert bodies == 10

    def test_a_failed_member_fails_the_body(self, app: Celery) -> None:
        """Whoever waits for the chord gets to know why, and nothing is published."""
        header = Header(app, 3)
        header.tell(0)
        header.fail(1, KeyError("k"))
        header.tell(2)

        with pytest.raises(ChordError, match=r"raised KeyError\('k'\)"):
            header.result.get(timeout=PATIENCE, follow_parents=False)

        assert header.bodies() == []

    def test_results_that_need_care(self, app: Celery) -> None:
        """NUL, lone surrogates, text like JSON, None: what a database would rather not hold."""
        values = ["a\x00b", "\ud800", '{"a": 1}', {"$set": {"a.b": 1}}, [[["x", None], None]]]
        header = Header(app, len(values))

        for index, value in enumerate(values):
            header.tell(index, value)

        assert header.bodies() == [values]

    def test_members_of_a_megabyte(self, app: Celery) -> None:
        header = Header(app, 3)

        for index in range(3):
            header.tell(index, "x" * 1_000_000)

        ((first, second, third),) = header.bodies()
        assert (len(first), len(second), len(third)) == (1_000_000,) * 3

    @pytest.mark.parametrize("size", [200, pytest.param(1000, marks=pytest.mark.campaign)])
    def test_a_large_one(self, app: Celery, size: int) -> None:
        header = Header(app, size)

        for index in range(size):
            header.tell(index)

        assert header.bodies() == [list(range(size))]

    def test_a_member_that_was_added(self, app: Celery) -> None:
        """`Task.add_to_chord`: one more is waited for."""
        header = Header(app, 2)
        member = app.tasks["contract.member"]
        request = header.requests[0]
        added = member.s(2).set(group_id=request.group, chord=request.chord)
        app.backend.add_to_chord(request.group, added.freeze(group_id=request.group))
        added.apply_async()
        (message,) = messages(app)
        late = _request(message)

        header.tell(0)
        header.tell(1)
        early = header.bodies()
        app.backend.mark_as_done(late.id, 2, late)

        assert early == []
        ((*values,),) = header.bodies()
        assert sorted(values) == [0, 1, 2]

    def test_members_that_end_before_the_last_is_published(self, app: Celery) -> None:
        """Celery tells the size of a chord with its last member; the first may be done by then."""
        member, body = app.tasks["contract.member"], app.tasks["contract.body"]
        told = []

        def members() -> Iterator[Any]:
            for n in range(5):
                yield member.s(n)
                for message in messages(app):
                    request = _request(message)
                    told.append(request.id)
                    app.backend.mark_as_done(request.id, request.args[0], request)

        result = chord(group(members()))(body.s())
        bodies = []
        for message in messages(app):
            if message.headers["task"] == "contract.body":
                bodies.append(json.loads(message.body)[0][0])
                continue
            request = _request(message)
            app.backend.mark_as_done(request.id, request.args[0], request)
        bodies += [json.loads(message.body)[0][0] for message in messages(app)]

        assert bodies == [[0, 1, 2, 3, 4]]
        assert result.parent is not None

    @pytest.mark.parametrize("how", ["retried before", "redelivered", "failed"])
    def test_the_next_run_of_a_frozen_chord_has_its_own_ends(self, app: Celery, how: str) -> None:
        """Though the records of its members keep the success of the run before."""
        frozen = chord([app.tasks["contract.member"].s(0)], app.tasks["contract.body"].s())
        frozen.freeze()
        frozen.apply_async()
        (first,) = requests(app)
        first.retries = int(how == "retried before")
        app.backend.mark_as_done(first.id, "first", first)
        bodies = messages(app)
        result = frozen.apply_async()
        (second,) = requests(app)
        second.delivery_info = {"redelivered": how == "redelivered"}
        if how == "failed":
            app.backend.mark_as_failure(second.id, ValueError("second"), "tb", second)
        else:
            app.backend.mark_as_done(second.id, "second", second)
        bodies += messages(app)

        values = [json.loads(message.body)[0][0] for message in bodies]
        assert values == [["first"]] + [["second"]] * (how != "failed")
        if how == "failed":
            with pytest.raises(ChordError, match="second"):
                result.get(timeout=PATIENCE, follow_parents=False)

    def test_two_chords_do_not_mix(self, app: Celery) -> None:
        one, two = Header(app, 2), Header(app, 2)

        one.tell(0, "one")
        two.tell(0, "two")
        one.tell(1, "one")
        first = one.bodies()
        two.tell(1, "two")

        assert first == [["one", "one"]]
        assert two.bodies() == [["two", "two"]]

    def test_nothing_polls(self, app: Celery) -> None:
        """No `celery.chord_unlock` is published."""
        header = Header(app, 2)

        assert len(header.requests) == 2
        assert all(request.task == "contract.member" for request in header.requests)

    def test_results_of_members_are_there_too(self, app: Celery) -> None:
        header = Header(app, 2)
        header.tell(0, "a")

        assert app.AsyncResult(header.requests[0].id).get(timeout=PATIENCE) == "a"
        assert header.result.parent is not None
        assert not header.result.parent.ready()

    def test_members_whose_results_are_ignored(self, app: Celery, place: Place) -> None:
        """Celery forbids it. Redis keeps them for the body; ours fails it, and none waits."""
        header = Header(app, 2)
        for request in header.requests:
            request.ignore_result = True

        header.tell(0)
        header.tell(1)

        if place.ours:
            with pytest.raises(ChordError):
                header.result.get(timeout=PATIENCE, follow_parents=False)
        else:
            assert header.bodies() == [[0, 1]]

    def test_a_retried_member_counts_at_its_end(self, app: Celery) -> None:
        header = Header(app, 2)
        header.tell(0)
        last = header.requests[1]
        app.backend.mark_as_retry(last.id, ValueError("again"), "tb", last)
        early = header.bodies()

        header.tell(1)

        assert early == []
        assert header.bodies() == [[0, 1]]

    def test_a_revoked_member_fails_the_body(self, app: Celery) -> None:
        header = Header(app, 2)
        header.tell(0)
        last = header.requests[1]

        app.backend.mark_as_revoked(last.id, "revoked", last)

        with pytest.raises(ChordError):
            header.result.get(timeout=PATIENCE, follow_parents=False)
