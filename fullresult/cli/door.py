"""`python -m fullresult -A proj …`: as `celery -A proj fullresult …`, with exit codes to rely on.

Celery imports the app before it knows that a command of ours is meant. A module that ends the
program with exit code 0 would end a check in CI as a clean one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from celery.bin.celery import celery

from fullresult.cli.errors import META, REACHED
from fullresult.cli.terminal import say

NAME = "python -m fullresult"
_PREFIX = "CELERY"
"""Of the variables that Celery's options are read from."""
_MADE = "made"
_USAGE = 2
"""Celery's exit code where the app is not found, too."""


def enter(args: Sequence[str]) -> None:
    """Run the command, and exit: with code 1 if the app cannot be imported."""
    meta: dict[str, Any] = {}
    try:
        code = _code(args, meta)
    except SystemExit as end:
        if meta.get(REACHED):
            raise
        told = f"a module of the app ended the program, with exit code {end.code!r}"
        say(f"Error: nothing was done: when it was imported, {told}", err=True)
        code = 1
    if code == _USAGE and meta.get(_MADE) and not meta.get(REACHED):
        code = 1
    sys.exit(code)


def _code(args: Sequence[str], meta: dict[str, Any]) -> int:
    """The exit code of click's own main program; *meta* gets that of the context."""
    try:
        with celery.make_context(NAME, _with_our_group(args), auto_envvar_prefix=_PREFIX) as root:
            meta[_MADE] = True
            root.meta[META] = meta
            celery.invoke(root)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        # Before Celery 5.6 the option of the app imports it, and not the command.
        is_app = isinstance(error, click.BadParameter) and getattr(error.param, "name", "") == "app"
        return 1 if is_app else error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("Aborted!", err=True)
        return 1
    except BrokenPipeError:
        # Nobody reads on. What is not written yet must go somewhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _with_our_group(args: Sequence[str]) -> list[str]:
    """*args* with `fullresult` behind Celery's own options."""
    known = {name: each for each in celery.params for name in each.opts}
    place = 0
    while place < len(args) and args[place].startswith("-"):
        option = known.get(args[place])
        takes_value = option is not None and not getattr(option, "is_flag", False)
        place += 2 if takes_value else 1
    return [*args[:place], "fullresult", *args[place:]]
