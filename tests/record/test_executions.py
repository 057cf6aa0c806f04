"""Runs are folded from the parts of a record."""

from __future__ import annotations

from fullresult.record import FAILURE, INTERRUPTED, RETRY, REVOKED, STARTED, SUCCESS
from fullresult.record.executions import executions_of
from fullresult.testing import samples

LATER = samples.after(50)


def test_a_start_and_its_success_are_one_run() -> None:
    outcome = samples.outcome(SUCCESS, LATER, date_started=samples.NOON, date_done=LATER)

    (run,) = executions_of(samples.start(), (), outcome)

    assert (run.state, run.date_started, run.date_done) == (SUCCESS, samples.NOON, LATER)


def test_a_start_alone_is_a_run_that_goes_on() -> None:
    (run,) = executions_of(samples.start(), (), samples.outcome(STARTED))

    assert (run.state, run.date_done) == (STARTED, None)


def test_each_attempt_is_a_run_in_its_order() -> None:
    first = samples.entry(RETRY, samples.NOON, retries=0, date_started=samples.NOON)
    second = samples.entry(FAILURE, LATER, retries=1, date_started=LATER)

    runs = executions_of(samples.start(), (second, first), None)

    assert [(run.retries, run.state) for run in runs] == [(0, RETRY), (1, FAILURE)]


def test_of_several_ends_of_one_run_that_with_the_greatest_stamp_counts() -> None:
    """A kill is reported by the child and by its parent, which does not know the start."""
    cut = samples.entry(INTERRUPTED, LATER, date_started=None, date_done=LATER)
    failed = samples.entry(FAILURE, samples.NOON, date_started=samples.NOON, date_done=None)

    (run,) = executions_of(samples.start(), (cut, failed), None)

    assert (run.state, run.date_started, run.date_done) == (FAILURE, samples.NOON, LATER)


def test_an_end_without_a_start_is_no_run() -> None:
    assert executions_of(None, (), samples.outcome(REVOKED, worker="w1@host")) == ()
