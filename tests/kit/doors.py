"""The doors through which people act: the command line, the pages, Python; each asked alike.

A door answers what it said. What was sent is on the broker (`sent_again`), what was done is in the
audit log.
"""

from __future__ import annotations

import os
import pwd
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from urllib.parse import quote, urlencode

import click
import pytest
from celery import Celery

from fullresult import CannotResend, FullResult
from fullresult.actions.audit import actor_here
from fullresult.actions.batch import Report
from tests.kit import browsing
from tests.kit.commands import run

ME = pwd.getpwuid(os.getuid()).pw_name


def sent_again(app: Celery) -> set[str | None]:
    """The tasks of which a re-send is on the broker, which is taken from it."""
    full: FullResult = app.fullresult
    records = [full.get(message["id"]) for message in browsing.sent(app)]
    return {record.retry_of for record in records if record is not None}


class Door(ABC):
    """One way in; every method answers what it said."""

    by: str
    actor: str

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.full: FullResult = app.fullresult

    @abstractmethod
    def resend_stale(self) -> str:
        """Send again all that is stale."""

    @abstractmethod
    def resend_orphans(self, meanwhile: Callable[[], object]) -> str:
        """Send again all orphans; *meanwhile* happens after they were seen."""

    @abstractmethod
    def resend_failed(self) -> str:
        """Send again all that failed."""

    @abstractmethod
    def resend(self, task_ids: Sequence[str]) -> str:
        """Send these again."""

    @abstractmethod
    def cancel(self, task_id: str) -> str: ...

    @abstractmethod
    def reschedule(self, task_id: str) -> str: ...

    @abstractmethod
    def release(self, task_id: str) -> str: ...

    @abstractmethod
    def send_now(self, task_id: str) -> str: ...

    @abstractmethod
    def trigger(self, name: str) -> str: ...


class Command(Door):
    """`celery -A proj fullresult …` in a pipe."""

    by, actor = "command line", ME

    def _run(self, *arguments: str) -> str:
        result = run(self.app, *arguments)
        assert result.exit_code in (0, 1), result.output
        return result.output + result.stderr

    def resend_stale(self) -> str:
        return self._run("resend", "--stale", "--older-than", "0s", "--yes")

    def resend_orphans(self, meanwhile: Callable[[], object]) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(click, "confirm", lambda *_, **__: bool(meanwhile()) or True)
            return self._run("resend", "--orphans")

    def resend_failed(self) -> str:
        return self._run("resend", "--state", "FAILURE", "--yes")

    def resend(self, task_ids: Sequence[str]) -> str:
        return self._run("resend", *task_ids, "--yes")

    def cancel(self, task_id: str) -> str:
        return self._run("cancel", task_id, "--yes")

    def reschedule(self, task_id: str) -> str:
        return self._run("reschedule", task_id, "--countdown", "2h")

    def release(self, task_id: str) -> str:
        return self._run("release", task_id, "--yes")

    def send_now(self, task_id: str) -> str:
        return self._run("resend-scheduled", task_id, "--yes")

    def trigger(self, name: str) -> str:
        return self._run("trigger", name)


class Pages(Door):
    """The web pages, in a browser without windows. What is not offered is posted all the same."""

    by, actor = "web", f"{ME} (by the start-up link)"

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self.browser = browsing.entered(app)

    def _confirmed(self, path: str, form: str) -> str:
        preview = self.browser.get(path)
        if not any(each.action.partition("?")[0].endswith(form) for each in preview.forms):
            return preview.words
        return self.browser.submit(preview.form(form)).words

    def _post(self, page: str, task_id: str) -> str:
        """The form of the preview of another task, with this one in its place."""
        (other,) = browsing.charge(self.app, countdown=7200)
        form = self.browser.get(f"/{page}?id={other}").form(f"/{page}")
        self.full.parts.schedules.cancel(other)
        return self.browser.submit(form, key=quote(task_id, safe=""), eta="in 2h").words

    def resend_stale(self) -> str:
        (link,) = [each for each in self.browser.get("/stale?older=0s").links if "stale=" in each]
        return self._confirmed(link, "/retry")

    def resend_orphans(self, meanwhile: Callable[[], object]) -> str:
        page = self.browser.get("/orphans")
        preview = self.browser.submit(page.form("/retry", "get"), key=browsing.keys(page))
        meanwhile()
        return self.browser.submit(preview.form("/retry")).words

    def resend_failed(self) -> str:
        return self._confirmed("/retry?q=" + quote("state:FAILURE"), "/retry")

    def resend(self, task_ids: Sequence[str]) -> str:
        form = self.browser.get(f"/retry?id={browsing.failed(self.app)[0]}").form("/retry")
        return self.browser.submit(form, key=[quote(each, safe="") for each in task_ids]).words

    def cancel(self, task_id: str) -> str:
        return self._post("cancel", task_id)

    def reschedule(self, task_id: str) -> str:
        return self._post("reschedule", task_id)

    def release(self, task_id: str) -> str:
        return self._post("release", task_id)

    def send_now(self, task_id: str) -> str:
        return self._post("send-now", task_id)

    def trigger(self, name: str) -> str:
        known = self.browser.get("/trigger?name=hourly").form("/trigger")
        known.action = f"/trigger?{urlencode({'name': name})}"
        return self.browser.submit(known).words


class Python(Door):
    """Calls of `app.fullresult`, which say what their answers and the audit log do."""

    by, actor = "python", "ada"

    def _said(self, report: Report) -> str:
        return " ".join(str(fate.problem) for fate in report.fates if fate.problem)

    def _problem(self) -> str:
        entry = self.full.audit_log(limit=1)[0]
        return str(entry.details)

    def resend_stale(self) -> str:
        return self._said(self.full.resend_missing(stale=True, age=timedelta(0), actor=self.actor))

    def resend_orphans(self, meanwhile: Callable[[], object]) -> str:
        deeds = self.full.acting(actor_here(self.by, self.actor))
        (loss,) = deeds.missing().find(["orphans"])
        meanwhile()
        chosen = [(loss.way, *each) for each in loss.seen.items()]
        return self._said(deeds.resend_missing(chosen, {"missing": [loss.way]}))

    def resend_failed(self) -> str:
        return self._said(self.full.resend_many(state="FAILURE", actor=self.actor))

    def resend(self, task_ids: Sequence[str]) -> str:
        return self._said(self.full.resend_many(ids=task_ids, actor=self.actor))

    def cancel(self, task_id: str) -> str:
        self.full.cancel(task_id, actor=self.actor)
        return self._problem()

    def reschedule(self, task_id: str) -> str:
        due = self.full.storage.now() + timedelta(hours=2)
        self.full.reschedule(task_id, due, actor=self.actor)
        return self._problem()

    def release(self, task_id: str) -> str:
        self.full.release(task_id, actor=self.actor)
        return self._problem()

    def send_now(self, task_id: str) -> str:
        with suppress(CannotResend, LookupError):
            self.full.resend_scheduled(task_id, actor=self.actor)
        return self._problem()

    def trigger(self, name: str) -> str:
        with suppress(LookupError):
            self.full.trigger(name, actor=self.actor)
        return self._problem()


DOORS: list[Callable[[Celery], Door]] = [Command, Pages, Python]
