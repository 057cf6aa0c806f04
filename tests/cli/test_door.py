"""`python -m fullresult -A proj …`: exit codes that CI can rely on, whatever the app does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
from celery import Celery
from fullresult import FullResult
app = Celery("shop", broker="memory://", set_as_current=False)
app.conf.fullresult_storage = "sqlite:///{place}/records.db"
FullResult(app).setup()
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fullresult", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP.format(place=tmp_path))
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "later.py").write_text(
        f"{APP.format(place=tmp_path)}\napp.conf.imports = ['ends']\n"
    )
    return tmp_path


def test_it_is_the_same_command(directory: Path) -> None:
    done = run(directory, "-A", "shop", "-q", "check")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0 tasks checked: 0 errors, 0 warnings")


@pytest.mark.parametrize("app", ["nowhere", "ends", "later"])
def test_an_app_that_cannot_be_imported_is_no_clean_check(directory: Path, app: str) -> None:
    done = run(directory, "--app", app, "check")

    assert done.returncode == 1
    assert "checked:" not in done.stdout
    assert "Error: " in done.stderr


def test_an_interruption_and_a_pipe_that_is_closed_are_no_tracebacks(directory: Path) -> None:
    (directory / "ends.py").write_text("raise KeyboardInterrupt\n")

    interrupted = run(directory, "-A", "later", "check")
    with subprocess.Popen(
        [sys.executable, "-m", "fullresult", "-A", "shop", "-q", "check"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as closed:
        assert closed.stdout is not None
        closed.stdout.close()
        assert closed.stderr is not None
        said = closed.stderr.read()

    assert (interrupted.returncode, interrupted.stderr) == (1, "Aborted!\n")
    assert (closed.returncode, said) == (1, "")


def test_usage_and_help_keep_their_exit_codes(directory: Path) -> None:
    assert run(directory, "-A", "shop", "check", "--bad").returncode == 2
    assert run(directory, "-A", "shop", "explain", "nobody", "--offline").returncode == 1
    assert run(directory, "-A", "shop", "check", "--help").returncode == 0
    assert "demo" in run(directory, "--help").stdout
