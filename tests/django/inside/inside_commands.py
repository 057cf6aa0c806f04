"""The commands of `manage.py`: the original's, and ours."""

from __future__ import annotations

import fcntl
import os
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timezone
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import skipUnless

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase
from orders.tasks import charge, remind
from proj.celery import app

from fullresult.django.management.commands.fullresult import Command
from fullresult.importers.celery_database import CeleryDatabase
from fullresult.importers.databases import Django
from fullresult.importers.errors import CannotImport
from fullresult.importers.row import Row
from fullresult.importers.source import Broken, Options


def said(*arguments: str) -> str:
    """What a command prints."""
    out = StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(out):
            call_command(*arguments, **({} if arguments[0] == "fullresult" else {"stdout": out}))
    except CommandError as error:
        error.args = (f"{error}\n{out.getvalue()}",)
        raise
    return out.getvalue()


class TheOriginals(TestCase):
    def setUp(self) -> None:
        self.charge = charge.delay(1).id
        self.remind = remind.apply_async((1,), countdown=60).id
        app.fullresult.reschedule(self.remind, "60s ago")

    def test_stale_tasks_line_for_line(self) -> None:
        head, line = said("find_stale_tasks").splitlines()

        when = app.fullresult.get(self.charge).date_updated
        assert head == "Stale tasks:"
        assert line == f"  {when} - {self.charge}: orders.tasks.charge"
        assert said("find_stale_tasks", "--hours", "1") == "Stale tasks:\n"

    def test_terminal_states_take_the_place_of_the_finished_ones(self) -> None:
        assert self.charge in said("find_stale_tasks", "--terminal-state", "SUCCESS")
        assert self.remind not in said("find_stale_tasks", "--terminal-state", "SUCCESS")
        several = ("--terminal-state", "PENDING", "--terminal-state", "FAILURE")
        assert said("find_stale_tasks", *several) == "Stale tasks:\n"

    def test_stale_scheduled_tasks_line_for_line(self) -> None:
        head, line = said("find_stale_scheduled_tasks", "--seconds", "30").splitlines()

        (schedule,) = app.fullresult.scheduled()
        assert head == "Stale scheduled tasks:"
        assert line == f"  {schedule.date_scheduled} - {self.remind}: orders.tasks.remind"
        assert said("find_stale_scheduled_tasks", "--minutes", "9") == "Stale scheduled tasks:\n"

    def test_units_add_up(self) -> None:
        units = [f"--{unit}" for unit in ("weeks", "days", "hours", "minutes", "microseconds")]

        assert said("find_stale_tasks", *(part for unit in units for part in (unit, "0")))
        assert self.charge not in said("find_stale_tasks", "--weeks", "1", "--microseconds", "1")


class Ours(TestCase):
    def test_all_are_there(self) -> None:
        sent, waiting = charge.delay(1).id, remind.apply_async((1,), countdown=60).id

        assert sent in said("fullresult", "list")
        assert "orders.tasks.charge" in said("fullresult", "show", sent)
        said("fullresult", "cancel", waiting, "--yes")
        assert "REVOKED" in said("fullresult", "show", waiting)

    def test_exit_codes_are_errors_of_call_command(self) -> None:
        charge.delay(1)
        for code, arguments in (
            (3, ("stale", "--seconds", "0", "--fail")),
            (1, ("show", "nobody")),
            (2, ("list", "--nothing")),
        ):
            with pytest.raises(CommandError) as error:
                said("fullresult", *arguments)
            assert error.value.returncode == code

    def test_a_site_without_a_recorded_app_is_told_so(self) -> None:
        config, full = apps.get_app_config("fullresult"), app.fullresult
        errors = StringIO()
        try:
            del app.fullresult
            config._app = None
            with pytest.raises(SystemExit) as ended:
                Command(stderr=errors).run_from_argv(["manage.py", "fullresult", "list"])
        finally:
            app.fullresult, config._app = full, app

        assert ended.value.code == 1
        assert "no Celery app of this site is recorded" in errors.getvalue()

    def test_examples_of_help_can_be_typed(self) -> None:
        assert "  manage.py fullresult list --state" in said("fullresult", "list", "--help")


class Importing(TestCase):
    @skipUnless(connection.vendor == "sqlite", "PostgreSQL keeps no date that is none")
    def test_a_date_that_is_none_is_told(self) -> None:
        """Django's own reader has None for it."""
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE celery_taskmeta (id integer PRIMARY KEY, task_id text, "
                "status text, result blob, date_done datetime)"
            )
            cursor.execute(
                "INSERT INTO celery_taskmeta VALUES (1, 'bad', 'SUCCESS', 'null', 'a day'), "
                "(2, 'good', 'SUCCESS', 'null', '2026-01-31 10:00:00.500000')"
            )

        ((bad, good),) = CeleryDatabase(Django(connection), Options()).pages(None)

        assert bad == Broken("bad", "its date_done is no date: 'a day'")
        assert isinstance(good, Row)
        assert good.changed == datetime(2026, 1, 31, 10, 0, 0, 500_000, tzinfo=timezone.utc)

    @skipUnless(connection.vendor == "sqlite", "PostgreSQL asks as others do")
    def test_a_page_is_read_in_the_order_of_its_index(self) -> None:
        """To sort what is left for each page would take a million rows to a standstill."""
        asked: list[tuple[str, Any]] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            asked.append((sql, params))
            return execute(sql, params, many, context)

        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE celery_taskmeta (task_id text, id integer PRIMARY KEY, "
                "status text, result blob, date_done datetime)"
            )
            cursor.execute(
                "INSERT INTO celery_taskmeta VALUES ('good', 1, 'SUCCESS', 'null', '2026-01-31')"
            )
        with connection.execute_wrapper(note):
            ((row,),) = CeleryDatabase(Django(connection), Options()).pages(None)

        plans = []
        with connection.cursor() as cursor:
            for sql, params in asked:
                if "ORDER BY id" in sql:
                    cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
                    plans += cursor.fetchall()
        assert isinstance(row, Row)
        assert row.task_id == "good"
        assert plans
        assert "TEMP B-TREE" not in repr(plans)


class TakingOver(TransactionTestCase):
    def test_it_is_no_part_of_a_transaction(self) -> None:
        """Its marks would go with it, while what was taken over stays, and is sent twice."""
        with (
            transaction.atomic(),
            pytest.raises(CannotImport, match="part of a transaction"),
            Django(connection).alone(),
        ):
            pass

    @skipUnless(connection.vendor == "sqlite", "PostgreSQL has locks of its own")
    def test_two_at_a_time_wait_for_one_another_on_sqlite(self) -> None:
        directory = Path(connection.settings_dict["NAME"]).absolute().parent
        handle = os.open(directory, os.O_RDONLY)
        self.addCleanup(os.close, handle)

        with Django(connection).alone(), pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
