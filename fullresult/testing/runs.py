"""The suite: an id that is published again has several runs, and a task may never run at all."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import permutations
from typing import Any

import pytest

from fullresult.record import (
    FAILURE,
    NOT_RUN,
    PENDING,
    STARTED,
    SUCCESS,
    OwnMessage,
    TaskQuery,
    TaskRecord,
    merge,
)
from fullresult.record.stamps import FIRST
from fullresult.storage import StatisticsStorage, Storage, WalkingStorage
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, ids, known

_AGAIN = 1_000
"""Milliseconds after which the id is published again."""


def _published(task_id: str, at: int, argument: int) -> TaskRecord:
    when = samples.after(at)
    sent = samples.message(args=[str(argument)], stamp=samples.stamp(PENDING, when))
    outcome = samples.outcome(PENDING, when)
    return replace(samples.event(task_id, when, message=sent, outcome=outcome), date_published=when)


def _started(task_id: str, at: int) -> TaskRecord:
    when = samples.after(at)
    outcome = samples.outcome(STARTED, when, worker="w1@host", date_started=when)
    return samples.event(task_id, when, outcome=outcome, start=samples.start(when))


def _succeeded(task_id: str, began: int, ended: int, result: str) -> TaskRecord:
    """The end of a run. It has no entry: that is for those that do not simply succeed."""
    known: dict[str, Any] = {"worker": "w1@host", "date_started": samples.after(began)}
    outcome = samples.outcome(
        SUCCESS, samples.after(ended), result=result, result_form="json", **known
    )
    return samples.event(task_id, samples.after(ended), outcome=outcome)


def _two_runs(task_id: str) -> list[TaskRecord]:
    return [
        _published(task_id, 0, 1),
        _started(task_id, 10),
        _succeeded(task_id, 10, 20, '"one"'),
        _published(task_id, _AGAIN, 2),
        _started(task_id, _AGAIN + 10),
        _succeeded(task_id, _AGAIN + 10, _AGAIN + 20, '"two"'),
    ]


def _never_ran(task_id: str, at: int = 0) -> TaskRecord:
    when = samples.after(at)
    stamp = FIRST.stamp(NOT_RUN, samples.moment(when))
    outcome = samples.outcome(NOT_RUN, when, stamp=stamp, exception_type="ValueError")
    return samples.event(task_id, when, outcome=outcome)


class Runs(Fixtures):
    def test_each_run_of_an_id_that_is_published_again_keeps_its_end(
        self, storage: Storage
    ) -> None:
        """In whatever order its events come, and however often."""
        for number, order in enumerate(permutations(range(6))):
            if number % 7 == 0:
                told = _two_runs(f"a{number}")
                events = [told[index] for index in order]
                for event in [*events, *events[:2]]:
                    storage.write([event])

                record = known(storage, f"a{number}")

                assert record == samples.plain(reduce(merge, events)), order
                ends = [(run.state, run.date_started) for run in record.executions]
                began = [samples.after(10), samples.after(_AGAIN + 10)]
                assert ends == [(SUCCESS, each) for each in began], order

    def test_the_end_of_an_earlier_run_that_comes_late_is_kept(self, storage: Storage) -> None:
        _, _, first, _, _, second = _two_runs("a")
        storage.write([second])
        storage.write([first])

        assert len(known(storage, "a").executions) == 2
        assert known(storage, "a").result == "two"

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_the_end_of_a_run_by_a_worker_with_an_empty_name_is_kept(
        self, storage: Storage, order: tuple[int, int]
    ) -> None:
        ended = samples.event("a", outcome=samples.outcome(worker="", date_started=None))
        told = ended, samples.became("a", STARTED, samples.after(_AGAIN), retries=1)

        for index in order:
            storage.write([told[index]])

        assert len(known(storage, "a").entries) == 1
        assert known(storage, "a") == samples.plain(merge(*told))

    def test_ends_in_one_batch_are_kept(self, storage: Storage) -> None:
        whole = reduce(merge, _two_runs("a"))
        storage.write([_published("a", 0, 1)])

        storage.write([whole, _never_ran("b")])

        assert known(storage, "a") == samples.plain(whole)

    def test_a_success_before_a_retry_is_kept(self, storage: Storage) -> None:
        """As of a task that asks for a retry and returns."""
        retried = samples.outcome(PENDING, samples.after(15), retries=1)
        ended = _succeeded("a", 10, 20, '"one"')
        for event in (samples.event("a", outcome=retried), ended):
            storage.write([event])

        assert [run.state for run in known(storage, "a").executions] == [SUCCESS]
        assert known(storage, "a").state == PENDING

    def test_a_second_publish_is_noted_and_its_runs_are_asked_for_their_message(
        self, storage: Storage
    ) -> None:
        told = _two_runs("a")
        for event in told[:3]:
            assert not storage.write([event])
        assert known(storage, "a").published_again is None

        storage.write([told[3]])

        assert known(storage, "a").published_again == told[3].message.stamp  # type: ignore[union-attr]
        assert [*storage.write([told[5]])] == ["a"]

    def test_arguments_and_result_are_of_one_run(self, storage: Storage) -> None:
        told = _two_runs("a")
        sent, ended = told[3].message, told[5].outcome
        assert sent is not None
        assert ended is not None
        storage.write([reduce(merge, told)])
        assert known(storage, "a").arguments_in_doubt

        storage.write([samples.event("a", own=OwnMessage.of(sent, ended.stamp))])

        record = known(storage, "a")
        assert (record.args, record.result) == (["2"], "two")
        assert not record.arguments_in_doubt

    def test_what_never_ran_is_found_apart_from_what_failed(self, storage: Storage) -> None:
        storage.write([samples.task("failed", state=FAILURE), _never_ran("never")])
        storage.write([samples.task("succeeded")])

        def found(**known: object) -> list[str]:
            query = TaskQuery(**known)  # type: ignore[arg-type]
            assert storage.count(query) == len(storage.find(query))
            return ids(sorted(storage.find(query), key=lambda record: record.task_id))

        assert known(storage, "never").state == NOT_RUN
        assert found(state=FAILURE) == ["failed"]
        assert found(state=NOT_RUN) == ["never"]
        assert found(state=(FAILURE, NOT_RUN)) == ["failed", "never"]
        assert found(state=(FAILURE, SUCCESS)) == ["failed", "succeeded"]
        assert found(state=(NOT_RUN, SUCCESS)) == ["never", "succeeded"]
        assert found(not_state=(FAILURE,)) == ["never", "succeeded"]
        assert found(not_state=(NOT_RUN,)) == ["failed", "succeeded"]
        assert found(not_state=(NOT_RUN, FAILURE)) == ["succeeded"]
        assert found(not_state=(SUCCESS, FAILURE)) == ["never"]
        assert found(not_state=(SUCCESS, NOT_RUN)) == ["failed"]
        assert found(open=False) == ["failed", "never", "succeeded"]

    def test_what_never_ran_is_counted_apart(self, storage: Storage) -> None:
        if not isinstance(storage, StatisticsStorage) or not isinstance(storage, WalkingStorage):
            pytest.skip("this storage answers no statistics")
        storage.write([samples.task("failed", state=FAILURE), _never_ran("never")])

        assert storage.tally(TaskQuery(), 100).by_state == {FAILURE: 1, NOT_RUN: 1}
        assert storage.count_capped(TaskQuery(state=FAILURE), 100) == 1
        assert storage.count_capped(TaskQuery(state=NOT_RUN), 100) == 1
        (sampled,) = storage.sample([samples.after(-1), samples.after(1)], 10)
        assert sorted(str(each.state) for each in sampled) == [FAILURE, NOT_RUN]
        alike = storage.count_alike(samples.after(-1), samples.after(1), 10)
        assert sorted(str(each.state) for each in alike) == [FAILURE, NOT_RUN]

    def test_what_never_ran_and_is_published_after_all_waits(self, storage: Storage) -> None:
        """As a chain that is resumed. The order in which this is told does not count."""
        storage.write([_published("a", 0, 1)])
        storage.write([_never_ran("a", 10)])

        assert known(storage, "a").state == PENDING
