"""The models: every trap of the storage's types on both databases, and the original's methods."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import NotSupportedError, connection
from django.db.models import Count, F
from django.db.models.functions import ExtractHour, TruncDate, TruncHour
from django.test import TestCase, override_settings
from orders.tasks import charge, remind
from proj.celery import app

from fullresult.django.models import Execution, Schedule, TaskRecord
from fullresult.record import Worker
from fullresult.record.stamps import worker_in
from fullresult.testing import samples

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def write(*events: Any) -> None:
    app.fullresult.storage.write(events)


class Dates(TestCase):
    """In SQLite the storage writes text with a T, which Django neither writes nor reads."""

    def setUp(self) -> None:
        for n in range(4):
            write(samples.task(f"{n}", NOON + timedelta(minutes=n), state="STARTED"))

    def test_they_are_aware_and_exact(self) -> None:
        record = TaskRecord.objects.get(task_id="1")

        assert record.date_created == NOON + timedelta(minutes=1)
        assert record.date_created.tzinfo is not None

    def test_they_compare(self) -> None:
        later = NOON + timedelta(minutes=2)

        assert ids(date_created__lte=later) == ["0", "1", "2"]
        assert ids(date_created__lt=later) == ["0", "1"]
        assert ids(date_created__gt=later) == ["3"]
        assert ids(date_created=later) == ["2"]
        assert ids(date_created__range=(later, later)) == ["2"]
        assert ids(date_created__in=[NOON, later]) == ["0", "2"]
        assert ids(date_created__lte=F("date_updated")) == ["0", "1", "2", "3"]

    def test_parts_of_them_are_found(self) -> None:
        everything = ["0", "1", "2", "3"]
        assert ids(date_created__year=2026) == ids(date_created__year__gte=2026) == everything
        assert ids(date_created__iso_year=2026) == ids(date_created__month=1) == everything
        assert ids(date_created__date=NOON.date()) == everything
        assert ids(date_created__hour=13) == everything  # in Berlin
        assert ids(date_created__minute=3) == ["3"]
        assert ids(date_created__time__gte="13:02") == ["2", "3"]
        assert ids(date_created__year=2025) == []

    def test_the_last_day_of_a_year_is_in_it(self) -> None:
        write(samples.task("last", datetime(2024, 12, 31, 20, tzinfo=timezone.utc)))

        assert ids(date_created__year=2024) == ["last"]

    def test_they_are_cut_and_grouped(self) -> None:
        found = TaskRecord.objects.annotate(day=TruncDate("date_created")).values("day")

        assert list(found.annotate(number=Count("task_id")).order_by()) == [
            {"day": NOON.date(), "number": 4}
        ]
        assert list(TaskRecord.objects.datetimes("date_created", "hour")) == [NOON]
        hours = TaskRecord.objects.annotate(
            h=TruncHour("date_created"), n=ExtractHour("date_created")
        )
        assert {(each.h, each.n) for each in hours} == {(NOON, 13)}

    def test_a_site_without_time_zones_reads_them(self) -> None:
        with override_settings(USE_TZ=False):
            record = TaskRecord.objects.get(task_id="0")

        assert record.date_created.replace(tzinfo=None).minute == NOON.minute


class Json(TestCase):
    """In PostgreSQL results are of the type json, of which Django knows nothing."""

    def setUp(self) -> None:
        result = '{"paid": 7, "of": {"items": [1, 2]}}'
        args, kwargs = [1, "two"], {"order": {"id": 7}}
        write(
            samples.task(
                "a", state="SUCCESS", result=result, result_form="json", args=args, kwargs=kwargs
            )
        )
        write(samples.task("b", state="SUCCESS", result="null", result_form="json"))

    def test_values_are_python_objects(self) -> None:
        record = TaskRecord.objects.get(task_id="a")

        assert record.result == {"paid": 7, "of": {"items": [1, 2]}}
        assert (record.args, record.kwargs) == ([1, "two"], {"order": {"id": 7}})

    def test_lookups_look_inside(self) -> None:
        assert ids(result__paid=7) == ["a"]
        assert ids(result__of__items__0=1) == ["a"]
        assert ids(result__has_key="paid") == ["a"]
        assert ids(result__paid__gt=6) == ["a"]
        assert ids(args__0=1) == ids(kwargs__order__id=7) == ["a"]
        assert ids(kwargs__order={"id": 7}) == ["a"]

    def test_containment_is_postgresqls(self) -> None:
        if connection.vendor == "postgresql":
            assert ids(result__contains={"paid": 7}) == ["a"]
            assert ids(kwargs__contains={"order": {"id": 7}}) == ["a"]

    def test_values_and_values_list(self) -> None:
        found = TaskRecord.objects.filter(task_id="a").values("result", "result__paid").get()

        assert (found["result"]["paid"], found["result__paid"]) == (7, 7)


class Reading(TestCase):
    def test_they_cannot_be_written(self) -> None:
        write(samples.task("a"))
        record = TaskRecord.objects.get()
        for do in (
            record.save,
            lambda: TaskRecord.objects.create(task_id="b"),
            lambda: TaskRecord.objects.update(state="SUCCESS"),
            lambda: TaskRecord.objects.bulk_create([record]),
            lambda: TaskRecord.objects.update_or_create(task_id="a"),
            lambda: Schedule.objects.all().delete(),
            lambda: Execution.objects.all().delete(),
        ):
            with pytest.raises(NotSupportedError, match="read only"):
                do()

    def test_deletion_is_the_storages_and_audited(self) -> None:
        write(samples.task("a"), samples.task("b"), samples.task("c"))

        assert TaskRecord.objects.filter(task_id__in=["a", "b"]).delete()[0] == 2
        TaskRecord.objects.get(task_id="c").delete()

        assert not TaskRecord.objects.exists()
        assert [entry.action for entry in app.fullresult.audit_log()] == ["delete", "delete"]

    def test_joins_lead_to_executions_and_schedules(self) -> None:
        sent = remind.apply_async((1,), countdown=60)

        assert TaskRecord.objects.filter(schedules__queue="celery").get().task_id == sent.id
        schedule = Schedule.objects.select_related("task").get()
        assert schedule.task.name == "orders.tasks.remind"
        assert list(schedule.task.executions.all()) == []

    def test_the_record_is_the_dataclass(self) -> None:
        sent = charge.delay(3)

        assert TaskRecord.objects.get().record == app.fullresult.get(sent.id)

    def test_another_storage_has_no_models(self) -> None:
        from celery.exceptions import ImproperlyConfigured

        with (
            override_settings(CELERY_FULLRESULT_STORAGE="mongodb://127.0.0.1:1/x"),
            pytest.raises(ImproperlyConfigured, match="django://ALIAS"),
        ):
            TaskRecord.objects.count()


class TheOriginals(TestCase):
    def test_names_of_fields(self) -> None:
        sent = charge.delay(3)
        record = TaskRecord.objects.get()

        assert (record.task, record.status) == ("orders.tasks.charge", "PENDING")
        assert record.date_submitted == record.date_published
        assert record.hostname is None
        assert record.meta == {"children": []}
        told = record.to_dict()
        assert (told["task_id"], told["status"], told["args"]) == (sent.id, "PENDING", [3])
        assert record.call_repr == "orders.tasks.charge(3)"

    def test_stale_tasks_are_a_queryset(self) -> None:
        for state in ("PENDING", "STARTED", "SUCCESS", "FAILURE", "REVOKED", "RETRY"):
            write(samples.task(state, NOON, state=state))
        write(samples.task("new", datetime.now(timezone.utc), state="PENDING"))
        objects = TaskRecord.objects

        hour = timedelta(hours=1)
        assert stale(objects.get_stale_tasks(hour)) == ["PENDING", "RETRY", "STARTED"]
        assert stale(objects.get_stale_tasks()) == ["PENDING", "RETRY", "STARTED", "new"]
        assert stale(objects.get_stale_tasks(hour, [])) == stale(objects.get_stale_tasks(hour))
        old = objects.get_stale_tasks(hour, acceptable_states=("SUCCESS", "FAILURE"))
        assert stale(old) == ["PENDING", "RETRY", "REVOKED", "STARTED"]
        assert old.filter(state="RETRY").count() == 1
        found = app.fullresult.get_stale_tasks(hour)
        assert sorted(record.task_id for record in found) == stale(objects.get_stale_tasks(hour))

    def test_stale_scheduled_tasks_are_a_queryset(self) -> None:
        early, late = (remind.apply_async((n,), countdown=60) for n in range(2))
        app.fullresult.reschedule(early.id, "2h ago")

        found = TaskRecord.objects.get_stale_scheduled_tasks(timedelta(hours=1))

        assert [record.task_id for record in found] == [early.id]
        assert Schedule.objects.get_stale_scheduled_tasks().get().task_id == early.id
        assert late.id not in stale(TaskRecord.objects.get_stale_scheduled_tasks())

    def test_orphans_are_a_queryset(self) -> None:
        now = app.fullresult.storage.now()
        long_ago = now - timedelta(hours=1)
        lost = samples.task("lost", long_ago, state="STARTED", worker="w@h", date_started=long_ago)
        write(lost)
        life = worker_in(lost.outcome.stamp if lost.outcome else "")
        app.fullresult.storage.note_worker(
            Worker(life, "w@h", long_ago, long_ago, long_ago + timedelta(seconds=30), None)
        )

        assert stale(TaskRecord.objects.orphaned()) == ["lost"]


def ids(**filters: Any) -> list[str]:
    found = TaskRecord.objects.filter(**filters).order_by("task_id")
    assert found.count() == len(found)
    return [record.task_id for record in found]


def stale(found: Any) -> list[str]:
    return sorted(found.values_list("task_id", flat=True))
