"""The web pages behind Django's login, under WSGI and ASGI."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.test import AsyncClient, Client, TransactionTestCase, override_settings
from orders.tasks import charge
from proj.celery import app

from fullresult.django import captured_tasks

OURS = {"HTTP_ORIGIN": "http://testserver", "HTTP_SEC_FETCH_SITE": "same-origin"}


class Pages(TransactionTestCase):
    def setUp(self) -> None:
        with captured_tasks():
            self.sent = charge.delay(1).id

    def log_in(self, *permissions: str) -> User:
        user = User.objects.create_user("ada", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.client.force_login(user)
        return user

    def test_strangers_go_to_djangos_login(self) -> None:
        answer = self.client.get("/tasks/task", {"id": self.sent})

        assert answer.status_code == 302
        assert answer.url.startswith("/admin/login/?next=/tasks/task%3Fid%3D")

    def test_a_server_without_a_port_is_one(self) -> None:
        """Some servers behind a socket of Unix say None."""
        self.log_in("view_taskrecord")

        answer = self.client.get("/tasks/", SERVER_PORT="None", HTTP_HOST="testserver")

        assert answer.status_code == 200

    def test_who_may_not_look_is_told_so(self) -> None:
        self.log_in()

        assert self.client.get("/tasks/").status_code == 403

    def test_readers_see_lists_tasks_and_files(self) -> None:
        self.log_in("view_taskrecord")

        page = self.client.get("/tasks/").content.decode()

        assert self.sent in page
        (script,) = re.findall(r'src="(/tasks/static/[^"]+\.js[^"]*)"', page)[:1]
        files = self.client.get(script.replace("&amp;", "&"))
        assert files.status_code == 200
        assert "javascript" in files.headers["Content-Type"]
        shown = self.client.get("/tasks/task", {"id": self.sent})
        assert "orders.tasks.charge" in shown.content.decode()
        assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
        assert self.client.get("/tasks/nowhere").status_code == 404
        assert self.client.head("/tasks/").status_code == 200

    def test_readers_may_not_act(self) -> None:
        self.log_in("view_taskrecord")

        assert self.retry(self.client).status_code == 403
        assert app.fullresult.count() == 1

    def test_records_are_deleted_by_djangos_permission_to_delete(self) -> None:
        user = self.log_in("view_taskrecord", "retry_taskrecord")
        refused = self.delete()

        user.user_permissions.set(Permission.objects.filter(codename__endswith="_taskrecord"))
        page = self.client.get("/tasks/delete", {"id": self.sent}).content.decode()

        assert refused == 403
        assert app.fullresult.count() == 1
        assert "for good</button>" in page
        assert self.delete() == 200
        assert app.fullresult.count() == 0

    def test_any_task_is_sent_by_a_permission_of_its_own(self) -> None:
        user = self.log_in("view_taskrecord", "retry_taskrecord")
        without = self.client.get("/tasks/send").content.decode()

        user.user_permissions.set(Permission.objects.filter(codename__endswith="_taskrecord"))
        with_it = self.client.get("/tasks/send").content.decode()

        assert ("Check and preview" in without, "Check and preview" in with_it) == (False, True)

    def delete(self) -> int:
        page = self.client.get("/tasks/retry", {"id": self.sent}).content.decode()
        fields = dict(re.findall(r'name="(csrf|once)" value="([^"]*)"', page))
        body = urlencode({**fields, "id": self.sent, "most": "1"})
        kind = "application/x-www-form-urlencoded"
        return self.client.post("/tasks/delete", body, content_type=kind, **OURS).status_code

    def test_operators_act_once_and_in_their_name(self) -> None:
        self.log_in("view_taskrecord", "retry_taskrecord")

        answer = self.retry(self.client)

        assert answer.status_code == 303
        (again,) = app.fullresult.find(retry_of=self.sent)
        assert again.args == [1]
        entry = app.fullresult.audit_log()[0]
        assert (entry.actor, entry.action, entry.details["by"]) == ("ada", "resend", "web")

    def test_a_form_of_another_site_is_refused(self) -> None:
        self.log_in("view_taskrecord", "retry_taskrecord")

        foreign = {"HTTP_ORIGIN": "https://evil.example", "HTTP_SEC_FETCH_SITE": "cross-site"}
        assert self.retry(self.client, **foreign).status_code == 403
        assert app.fullresult.count() == 1

    def test_a_host_that_is_not_allowed_is_refused(self) -> None:
        self.log_in("view_taskrecord")

        assert self.client.get("/tasks/", HTTP_HOST="evil.example").status_code == 400

    def test_health_is_for_anybody(self) -> None:
        assert self.client.get("/tasks/healthz").status_code == 200

    def test_the_api_is_by_djangos_session_and_its_permissions(self) -> None:
        stranger = self.client.get("/tasks/api/v1/tasks")
        self.log_in("view_taskrecord")
        shown = self.client.get("/tasks/api/v1/task", {"id": self.sent})
        refused = self.api_retry()
        User.objects.all().delete()
        self.log_in("view_taskrecord", "retry_taskrecord")
        foreign = self.api_retry(HTTP_ORIGIN="https://evil.example")

        assert (stranger.status_code, stranger.json()["status"]) == (401, 401)
        assert (shown.status_code, shown.json()["task_id"]) == (200, self.sent)
        assert shown.headers["Content-Type"] == "application/json"
        assert [refused.status_code, foreign.status_code] == [403, 403]
        with captured_tasks():
            assert self.api_retry().status_code == 200
        assert app.fullresult.count(retry_of=self.sent) == 1
        document = self.client.get("/tasks/api/v1/openapi.json").json()
        assert document["servers"] == [{"url": "/tasks/api/v1"}]

    def test_who_may_not_look_is_nobody_for_the_api(self) -> None:
        self.log_in()

        assert self.client.get("/tasks/api/v1/tasks").status_code == 401

    def test_machines_come_with_a_token(self) -> None:
        given = {"HTTP_AUTHORIZATION": "Bearer nonsense"}

        assert self.client.get("/tasks/metrics", **given).status_code == 401

    def test_pages_are_the_same_under_asgi(self) -> None:
        self.log_in("view_taskrecord", "retry_taskrecord")

        async def ask() -> tuple[Any, Any]:
            client = AsyncClient()
            stranger = await client.get("/tasks/")
            client.cookies = self.client.cookies
            return stranger, await client.get("/tasks/")

        stranger, page = async_to_sync(ask)()
        assert stranger.status_code == 302
        assert self.sent in page.content.decode()

    @override_settings(CELERY_FULLRESULT_STORAGE="sqlite:////nowhere/x.db")
    def test_a_storage_that_does_not_answer_is_a_sentence(self) -> None:
        self.log_in("view_taskrecord")

        answer = self.client.get("/tasks/")

        assert answer.status_code == 503

    def api_retry(self, **headers: str) -> Any:
        return self.client.post(
            "/tasks/api/v1/retry",
            {"ids": [self.sent]},
            content_type="application/json",
            **{**OURS, **headers},
        )

    def retry(self, client: Client, **headers: str) -> Any:
        """Send the form of the task's page by which it is sent again."""
        page = client.get("/tasks/retry", {"id": self.sent}).content.decode()
        form = page.partition('action="/tasks/retry"')[2].partition("</form>")[0]
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form)) or {"key": self.sent}
        typed = "application/x-www-form-urlencoded"
        with captured_tasks():
            return client.post(
                "/tasks/retry", urlencode(fields), content_type=typed, **{**OURS, **headers}
            )
