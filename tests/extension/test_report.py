"""What Celery shows of a configuration, in its own words: never a password of ours."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.config import Settings
from fullresult.config.shown_url import ShownUrl
from tests.kit.workers import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.kit.servers import FilesystemBroker

PASSWORD = "hunter2"
URL = f"postgresql://u:{PASSWORD}@127.0.0.1:1/db"
SHOWN = "postgresql://u:***@127.0.0.1:1/db"
SECRET = f"{PASSWORD}-" * 8

_SETTINGS = f"""
fullresult_storage = {URL!r}
fullresult_web_secret = {SECRET!r}
"""
_APPS = {
    "set before": """
app = Celery("proj", broker="memory://")
app.conf.update(SETTINGS)
FullResult(app)
""",
    "set after": """
app = Celery("proj", broker="memory://")
FullResult(app)
app.conf.update(SETTINGS)
""",
    "set when used already": """
app = Celery("proj", broker="memory://")
app.conf.timezone
FullResult(app)
app.conf.update(SETTINGS)
""",
    "installed when used already": """
app = Celery("proj", broker="memory://")
app.conf.update(SETTINGS)
app.conf.timezone
FullResult(app)
""",
    "a module": """
app = Celery("proj", broker="memory://")
app.config_from_object("settings")
FullResult(app)
""",
    "Django's": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
app = Celery("proj", broker="memory://")
app.config_from_object("django.conf:settings", namespace="CELERY")
FullResult(app)
""",
    "Django's, and another after it": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
app = Celery("proj", broker="memory://")
app.config_from_object("django.conf:settings", namespace="CELERY")
FullResult(app)
app.conf.timezone
app.conf.fullresult_storage = SETTINGS["fullresult_storage"]
""",
    "lower case namespace": """
app = Celery("proj", broker="memory://")
source = {"celery_" + key: value for key, value in SETTINGS.items()}
app.config_from_object(source, namespace="celery_")
FullResult(app)
""",
}


def project(directory: Path, how: str) -> None:
    """The modules of a project that is configured in this way."""
    (directory / "settings.py").write_text(_SETTINGS)
    upper = f"CELERY_FULLRESULT_STORAGE = {URL!r}\nCELERY_FULLRESULT_WEB_SECRET = {SECRET!r}\n"
    (directory / "django_settings.py").write_text(f"SECRET_KEY = 'x'\n{upper}")
    given = {"fullresult_storage": URL, "fullresult_web_secret": SECRET}
    head = "from celery import Celery\nfrom fullresult import FullResult\n"
    (directory / "proj.py").write_text(f"{head}SETTINGS = {given!r}\n{_APPS[how]}")


def celery(directory: Path, *arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "proj", *arguments],
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return answer.stdout + answer.stderr


@pytest.mark.parametrize("how", _APPS)
def test_the_report_that_people_paste_has_no_password(tmp_path: Path, how: str) -> None:
    project(tmp_path, how)

    report = celery(tmp_path, "report")

    assert SHOWN in report
    assert PASSWORD not in report


@contextmanager
def worker(directory: Path, broker: FilesystemBroker) -> Iterator[None]:
    settings = {"broker_transport_options": broker.transport_options, "worker_concurrency": 1}
    with (directory / "proj.py").open("a") as module:
        module.write(f"app.conf.update({settings!r}, broker_url={broker.url!r})\n")
    log = directory / "worker.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*(sys.executable, "-m", "celery", "-A", "proj", "worker", "-P", "solo", "-l", "INFO")],
            cwd=directory,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            assert until(lambda: " ready." in log.read_text()), log.read_text()
            yield
        finally:
            process.kill()
            process.wait(10)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["set before", "Django's"])
def test_whoever_may_ask_a_worker_is_told_no_password(
    tmp_path: Path, filesystem_broker: FilesystemBroker, how: str
) -> None:
    project(tmp_path, how)
    with worker(tmp_path, filesystem_broker):
        answer = celery(tmp_path, "inspect", "conf", "--json")

    (configuration,) = json.loads(answer).values()
    assert SHOWN in configuration.values()
    assert PASSWORD not in answer


# --- what the app itself has of it


@contextmanager
def configured(settings: Mapping[str, Any]) -> Iterator[Celery]:
    with Celery("proj", broker="memory://", set_as_current=False) as app:
        app.conf.update(settings)
        FullResult(app)
        yield app


def test_the_storage_is_opened_with_its_password() -> None:
    with configured({"fullresult_storage": URL}) as app:
        assert str(app.conf.fullresult_storage) == SHOWN
        assert Settings.of(app).storage == URL
        assert Settings.of(app).storage == URL


def test_a_url_without_a_password_stays_the_same_text() -> None:
    with configured({"fullresult_storage": "sqlite:///memory.db"}) as app:
        assert app.conf.timezone is None
        assert type(app.conf.fullresult_storage) is str


def test_the_latest_word_counts() -> None:
    with configured({"fullresult_storage": URL}) as app:
        assert str(app.conf.fullresult_storage) == SHOWN

        app.conf.fullresult_storage = URL.replace(PASSWORD, "another")

        assert Settings.of(app).storage == URL.replace(PASSWORD, "another")


def test_what_an_app_was_configured_from_stays_as_it_is() -> None:
    class Source:
        fullresult_storage = URL

    with Celery("proj", broker="memory://", set_as_current=False) as app:
        app.config_from_object(Source)
        FullResult(app)

        assert str(app.conf.fullresult_storage) == SHOWN
        assert Settings.of(app).storage == URL
        assert Source.fullresult_storage == URL


def pickled(value: object) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_has_the_password_and_does_not_show_it(again: Any) -> None:
    copied = again(ShownUrl(SHOWN, URL))

    assert copied.whole == URL
    assert PASSWORD not in f"{copied} {copied!r} {json.dumps(copied)}"
