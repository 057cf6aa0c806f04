"""The command line as people meet it: run in this process, or on a terminal of its own."""

from __future__ import annotations

import inspect
import os
import pty
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner, Result

from fullresult.cli.group import fullresult


def run(app: Celery, *arguments: str, answer: str | None = None) -> Result:
    """`celery -A app fullresult …` in a pipe; *answer* is typed where it asks."""
    context = CLIContext(app=app, no_color=False, workdir=None)
    # Before click 8.2 both streams came as one unless told otherwise.
    mixes = "mix_stderr" in inspect.signature(CliRunner).parameters
    options: dict[str, Any] = {"mix_stderr": False} if mixes else {}
    return CliRunner(**options).invoke(fullresult, arguments, obj=context, input=answer)


def ids(result: Result) -> list[str]:
    """The first field of each line."""
    return [line.split("\t")[0] for line in result.stdout.splitlines()]


def sent(app: Celery) -> list[str]:
    """The ids of the messages on the broker, which are taken."""
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        found = []
        while queue.qsize():
            message = queue.get(block=False)
            message.ack()
            found.append(str(message.headers["id"]))
    return sorted(found)


def on_a_terminal(
    directory: Path, *arguments: str, answers: Sequence[str] = (), term: str = "xterm"
) -> str:
    """What `celery` with *arguments*, begun in *directory*, shows on a terminal.

    The next of *answers* is typed whenever the output ends with a colon and a space.
    """
    ours, theirs = pty.openpty()
    left = list(answers)
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", *arguments],
        cwd=directory,
        env={**os.environ, "TERM": term, "COLUMNS": "100"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # Else a password is read from the terminal of who runs the tests.
    )
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break
        if not chunk:
            break
        said += chunk
        if left and said.endswith(b": "):
            os.write(ours, f"{left.pop(0)}\n".encode())
    os.close(ours)
    process.wait(30)
    return said.decode()
