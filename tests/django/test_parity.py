"""The parity with django-celery-fulldbresult, row by row: the test that shows it, or why not."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from tests.kit.django_site import ROOT

_MODELS = "tests/django/inside/inside_models.py"
_ADMIN = "tests/django/inside/inside_admin.py"
_STORAGE = "tests/django/inside/inside_storage.py"
_COMMANDS = "tests/django/inside/inside_commands.py"
_OUTBOX = "tests/django/inside/inside_outbox.py"
_WIRE = "tests/scheduling/test_diverting_wire.py"
_OUT = "OUT: "
"""Begins the reason for what is not there on purpose."""


class Row(NamedTuple):
    """One thing that the original had."""

    had: str
    shown_by: str
    """`file::test`, or a reason."""


TABLE = [
    Row(
        "stores enough to retry",
        "tests/actions/test_resend.py::test_a_resent_task_is_a_new_task_that_names_the_old",
    ),
    Row(
        "TRACK_PUBLISH: a PENDING row",
        f"{_STORAGE}::test_reads_and_writes_are_in_the_tests_transaction",
    ),
    Row(
        "TRACK_PUBLISH: tasks with ignore_result (the original left them out)",
        "tests/scenarios/test_messages.py::test_an_ignored_result_is_not_recorded",
    ),
    Row(
        "USE_JSON, FORCE_JSON",
        "tests/extension/test_bad_input.py::test_force_json_wraps_what_json_cannot_hold",
    ),
    Row(
        "settings with the namespace CELERY",
        "tests/extension/test_install.py::test_django_settings_with_the_namespace_celery_are_read",
    ),
    Row(
        "a failed result is the exception",
        "tests/results/test_backend_states.py::test_failure",
    ),
    Row(
        "a revoked task has ended (the original's was stale for ever)",
        "tests/scenarios/test_revoke.py::test_revoked_before_its_eta",
    ),
    Row(
        "settings are read at each publish: override_settings works",
        f"{_STORAGE}::test_override_settings_is_followed_and_ends",
    ),
    Row("QuerySets, Q, values", f"{_MODELS}::test_values_and_values_list"),
    Row("aggregates, annotations", f"{_MODELS}::test_they_are_cut_and_grouped"),
    Row("joins, foreign keys", f"{_MODELS}::test_joins_lead_to_executions_and_schedules"),
    Row("get_stale_tasks", f"{_MODELS}::test_stale_tasks_are_a_queryset"),
    Row(
        "acceptable_states=[] is the default",
        "tests/extension/test_misleading.py::test_no_acceptable_state_is_the_default",
    ),
    Row(
        "get_stale_scheduled_tasks",
        f"{_MODELS}::test_stale_scheduled_tasks_are_a_queryset",
    ),
    Row("names of fields, to_dict", f"{_MODELS}::test_names_of_fields"),
    Row(
        "store_result, update, save",
        f"{_OUT}a record is the merge of its events; tests say that they are refused",
    ),
    Row("get_task", f"{_OUT}`TaskRecord.objects.get(task_id=…)` is Django's own way to say it"),
    Row("delete_expired", f"{_OUT}`manage.py fullresult purge` does it, by state and name"),
    Row("manage.py find_stale_tasks", f"{_COMMANDS}::test_stale_tasks_line_for_line"),
    Row(
        "--terminal-state",
        f"{_COMMANDS}::test_terminal_states_take_the_place_of_the_finished_ones",
    ),
    Row(
        "manage.py find_stale_scheduled_tasks",
        f"{_COMMANDS}::test_stale_scheduled_tasks_line_for_line",
    ),
    Row("the options of its length of time", f"{_COMMANDS}::test_units_add_up"),
    Row("manage.py fix_json_results", f"{_OUT}results are written by one JSON encoder"),
    Row("admin: the list's columns", f"{_ADMIN}::test_the_list_has_the_originals_columns"),
    Row("admin: search", f"{_ADMIN}::test_search_is_by_whole_id_or_beginning_of_a_name"),
    Row("admin: filters", f"{_ADMIN}::test_filters"),
    Row("admin: result_repr", f"{_ADMIN}::test_the_page_of_a_record_is_escaped_and_cut"),
    Row("admin: delete", f"{_ADMIN}::test_delete_is_audited"),
    Row("admin: Retry", f"{_ADMIN}::test_retry_asks_and_sends_again_in_the_users_name"),
    Row(
        "Retry by another route than the first time",
        "tests/actions/test_resend.py::test_another_queue_may_be_given",
    ),
    Row("admin: permissions", f"{_ADMIN}::test_without_permission_there_is_no_action"),
    Row("admin: sites of one's own", f"{_ADMIN}::test_lists_and_actions_are_there_too"),
    Row(
        "PeriodicTask: a filter and short arguments in the list",
        f"{_OUT}django-celery-beat's admin is its own; a project's class takes the mix-in RunNow",
    ),
    Row("PeriodicTask: run now", f"{_ADMIN}::test_run_now_sends_an_entry_by_its_name"),
    Row("JSON operators on the result", f"{_MODELS}::test_lookups_look_inside"),
    Row(
        "ETA diverted",
        f"{_WIRE}::test_what_is_sent_when_it_is_due_is_what_celery_would_have_sent",
    ),
    Row(
        "ETA: queue and priority (the original lost them)",
        f"{_WIRE}::test_priority_is_kept",
    ),
    Row("ETA: expires (the original lost it)", f"{_WIRE}::test_it_expires_when_it_was_to_expire"),
    Row(
        "ETA: groups and chords (the original left them out)",
        "tests/scheduling/test_new_ids.py::test_the_tasks_of_a_chord_keep_their_id",
    ),
    Row("MONKEY_PATCH_ASYNC", f"{_OUT}an ETA needs neither a patch nor a base class here"),
    Row(
        "the diverted row is in the caller's transaction",
        f"{_OUTBOX}::test_a_rollback_takes_it_back",
    ),
    Row(
        "the row of a plain publish is in it, too (its message was out all the same)",
        f"{_OUTBOX}::test_a_commit_keeps_the_task_with_the_data",
    ),
    Row(
        "sweep, at most once",
        "tests/scheduling/test_sweeper.py::test_what_is_due_is_sent_once_and_the_rest_waits",
    ),
    Row(
        "beat's plan in the database",
        "tests/django/test_beat.py::"
        "test_beat_sends_what_the_database_plans_and_a_person_sends_an_entry_now",
    ),
    Row(
        "SCHEDULED_SENT with new_task_id",
        "tests/scheduling/test_new_ids.py::test_the_result_comes_back_under_the_first_id",
    ),
    Row(
        "ScheduledTask imports",
        f"{_STORAGE}::test_the_originals_base_class_imports_and_warns",
    ),
    Row(
        "a state of one's own as a row",
        "tests/results/test_backend_states.py::test_a_state_of_ones_own_has_meta",
    ),
    Row(
        "migrate makes the table",
        "tests/django/test_manage.py::test_migrate_makes_the_tables_and_the_permissions",
    ),
    Row(
        "tests leave the real database alone, --parallel too",
        "tests/django/test_manage.py::"
        "test_parallel_tests_leave_the_real_database_and_the_broker_untouched",
    ),
    Row(
        "the test database has the rows, and TestCase rolls them back",
        f"{_STORAGE}::test_a_rolled_back_block_takes_its_records_with_it",
    ),
    Row(
        "old rows and waiting tasks are kept (the page lost them)",
        "tests/importers/test_original.py::test_what_waits_is_sent_once_under_its_own_id",
    ),
    Row(
        "any database of Django",
        f"{_OUT}PostgreSQL, SQLite and MongoDB; not MySQL, MariaDB, Oracle",
    ),
    Row("hidden, whole-number ids", f"{_OUT}nothing here is hidden, and the task's id is the key"),
]


@pytest.mark.parametrize("row", TABLE, ids=[row.had for row in TABLE])
def test_what_the_original_had_is_shown_by_a_test_or_left_out_for_a_reason(row: Row) -> None:
    if row.shown_by.startswith(_OUT):
        assert len(row.shown_by) > len(_OUT) + 20
        return
    file, _, name = row.shown_by.partition("::")

    source = (ROOT / file).read_text(encoding="utf-8")

    assert re.search(rf"^ *def {name}\(", source, re.MULTILINE)
