"""`docs/getting-started.md`, word for word: four commands, and one's own task is in the pages."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "getting-started.md").read_text(encoding="utf-8")
FIRST = PAGE.split("\n## ")[0]


def run(place: Path, line: str) -> subprocess.Popen[str]:
    """A command of the page, by the Python that runs the tests."""
    words = shlex.split(line)
    assert words[0] == "celery"
    # A broker of the surroundings is not meant.
    own = {k: v for k, v in os.environ.items() if not k.startswith("CELERY_")}
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=place,
        env={**own, "XDG_STATE_HOME": str(place / "state"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def seen(link: str, wanted: str) -> bool:
    """The page that the link leads to has *wanted* within some seconds."""
    jar = urllib.request.HTTPCookieProcessor(CookieJar())
    browser = urllib.request.build_opener(jar)
    for address in [link] + [link.partition("?")[0]] * 300:
        with browser.open(address, timeout=20) as answer:
            if wanted in answer.read().decode():
                return True
        time.sleep(0.2)
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a detached worker is ended by its pid")
def test_a_task_of_ones_own_is_in_the_pages_after_four_commands(tmp_path: Path) -> None:
    lines = [
        line
        for block in re.findall(r"^```console\n(.*?)^```$", FIRST, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    (code,) = re.findall(r"^```python\n(.*?)^```$", FIRST, re.MULTILINE | re.DOTALL)
    assert len(lines) == 4
    install, worker, call, web = lines
    assert install == 'pip install "fullresult[web]"'
    (tmp_path / "proj.py").write_text(code, encoding="utf-8")

    try:
        for line in (worker, call):
            said, _ = run(tmp_path, line).communicate(timeout=60)
            assert "Error" not in said, said
        with run(tmp_path, web + " --port 0") as pages:
            try:
                assert pages.stdout
                link = re.search(r"http://\S+", pages.stdout.readline())
                assert link
                assert seen(link[0], "ZeroDivisionError")
            finally:
                pages.kill()
    finally:
        pid = tmp_path / "worker.pid"
        deadline = time.monotonic() + 40
        while not pid.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(int(pid.read_text()), signal.SIGTERM)
        while pid.exists() and time.monotonic() < deadline + 20:
            time.sleep(0.1)
