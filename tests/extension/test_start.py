"""A worker or beat whose configuration is wrong ends as it starts, and says why."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = """
    from celery import Celery
    from fullresult import FullResult

    app = Celery("shop", broker="memory://")
    app.conf.worker_state_db = None
    app.conf.update({settings!r})
    FullResult(app)
"""
WORKER = ("worker", "--pool=prefork", "--concurrency=1")
BEAT = ("beat", "--schedule=plan")


def started(directory: Path, *command: str, **settings: object) -> subprocess.CompletedProcess[str]:
    (directory / "shop.py").write_text(textwrap.dedent(APP).format(settings=settings))
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "shop", *command],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": f"{directory}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("command", [WORKER, BEAT], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("fullresult_redacted", ["card"], "the nearest is fullresult_redact"),
        ("fullresult_sweep_limit", 0, "fullresult_sweep_limit = 0: it must be a whole number"),
        ("fullresult_storage", "oracle://host", "known schemes: "),
    ],
)
def test_the_process_ends_with_the_reason(
    tmp_path: Path, command: tuple[str, ...], key: str, value: object, told: str
) -> None:
    finished = started(tmp_path, *command, **{key: value})

    assert finished.returncode == 1, finished.stderr
    assert told in finished.stderr
    assert "Traceback" not in finished.stderr
