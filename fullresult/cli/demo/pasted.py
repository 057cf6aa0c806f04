"""The commands that the demo prints, and runs as the command line does."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from celery.bin.base import CLIContext

from fullresult.cli.group import fullresult
from fullresult.cli.terminal import dim, say

if TYPE_CHECKING:
    from celery import Celery


def run(app: Celery, words: str) -> None:
    """Print the command with *words*, and run it on *app*. Raises click's exceptions."""
    say(dim(f"$ celery -A shop fullresult {words}"))
    context = CLIContext(app=app, no_color=False, workdir=None)
    fullresult.main(shlex.split(words), "celery -A shop", obj=context, standalone_mode=False)


def celery() -> str:
    """The `celery` command beside this Python, whatever the PATH."""
    script = Path(sys.executable).with_name("celery")
    return (
        shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m celery"
    )
