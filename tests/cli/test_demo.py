"""The demo as a newcomer runs it: a subprocess, with real workers, that leaves nothing behind."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEMO = [sys.executable, "-m", "fullresult", "demo"]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the demo makes its directory."""
    directory = Path(tempfile.mkdtemp(prefix="fullresult-test-demo-"))
    yield directory
    shutil.rmtree(directory)


def _environment(temporary: Path) -> dict[str, str]:
    # A broker that is not the demo's, which it must not touch.
    broker = {"CELERY_BROKER_URL": "redis://127.0.0.1:1", "BROKER_URL": "redis://127.0.0.1:1"}
    return {**os.environ, **broker, "TMPDIR": str(temporary)}


def _processes_in(directory: Path) -> list[str]:
    """The command lines of processes that work in *directory* or below."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = (process / "cwd").readlink()
            command = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if place.is_relative_to(directory):
            found.append(command)
    return found


def _on_a_terminal(temporary: Path, look: Callable[[str], None]) -> tuple[int, str]:
    """The demo before a person, who looks at the link it ends with, and then presses Ctrl-C."""
    ours, its = pty.openpty()
    environment = {**_environment(temporary), "COLUMNS": "120"}
    environment.pop("CI", None)
    with subprocess.Popen(
        _DEMO,
        cwd=temporary,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ) as demo:
        os.close(its)
        said, looked = b"", False
        try:
            while chunk := _read(ours):
                said += chunk
                link = re.search(rb"The pages are at (http://\S+)\r\n", said)
                if link and not looked:
                    looked = True
                    look(link[1].decode())
                    demo.send_signal(signal.SIGINT)
        finally:
            os.close(ours)
            demo.kill() if demo.poll() is None and not looked else demo.wait(20)
    return demo.returncode, click.unstyle(said.decode()).replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536) if select.select([terminal], [], [], 60)[0] else b""
    except OSError:  # Linux says so of a terminal that nobody writes to any more.
        return b""


@pytest.mark.slow
@pytest.mark.timeout(240)  # It starts eight processes of Celery, one after the other.
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_the_demo_tells_its_story_in_time_and_its_commands_can_be_pasted(temporary: Path) -> None:
    began = time.monotonic()
    pages: list[str] = []

    code, said = _on_a_terminal(temporary, lambda link: pages.append(_page(link)))

    assert code == 0, said
    assert time.monotonic() - began < 90
    assert _processes_in(temporary) == []
    _assert_the_story(said)
    # A traceback is never cut, and is as wide as the path of what is installed.
    told = [line for line in said.partition("Now you")[0].splitlines() if 'File "' not in line]
    assert max(map(len, told)) <= 120
    (page,) = pages
    assert "shop.stocktaking" in page
    assert "the bank is closed: cannot charge 19.90 EUR for order 7" in page
    _assert_pasteable(said, temporary)


def _page(link: str) -> str:
    """What it opens with, and all tasks."""
    with httpx.Client(follow_redirects=True, timeout=20) as client:
        opened = client.get(link).raise_for_status().text
        return opened + client.get(f"{link.partition('?')[0]}?q=").raise_for_status().text


def _assert_the_story(said: str) -> None:
    for pattern in (
        r"STARTED +shop\.report",
        r"SCHEDULED +shop\.receipt\(4, to='cleo@example\.org'\)",
        r"SUCCESS +shop\.receipt\(4, to='cleo@example\.org'\)",
        r"DUE +ID +STATUS +SINCE +TASK",
        r"\$ celery -A shop fullresult cancel \w{8} --yes\n.*\n?[\w-]{36}\n",
        r"REVOKED +shop\.receipt\(3, to='dan@example\.org'\)",
        r"\$ celery -A shop fullresult resend \w{8} --yes\n.*\n?[\w-]{36} → [\w-]{36}\n",
        r"SUCCESS +shop\.receipt\(6, to='ann@example\.org'\)",
        r"SUCCESS +shop\.parcel\(6\) +attempt 3 'PARCEL-6'",
        r"FAILURE +shop\.charge.*BankClosedError",
        r"FAILURE +shop\.photo.*WorkerLostError",
        r"STARTED +shop\.stocktaking\(minutes=30\)",
        r"CREATED +ID +STATE +TASK",
        r"│ shop\.BankClosedError: the bank is closed: cannot charge 19\.90 EUR for order 7",
        r"│ Traceback \(most recent call last\):",
        r"WORKER GONE .*\n.*STARTED  shop\.stocktaking",
        r"state +FAILURE +SUCCESS",
        r"kwargs +(\{'amount': '19\.90 EUR', 'card': '…1234'\}) +\1",
        r"nothing is left running",
    ):
        assert re.search(pattern, said), f"{pattern}\n{said}"


def _assert_pasteable(said: str, temporary: Path) -> None:
    """The commands for reading are run as printed, by a shell that starts elsewhere."""
    lines = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    (go_there,) = [line for line in lines if line.startswith("cd ")]
    commands = [line for line in lines if " -A shop fullresult " in line]
    assert len(commands) == 6
    assert " web   # these very tasks in a browser" in commands[0]
    for command in commands[1:]:  # The pages are served until somebody ends them.
        result = subprocess.run(
            ["/bin/sh", "-c", f"{go_there} && {command}"],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout
    assert Path(shlex.split(go_there)[1]).parent == temporary.resolve()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["Starting a real worker", "STARTED"])
def test_an_interrupted_demo_leaves_no_process_behind(
    temporary: Path, number: signal.Signals, moment: str
) -> None:
    with subprocess.Popen(
        _DEMO,
        cwd=temporary,
        env={**_environment(temporary), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout
        said = ""
        while moment not in said:
            line = demo.stdout.readline()
            assert line, said
            said += line
        demo.send_signal(number)
        _, complaint = demo.communicate(timeout=30)

    assert demo.returncode == 130
    assert "Stopped: nothing is left running" in complaint
    assert "Traceback" not in complaint
    assert _processes_in(temporary) == []
