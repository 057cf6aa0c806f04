"""The suite: one storage used by several threads, processes, and on both sides of a fork."""

from __future__ import annotations

import functools
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from fullresult.record import TaskRecord
from fullresult.record.merging import fold, merge
from fullresult.storage import Storage, TaskQuery
from fullresult.testing import processes, samples
from fullresult.testing.fixtures import Fixtures, ids, known
from fullresult.testing.processes import OpenStorage

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no os.fork here")


def told(task_id: str, number: int) -> TaskRecord:
    """An event with *number* in every part."""
    at = samples.after(number)
    text = str(number)
    entry = samples.entry("RETRY", at, retries=number, worker=text)
    outcome = samples.outcome(
        "RETRY", at, retries=number, worker=text, result_text=text, traceback=text * 500
    )
    message = samples.message(at, name=text, queue=text, headers=text, body=text.encode() * 500)
    stored = samples.stored(text.encode() * 500, "RETRY", at)._replace(content_type=text)
    return samples.event(
        task_id, at, outcome=outcome, message=message, stored=stored, entries=(entry,)
    )


def check_whole(record: TaskRecord) -> None:
    """Check that each part of *record* comes whole from one event."""
    outcome, message, stored = record.outcome, record.message, record.stored
    assert outcome is not None
    assert message is not None
    assert stored is not None
    text = str(outcome.retries)
    assert (outcome.worker, outcome.result_text, outcome.traceback) == (text, text, text * 500)
    assert message.body == (message.name or "").encode() * 500
    assert message.name == message.queue == message.headers
    assert stored.body == stored.content_type.encode() * 500
    assert outcome.retries in [entry.retries for entry in record.entries]
    assert record.date_updated >= outcome.stale_from


class Sharing(Fixtures):
    def test_threads_writing_one_task_lose_nothing(self, storage: Storage) -> None:
        events = [told("a", number) for number in range(40)]
        expected = functools.reduce(merge, events)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda event: storage.write([event]), _shuffled(events * 3, 1)))

        assert known(storage, "a") == expected

    def test_no_record_is_seen_half_written(self, storage: Storage) -> None:
        events = _shuffled([told("a", number) for number in range(150)], 2)
        storage.write([told("a", 75)])

        with ThreadPoolExecutor(2) as threads:
            halves = [events[::2], events[1::2]]
            writing = [
                threads.submit(lambda half: [storage.write([e]) for e in half], half)
                for half in halves
            ]
            while not all(each.done() for each in writing):
                check_whole(known(storage, "a"))
                for record in storage.find(TaskQuery(name="*")):
                    check_whole(record)

        assert [each.exception() for each in writing] == [None, None]
        check_whole(known(storage, "a"))

    def test_batches_from_many_threads_do_not_stop_one_another(self, storage: Storage) -> None:
        names = [f"{number}" for number in range(30)]
        batches = [fold(told(name, batch) for name in names) for batch in range(12)]

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(storage.write, batches))

        for name in names:
            expected = functools.reduce(merge, (told(name, batch) for batch in range(12)))
            assert known(storage, name) == expected

    def test_two_processes_writing_one_task_at_once_lose_nothing(
        self, url: str, storage: Storage, opener: OpenStorage
    ) -> None:
        events = [told("a", number) for number in range(80)]
        others = [told("b", number) for number in range(20)]
        batches = [[event] for event in events] + [
            [a, b] for a, b in zip(events, others, strict=False)
        ]

        codes = processes.run(
            processes.write,
            (opener, url, _shuffled(batches[::2] + batches[:20], 3)),
            (opener, url, _shuffled(batches[1::2] + batches[:20], 4)),
        )

        assert codes == [0, 0]
        assert known(storage, "a") == functools.reduce(merge, events)
        assert known(storage, "b") == functools.reduce(merge, others)

    def test_what_is_written_survives_the_death_of_its_writer(
        self, url: str, storage: Storage, opener: OpenStorage
    ) -> None:
        events = [told("a", 1), told("b", 1)]

        codes = processes.run(processes.write_and_die, (opener, url, events))

        assert codes == [-9]
        assert [known(storage, task_id) for task_id in "ab"] == events

    @forks
    def test_parent_and_child_use_a_storage_after_a_fork(
        self, url: str, storage: Storage, opener: OpenStorage
    ) -> None:
        codes = processes.run(processes.fork, (opener, url))

        assert codes == [0]
        assert ids(storage.find(TaskQuery(order="oldest"))) == [
            "child",
            "parent after",
            "parent before",
            "parent during",
        ]

    @forks
    def test_a_child_goes_on_when_its_parent_closes_the_storage(
        self, url: str, opener: OpenStorage
    ) -> None:
        first = opener(url)
        first.setup()
        first.close()

        codes = processes.run(processes.fork_and_close, (opener, url))

        assert codes == [0]
        storage = opener(url)
        assert ids(storage.find(TaskQuery(order="oldest"))) == [
            "child after",
            "child before",
            "parent",
        ]
        storage.close()

    @forks
    def test_a_process_may_fork_while_its_threads_write(
        self, url: str, storage: Storage, opener: OpenStorage
    ) -> None:
        codes = processes.run(processes.fork_amid_threads, (opener, url, 4))

        assert codes == [0]
        assert storage.count(TaskQuery(text="child ")) == 4
        assert storage.count(TaskQuery(text="thread ")) > 0


def _shuffled(items: list[processes.T], seed: int) -> list[processes.T]:
    return random.Random(seed).sample(items, len(items))
