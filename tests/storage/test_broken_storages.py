"""The conformance suite finds the faults of storages that have some."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

MERGING = {
    "test_the_greatest_stamp_wins_whatever_comes_last",
    "test_any_order_and_repetition_of_events_gives_the_same_record",
    "test_two_processes_writing_one_task_at_once_lose_nothing",
    "test_state_follows_the_merge",
}
KEEPING = {
    "test_entries_are_in_the_order_of_their_stamps",
    "test_any_order_and_repetition_of_events_gives_the_same_record",
    "test_threads_writing_one_task_lose_nothing",
    "test_no_record_is_seen_half_written",
    "test_what_is_told_by_a_word_is_found_by_it",
    "test_filters_narrow_together",
}
MARKING = {
    "test_the_schedules_of_one_task_are_independent",
    "test_what_a_claim_has_not_is_not_closed_by_it",
    "test_a_claim_that_was_lost_closes_nothing",
}
CLAIMING = {
    "test_threads_never_claim_a_schedule_twice",
    "test_processes_never_claim_a_schedule_twice",
    "test_of_two_threads_exactly_one_wins",
    "test_of_two_processes_exactly_one_wins",
}
CHANGING = {
    "test_a_schedule_with_an_event_that_cannot_be_kept_is_not_kept",
    "test_a_schedule_that_was_withdrawn_before_it_came_is_not_kept",
    "test_no_schedule_is_seen_without_its_event",
    "test_what_is_not_waiting_is_not_cancelled",
    "test_of_two_threads_exactly_one_wins",
    "test_any_interleaving_keeps_count_of_every_schedule",
}
COUNTING = {
    "test_a_member_that_is_told_again_counts_once",
    "test_threads_complete_a_chord_once",
    "test_an_end_that_cannot_be_kept_is_not_counted",
    "test_a_later_outcome_that_does_not_expire_keeps_the_record",
}
HEARTBEATS = {
    "test_what_is_told_of_a_worker_in_any_order_and_twice_makes_one",
    "test_workers_are_forgotten_that_were_not_seen_since",
    "test_many_may_tell_at_once",
}
ALIVE = {
    "test_every_field_of_a_worker_comes_back",
    "test_there_are_no_workers_at_first",
    "test_a_stamp_that_names_its_worker_counts_as_one_that_does_not",
}
COUNTED = {
    "test_a_sample_has_what_the_records_say",
    "test_what_is_alike_is_counted_among_the_newest",
    "test_no_more_are_counted_than_asked",
    "test_no_more_schedules_are_counted_than_asked",
}
LOGGING = {
    "test_an_entry_that_is_kept_twice_is_one_and_stays_as_it_was",
    "test_the_newest_entry_comes_first",
    "test_pages_have_each_entry_once_also_while_others_are_kept",
    "test_entries_are_found_by_actor_action_task_and_time",
    "test_an_entry_of_a_thousand_tasks_is_found_by_each",
}
LOGGED = {
    "test_every_field_of_an_entry_comes_back",
    "test_the_log_is_empty_at_first",
    "test_a_span_without_records_is_empty",
}
SCHEDULED = {
    "test_every_field_of_a_schedule_comes_back",
    "test_the_first_due_are_claimed_first_up_to_a_limit",
    "test_only_what_is_claimed_is_released",
    "test_schedules_are_in_the_order_of_their_due_times_then_of_their_ids",
}
UNTOUCHED = {
    "test_every_field_comes_back",
    "test_a_glob_means_what_it_means_in_fnmatch",
    "test_kwargs_are_among_those_of_the_task",
    "test_now_is_aware_in_utc_and_to_the_millisecond",
    "test_the_last_member_of_a_chord_completes_it",
    "test_what_expired_first_is_deleted_first_up_to_a_limit",
}


def outcomes(suite: str, tests: set[str]) -> dict[str, str]:
    """How each of *tests* ended in a run of *suite* of its own."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/kit/broken_storages.py", "-v", "--tb=no"),
            *("-k", f"{suite} and ({' or '.join(sorted(tests))})", "-p", "no:cacheprovider"),
            "--hypothesis-seed=1",  # of what is found by chance, the same each time
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    found = re.findall(rf"::{suite}::(\w+)(?:\[\w+\])? (PASSED|FAILED|ERROR)", result.stdout)
    assert {name for name, _ in found} == tests, result.stdout + result.stderr
    # Of a test with parameters, a failure with any of them is one.
    return dict(sorted(found, key=lambda pair: pair[1], reverse=True))


def test_a_storage_where_the_last_arrival_wins_is_caught() -> None:
    ended = outcomes("TestLastArrivalWins", MERGING | UNTOUCHED)

    assert ended == dict.fromkeys(MERGING, "FAILED") | dict.fromkeys(UNTOUCHED, "PASSED")


def test_a_storage_that_drops_entries_and_ignores_a_filter_is_caught() -> None:
    ended = outcomes("TestReadsThenWrites", KEEPING | UNTOUCHED)

    assert ended == dict.fromkeys(KEEPING, "FAILED") | dict.fromkeys(UNTOUCHED, "PASSED")


def test_a_storage_that_marks_a_task_sent_and_not_a_schedule_is_caught() -> None:
    ended = outcomes("TestMarksByTask", MARKING | SCHEDULED)

    assert ended == dict.fromkeys(MARKING, "FAILED") | dict.fromkeys(SCHEDULED, "PASSED")


def test_a_storage_that_claims_twice_is_caught() -> None:
    ended = outcomes("TestClaimsTwice", CLAIMING | SCHEDULED)

    assert ended == dict.fromkeys(CLAIMING, "FAILED") | dict.fromkeys(SCHEDULED, "PASSED")


def test_a_storage_that_changes_a_schedule_without_its_event_is_caught() -> None:
    ended = outcomes("TestChangesHalf", CHANGING | SCHEDULED)

    assert ended == dict.fromkeys(CHANGING, "FAILED") | dict.fromkeys(SCHEDULED, "PASSED")


def test_a_storage_that_counts_a_member_of_a_chord_twice_is_caught() -> None:
    ended = outcomes("TestCountsTwice", COUNTING | UNTOUCHED)

    assert ended == dict.fromkeys(COUNTING, "FAILED") | dict.fromkeys(UNTOUCHED, "PASSED")


def test_a_storage_that_believes_the_last_heartbeat_is_caught() -> None:
    ended = outcomes("TestLastHeartbeatWins", HEARTBEATS | ALIVE)

    assert ended == dict.fromkeys(HEARTBEATS, "FAILED") | dict.fromkeys(ALIVE, "PASSED")


def test_a_sound_storage_passes_the_same_tests() -> None:
    """So it is the faults that are found, and not the wrapper."""
    tests = MERGING | KEEPING | MARKING | CLAIMING | CHANGING | COUNTING | SCHEDULED | UNTOUCHED
    tests |= HEARTBEATS | ALIVE

    assert outcomes("TestSound", tests) == dict.fromkeys(tests, "PASSED")


def test_a_storage_that_samples_what_is_oldest_and_rewrites_its_audit_log_is_caught() -> None:
    ended = outcomes("TestOldestFirst", COUNTED | LOGGING | LOGGED)

    assert ended == dict.fromkeys(COUNTED | LOGGING, "FAILED") | dict.fromkeys(LOGGED, "PASSED")
