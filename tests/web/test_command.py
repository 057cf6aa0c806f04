"""`celery -A proj fullresult web`: what it prints, whom it lets in, where it does not listen."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner, Result

from fullresult import FullResult
from fullresult.cli.group import fullresult
from fullresult.config.passwords import hash_password, is_password
from tests.kit.commands import on_a_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HASH = hash_password("correct horse", n=16, p=1)
_APP = """
from celery import Celery
from fullresult import FullResult

app = Celery("proj", broker="memory://")
app.conf.fullresult_storage = {url!r}
FullResult(app)
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    app = Celery("proj", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'memory.db'}"
    full = FullResult(app)
    yield app
    full.close()
    app.close()


def run(app: Celery, *arguments: str, answer: str | None = None) -> Result:
    context = CLIContext(app=app, no_color=False, workdir=None)
    return CliRunner().invoke(fullresult, ["web", *arguments], obj=context, input=answer)


@contextmanager
def running(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the link it printed."""
    url = f"sqlite:///{directory / 'memory.db'}"
    (directory / "proj.py").write_text(_APP.format(url=url))
    process = subprocess.Popen(
        [*(sys.executable, "-m", "celery", "-A", "proj", "fullresult", "web"), *options],
        cwd=directory,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"https?://\S+", line)
        assert found, line + process.stdout.read()
        yield process, found[0]
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.mark.slow
def test_whoever_has_the_printed_link_is_let_in_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0") as (process, link):
        with httpx.Client(follow_redirects=True) as stranger, httpx.Client() as friend:
            refused = stranger.get(link.partition("?")[0])
            entered = friend.get(link)
            page = friend.get(link.partition("?")[0])
        process.send_signal(signal.SIGINT)
        code = process.wait(10)

    assert link.startswith("http://127.0.0.1:")
    assert refused.status_code == 401
    assert entered.status_code == 303
    assert page.status_code == 200
    assert "No such task is recorded." in page.text
    assert "server" not in page.headers
    assert code in (0, -signal.SIGINT)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that nobody signed, and its key."""
    certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.mark.slow
def test_with_a_certificate_it_speaks_https_and_its_cookies_are_for_that_alone(
    tmp_path: Path, certificate: tuple[str, str]
) -> None:
    known = ssl.create_default_context(cafile=certificate[0])
    options = ("--port", "0", "--certfile", certificate[0], "--keyfile", certificate[1])
    with running(tmp_path, *options) as (_, link), httpx.Client(verify=known) as friend:
        entered = friend.get(link)
        page = friend.get(link.partition("?")[0])

    assert link.startswith("https://127.0.0.1:")
    assert entered.status_code == 303
    assert page.status_code == 200
    cookies = entered.headers.get_list("set-cookie")
    assert cookies
    assert all("Secure" in cookie for cookie in cookies)


def test_a_certificate_that_is_none_is_a_sentence(app: Celery, tmp_path: Path) -> None:
    (tmp_path / "nonsense.pem").write_text("nonsense")

    result = run(app, "--port", "0", "--certfile", str(tmp_path / "nonsense.pem"))

    assert result.exit_code == 1
    assert "nonsense.pem" in result.output
    assert len(result.output.splitlines()) == 1


def test_a_key_without_a_certificate_is_wrong_usage(app: Celery, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("nonsense")

    result = run(app, "--port", "0", "--keyfile", str(tmp_path / "key.pem"))

    assert result.exit_code == 2
    assert "--certfile" in result.output


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_does_not_listen_beyond_this_machine_without_users(app: Celery, host: str) -> None:
    result = run(app, "--host", host, "--port", "0")

    assert result.exit_code == 1
    assert "there must be users who log in" in result.output


def test_a_port_that_is_taken_is_a_sentence(app: Celery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(app, "--port", str(taken.getsockname()[1]))

    assert result.exit_code == 1
    assert "cannot listen at 127.0.0.1" in result.output


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("ada operator", "line 1"),
        ("# a comment\n\nada king " + HASH, "role"),
        ("ada operator secret", "hash-password"),
    ],
)
def test_a_file_of_users_that_means_nothing_is_a_sentence(
    app: Celery, tmp_path: Path, lines: str, said: str
) -> None:
    file = tmp_path / "users.txt"
    file.write_text(lines)

    result = run(app, "--port", "0", "--users", str(file))

    assert result.exit_code == 1
    assert said in result.output
    assert "secret" not in result.output


@pytest.mark.slow
def test_with_users_it_listens_anywhere_and_prints_no_token(tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text(f"ada operator {HASH}\n")
    options = ("--host", "0.0.0.0", "--port", "0", "--users", "users.txt")

    with running(tmp_path, *options) as (_, link):
        port = int(re.findall(r":(\d+)/", link)[0])
        page = httpx.get(f"http://127.0.0.1:{port}/login")
        rebound = httpx.get(f"http://127.0.0.1:{port}/login", headers={"host": "evil.example"})

    assert "token" not in link
    assert page.status_code == 200
    assert rebound.status_code == 421


def test_a_password_is_asked_for_twice_and_hashed(tmp_path: Path) -> None:
    (tmp_path / "proj.py").write_text(_APP.format(url=f"sqlite:///{tmp_path}/records.db"))
    command = ["-A", "proj", "fullresult", "web", "hash-password"]

    typed = on_a_terminal(tmp_path, *command, answers=["correct horse"] * 2)

    assert "Repeat for confirmation" in typed
    assert "correct horse" not in typed
    assert is_password("correct horse", typed.split()[-1])


def test_a_password_may_come_from_a_pipe(app: Celery) -> None:
    """As in a Dockerfile, where nobody types."""
    result = run(app, "hash-password", answer="correct horse\n")

    assert result.exit_code == 0
    assert is_password("correct horse", result.stdout.strip())
    assert result.stderr == ""


def test_a_short_password_is_refused(app: Celery) -> None:
    result = run(app, "hash-password", answer="short\n")

    assert result.exit_code == 1
    assert "at least 8" in result.output


def test_a_token_is_shown_with_its_hash(app: Celery) -> None:
    result = run(app, "new-token")

    assert result.exit_code == 0
    assert re.search(r"sha256\$[0-9a-f]{64}", result.output)


def test_what_is_missing_is_named(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    result = run(app)

    assert result.exit_code == 1
    assert "pip install 'fullresult[web]'" in result.output


def test_the_configuration_is_read_without_the_extra(tmp_path: Path) -> None:
    """Workers need neither Starlette nor Jinja2."""
    script = (
        "import sys; sys.modules['starlette'] = sys.modules['jinja2'] = None\n"
        "from celery import Celery; from fullresult import FullResult; import json\n"
        "app = Celery(broker='memory://'); full = FullResult(app)\n"
        f"app.conf.fullresult_web_users = {{'ada': {{'password': {HASH!r}}}}}\n"
        "print(json.dumps(full.settings.web_users['ada'].person.role))"
    )

    said = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    told: Any = json.loads(said.stdout or "null")
    assert told == "reader", said.stderr
