"""The admin: lists, permissions, and actions that ask first and are audited."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from orders.tasks import charge, fail, remind
from proj.celery import app

from fullresult.django import captured_tasks
from fullresult.django.admin import TaskRecordAdmin
from fullresult.django.listing import MOST_NAMES, AtLeast, task_names
from fullresult.django.models import Schedule, TaskRecord
from fullresult.testing import samples

RECORDS = "/admin/fullresult/taskrecord/"
SCHEDULES = "/admin/fullresult/schedule/"
PERIODIC = "/admin/django_celery_beat/periodictask/"


OWN_RECORDS = "/ops/fullresult/taskrecord/"

own_site = AdminSite(name="ops")
own_site.register(TaskRecord, TaskRecordAdmin)
urlpatterns = [path("ops/", own_site.urls), path("", include("proj.urls"))]


class InTheAdmin(TestCase):
    permissions: tuple[str, ...] = (
        *("view_taskrecord", "retry_taskrecord", "cancel_taskrecord", "delete_taskrecord"),
        "view_schedule",
    )

    def setUp(self) -> None:
        self.user = User.objects.create_user("ada", is_staff=True)
        self.user.user_permissions.set(Permission.objects.filter(codename__in=self.permissions))
        self.client.force_login(self.user)

    def text(self, path: str, **query: str) -> str:
        answer = self.client.get(path, query)
        assert answer.status_code == 200, answer
        return str(answer.content.decode())

    def act(self, path: str, action: str, *keys: str, **typed: str) -> Any:
        """Choose *action* for *keys*, and confirm what its form shows."""
        asked = self.client.post(path, {"action": action, "_selected_action": keys})
        page = asked.content.decode()
        shown = re.findall(r'name="_selected_action" value="([^"]+)"', page)
        assert sorted(shown) == sorted(keys), page
        (once,) = re.findall(r'name="once" value="([^"]+)"', page)
        confirmed = {"action": action, "_selected_action": keys, "confirmed": "yes", "once": once}
        return self.client.post(path, {**confirmed, **typed}, follow=True)


class Lists(InTheAdmin):
    def test_the_list_has_the_originals_columns(self) -> None:
        sent = charge.delay(1)

        page = self.text(RECORDS)

        assert sent.id in page
        assert "orders.tasks.charge" in page
        assert f"/tasks/task?id={sent.id}" in page
        for column in ("task_id", "short_name", "date_published", "date_done", "state", "eta"):
            assert f'class="field-{column}' in page or f"column-{column}" in page

    def test_search_is_by_whole_id_or_beginning_of_a_name(self) -> None:
        one, two = charge.delay(1).id, fail.delay(1).id

        assert (one in self.text(RECORDS, q=one), two in self.text(RECORDS, q=one)) == (True, False)
        assert two in self.text(RECORDS, q="orders.tasks.f")
        assert one not in self.text(RECORDS, q="orders.tasks.f")
        assert "0 tasks" in self.text(RECORDS, q="tasks.fail")

    def test_filters(self) -> None:
        for state in ("PENDING", "STARTED", "SUCCESS", "FAILURE", "SCHEDULED_SENT"):
            self.write(f"t-{state}-t", state=state, name=f"n.{state}", queue="celery")

        for state in ("PENDING", "STARTED", "SUCCESS", "FAILURE", "SCHEDULED_SENT"):
            page = self.text(RECORDS, state=state)
            assert re.findall(r"t-(\w+)-t", page.partition("result_list")[2])[0] == state
            assert "1 task" in page
        assert "1 task" in self.text(RECORDS, name="n.FAILURE")
        assert "5 tasks" in self.text(RECORDS, queue="celery")
        assert "0 tasks" in self.text(RECORDS, created="1d")
        assert "5 tasks" in self.text(RECORDS, state="nonsense")

    def test_the_page_of_a_record_is_escaped_and_cut(self) -> None:
        evil = "<script>alert(1)</script>"
        self.write(
            "evil", name=evil, state="FAILURE", exception_message=evil, traceback=evil * 9999
        )

        page = self.text(f"{RECORDS}evil/change/")

        assert evil not in page
        assert "&lt;script&gt;" in page
        assert "characters in all" in page
        assert evil not in self.text(RECORDS)

    def test_schedules_are_listed_and_filtered(self) -> None:
        waits, due = (remind.apply_async((n,), countdown=60).id for n in range(2))
        app.fullresult.reschedule(due, "1h ago")

        assert waits in self.text(SCHEDULES, stands="waits")
        assert waits not in self.text(SCHEDULES, stands="overdue")
        assert due in self.text(SCHEDULES, stands="overdue")
        assert "0 scheduled tasks" in self.text(SCHEDULES, stands="claimed")
        assert due in self.text(SCHEDULES, q="orders")
        assert "1 scheduled task" in self.text(SCHEDULES, q=due)

    def test_names_come_from_the_index(self) -> None:
        for name in ("b", "a.x", "a.y", "a.x", "c"):
            self.write(f"{name} {len(name)}", name=name)

        assert task_names("default") == ["a.x", "a.y", "b", "c"]
        assert task_names("default", "a.") == ["a.x", "a.y"]
        assert task_names("default", most=2) == ["a.x", "a.y"]

    def test_more_names_than_a_list_takes_are_found_all_the_same(self) -> None:
        names = [f"n.{number:03}" for number in range(MOST_NAMES + 1)]
        others = ("N.1", "n", "o")
        app.fullresult.storage.write([samples.task(name, name=name) for name in (*names, *others)])

        assert f"{len(names)} tasks" in self.text(RECORDS, q="n.")
        assert f"name, one of the first {MOST_NAMES}" in self.text(RECORDS)

    def test_the_list_has_one_order(self) -> None:
        """By state a million records would be sorted."""
        with CaptureQueriesContext(connection) as queries:
            self.text(RECORDS, o="5")
            self.text(SCHEDULES, o="-4.1")

        orders = [
            query["sql"].partition("ORDER BY")[2]
            for query in queries
            if "ORDER BY" in query["sql"] and "fullresult_" in query["sql"]
        ]
        assert len(orders) == 2
        assert "date_created" in orders[0].split(",")[0]
        assert "due" in orders[1].split(",")[0]

    def test_a_count_that_stopped_says_so(self) -> None:
        assert f"{AtLeast(10_000)}" == "10000+"

    @staticmethod
    def write(task_id: str, **known: Any) -> None:
        app.fullresult.storage.write([samples.task(task_id, **known)])


class Actions(InTheAdmin):
    def test_retry_asks_and_sends_again_in_the_users_name(self) -> None:
        sent = charge.delay(1).id

        answer = self.act(RECORDS, "retry", sent)

        assert "1 task sent again" in answer.content.decode()
        (again,) = TaskRecord.objects.filter(retry_of=sent)
        assert again.args == [1]
        entry = app.fullresult.audit_log()[0]
        assert (entry.actor, entry.action, entry.details["by"]) == ("ada", "resend", "admin")

    def test_a_form_acts_once(self) -> None:
        sent = charge.delay(1).id
        form = {"action": "retry", "_selected_action": [sent], "confirmed": "yes", "once": "1"}

        self.client.post(RECORDS, form)
        twice = self.client.post(RECORDS, form)

        assert "was sent before" in twice.content.decode()
        assert TaskRecord.objects.filter(retry_of=sent).count() == 1

    def test_cancel_reschedule_release_and_send_now(self) -> None:
        sent = [remind.apply_async((n,), countdown=60).id for n in range(4)]

        assert "1 task cancelled" in self.act(RECORDS, "cancel", sent[0]).content.decode()
        keys = Schedule.objects.filter(task_id=sent[1]).values_list("pk", flat=True)
        moved = self.act(SCHEDULES, "reschedule", *keys, when="in 3h")
        assert "1 task moved" in moved.content.decode()
        assert "is not claimed" in self.act(RECORDS, "release", sent[2]).content.decode()
        assert "1 task sent" in self.act(RECORDS, "send_now", sent[3]).content.decode()

        assert TaskRecord.objects.get(task_id=sent[0]).state == "REVOKED"
        waiting = Schedule.objects.order_by("due").values_list("task_id", flat=True)
        assert list(waiting) == [sent[2], sent[1]]
        done = [entry.action for entry in app.fullresult.audit_log()]
        assert done == ["resend-scheduled", "release", "reschedule", "cancel"]

    def test_a_wrong_date_is_said_and_asked_again(self) -> None:
        sent = remind.apply_async((1,), countdown=60).id

        answer = self.act(RECORDS, "reschedule", sent, when="soon").content.decode()

        assert "is no date" in answer
        assert 'value="soon"' in answer

    def test_delete_is_audited(self) -> None:
        sent = charge.delay(1).id

        assert "1 task deleted" in self.act(RECORDS, "delete", sent).content.decode()

        assert not TaskRecord.objects.exists()
        assert app.fullresult.audit_log()[0].actor == "ada"

    def test_a_record_is_deleted_on_its_page(self) -> None:
        sent = charge.delay(1).id

        self.client.post(f"{RECORDS}{sent}/delete/", {"post": "yes"})

        assert not TaskRecord.objects.exists()
        assert app.fullresult.audit_log()[0].actor == "ada"

    def test_too_many_are_not_acted_on(self) -> None:
        app.fullresult.storage.write([samples.task(f"{n}") for n in range(501)])

        form = {"action": "retry", "_selected_action": ["1"], "select_across": "1"}
        answer = self.client.post(RECORDS, form, follow=True)

        assert "At most 500 tasks" in answer.content.decode()


class Looking(InTheAdmin):
    permissions = ("view_taskrecord", "view_schedule")

    def test_without_permission_there_is_no_action(self) -> None:
        sent = charge.delay(1).id

        assert 'name="action"' not in self.text(RECORDS)
        form = {"action": "retry", "_selected_action": [sent], "confirmed": "yes", "once": "1"}
        self.client.post(RECORDS, form)

        assert TaskRecord.objects.count() == 1
        assert self.client.get(f"{RECORDS}{sent}/delete/").status_code == 403


class Strangers(InTheAdmin):
    permissions = ()

    def test_without_permission_there_is_no_list(self) -> None:
        assert self.client.get(RECORDS).status_code == 403
        assert self.client.get(SCHEDULES).status_code == 403


@override_settings(ROOT_URLCONF=__name__)
class OnASiteOfOnesOwn(InTheAdmin):
    def test_lists_and_actions_are_there_too(self) -> None:
        sent = charge.delay(1).id

        form = self.client.post(OWN_RECORDS, {"action": "retry", "_selected_action": [sent]})

        assert 'href="/ops/fullresult/"' in form.content.decode()
        assert "1 task sent again" in self.act(OWN_RECORDS, "retry", sent).content.decode()
        assert "2 tasks" in self.text(OWN_RECORDS)


class Periodic(InTheAdmin):
    permissions = ("view_periodictask", "change_periodictask", "trigger_taskrecord")

    def test_run_now_sends_an_entry_by_its_name(self) -> None:
        every, _ = IntervalSchedule.objects.get_or_create(every=1, period="days")
        entry = PeriodicTask.objects.create(
            name="each day", task="orders.tasks.charge", interval=every, args="[7]", enabled=False
        )

        with captured_tasks() as tasks:
            form = {"action": "run_now", "_selected_action": [entry.pk]}
            answer = self.client.post(PERIODIC, form, follow=True)

        said = [str(message) for message in answer.context["messages"]]
        assert said[0].startswith("each day was sent as"), said
        assert [(task.name, task.args) for task in tasks] == [("orders.tasks.charge", (7,))]
        record = TaskRecord.objects.get().record
        assert (record.periodic_entry, record.triggered) == ("each day", True)
        assert app.fullresult.audit_log()[0].action == "trigger"

    def test_of_more_than_are_taken_at_once_none_is_sent_in_silence(self) -> None:
        every, _ = IntervalSchedule.objects.get_or_create(every=1, period="days")
        entries = PeriodicTask.objects.bulk_create(
            PeriodicTask(name=f"entry {number}", task="orders.tasks.charge", interval=every)
            for number in range(501)
        )

        with captured_tasks() as tasks:
            form = {"action": "run_now", "_selected_action": [entry.pk for entry in entries]}
            answer = self.client.post(PERIODIC, form, follow=True)

        said = [str(message) for message in answer.context["messages"]]
        assert said == ["At most 500 periodic tasks at once. None was sent."]
        assert not tasks


class PeriodicWithoutPermission(InTheAdmin):
    permissions = ("view_periodictask", "change_periodictask")

    def test_run_now_is_not_offered(self) -> None:
        PeriodicTask.objects.create(
            name="each day",
            task="orders.tasks.charge",
            interval=IntervalSchedule.objects.create(every=1, period="days"),
        )

        assert "Run now" not in self.text(PERIODIC)
